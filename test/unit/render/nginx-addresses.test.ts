import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { keptAddresses } from '#src/agent/render/nginx-addresses.ts';
import { renderNginxConf } from '#src/agent/render/nginx-conf.ts';
import type { IngressConfig } from '#src/config/schema.ts';
import { aConfig, aHost } from '../../support/world.ts';
import { assertGolden } from '../golden-file.ts';

/** As parsed: `[name, listen, addresses, protocol]`. */
const entries = (
  ...given: readonly (readonly [string, number, unknown, 'udp'?])[]
): readonly IngressConfig[] =>
  aConfig({
    ingress: given.map(([name, listen, addresses, protocol = 'tcp']) => ({
      name,
      listen,
      protocol,
      addresses,
      upstreams: ['127.0.0.1:30484'],
    })),
  }).ingress;

const addresses = {
  here: ['10.0.0.5', '10.45.0.7', '127.0.0.1', '203.0.113.7', '2001:db8::5', 'fd00::7'],
  defaultRoute: ['10.0.0.5', '2001:db8::5'],
  zerotier: ['10.45.0.7', 'fd00::7', 'fe80::7'],
};
const host = { ...aHost, addresses };
/** `listen` lines without their options. */
const listens = (text: string) =>
  [...text.matchAll(/^ *listen (?!unix)(\S+?)( udp)?( reuseport.*)?;$/gm)].map(
    ([, place, udp = '', socket]) => `${place}${udp}${socket === undefined ? ' by address' : ''}`,
  );

describe("an entry's addresses", () => {
  test('of every kind, in one config', () => {
    const all = entries(
      ['http', 80, 'all'],
      ['https', 443, ['default-route', '203.0.113.7']],
      ['inside', 443, 'zerotier'],
      ['quic', 443, 'all', 'udp'],
      ['quic-inside', 443, 'zerotier', 'udp'],
      ['really-all', 8080, ['all', 'zerotier']],
      ['late', 8443, '198.51.100.1'],
    );
    const { text, open, waiting } = renderNginxConf(all, host);
    assertGolden('nginx/addresses.conf', text);
    assert.deepEqual(open, ['http', 'https', 'inside', 'quic', 'quic-inside', 'really-all']);
    assert.deepEqual(waiting, ['late waits for 198.51.100.1']);
  });

  test('are all but ZeroTier’s, also those of a link that is away, unless it asks for them', () => {
    const [first] = entries(['http', 80, 'all']);
    assert.ok(first);
    const away = { ...aHost, addresses: { ...addresses, here: [] } };
    for (const { text } of [renderNginxConf([first], host), renderNginxConf([first], away)]) {
      assert.deepEqual(listens(text), [
        '80',
        '[::]:80',
        '10.45.0.7:80 by address',
        '[fd00::7]:80 by address',
        '[fe80::7]:80 by address',
      ]);
      assert.match(text, /\[fe80::7\]:80;\n +deny all;/);
    }
    assert.doesNotMatch(
      renderNginxConf(entries(['http', 80, ['all', 'zerotier']]), host).text,
      /10\.45|fd00|fe80/,
    );
  });

  test('without IPv6 in the kernel open no socket of it, not even for an address that is only remembered', () => {
    const all = entries(
      ['http', 80, 'all'],
      ['inside', 80, 'zerotier'],
      ['named', 81, 'fd00::7'],
      ['quic', 443, 'all', 'udp'],
    );
    const { text } = renderNginxConf(all, { ...host, ipv6: false });
    assert.deepEqual(listens(text), [
      '80',
      '10.45.0.7:80 by address',
      '443 udp',
      '10.45.0.7:443 udp by address',
    ]);
  });

  test('that are named are taken from what the words of another entry mean', () => {
    const all = entries(
      ['a', 443, 'default-route'],
      ['b', 443, '10.0.0.5'],
      ['c', 443, ['zerotier']],
      ['d', 443, 'fd00::7'],
    );
    const { text } = renderNginxConf(all, host);
    assert.deepEqual(listens(text), ['[2001:db8::5]:443', '10.0.0.5:443', '10.45.0.7:443', '[fd00::7]:443']);
  });

  test('without any there leave their entry out, and are told', () => {
    const all = entries(
      ['a', 80, 'default-route'],
      ['b', 80, 'zerotier'],
      ['c', 80, ['192.0.2.9', '10.0.0.5']],
    );
    const bare = { here: ['10.0.0.5'], defaultRoute: [], zerotier: [] };
    const { text, open, waiting } = renderNginxConf(all, { ...aHost, addresses: bare });
    assert.deepEqual([listens(text), open], [['10.0.0.5:80'], ['c']]);
    assert.doesNotMatch(text, /upstream a|upstream b/);
    assert.deepEqual(waiting, [
      "a waits for an address on the default route's interface",
      'b waits for an address of ZeroTier',
      'c waits for 192.0.2.9',
    ]);
  });

  test('are told by the text for the next time, and text that was not written here tells none', () => {
    const { text } = renderNginxConf(entries(['http', 80, 'all'], ['https', 443, 'default-route']), host);
    assert.deepEqual(keptAddresses(text), {
      entries: { https: ['10.0.0.5', '2001:db8::5'] },
      zerotier: ['10.45.0.7', 'fd00::7', 'fe80::7'],
    });
    for (const hostile of [
      '',
      '# Addresses of x: 1.2.3.4; evil',
      '# Addresses of x: 999.1.1.1 ::g',
      'x # Addresses of y: 1.1.1.1',
    ])
      assert.deepEqual(Object.values(keptAddresses(hostile).entries).flat(), []);
    const longest = `# Addresses of x: ${'1.1.1.1 '.repeat(100_000)}`;
    assert.deepEqual(keptAddresses(longest).entries, {});
  });

  test('that are none are not rendered', () => {
    const [entry] = entries(['http', 80, '10.0.0.5']);
    assert.ok(entry);
    for (const hostile of ['10.0.0.5;', '10.0.0.5 udp', '::1%eth0', 'unix:/x', '', '10.0.0.5\n'])
      for (const given of [
        { here: [hostile], zerotier: [] },
        { here: [], zerotier: [hostile] },
      ]) {
        const known = { defaultRoute: [], ...given };
        const bad = { ...entry, addresses: given.here.length > 0 ? [hostile] : ['all'] };
        assert.throws(() => renderNginxConf([bad], { ...aHost, addresses: known }), TypeError);
      }
  });
});
