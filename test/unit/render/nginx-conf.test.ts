import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { renderNginxConf } from '#src/agent/render/nginx-conf.ts';
import type { IngressConfig } from '#src/config/schema.ts';
import { listenersIn } from '#src/systems/nginx/listeners.ts';
import { aHost } from '../../support/world.ts';
import { assertGolden } from '../golden-file.ts';

function entry(change: Partial<IngressConfig> = {}): IngressConfig {
  return {
    name: 'http',
    listen: 80,
    protocol: 'tcp',
    addresses: ['all'],
    upstreams: ['127.0.0.1:31693'],
    balance: 'auto',
    connectTimeout: 5_000,
    allow: [],
    deny: [],
    proxyProtocol: 'none',
    ...change,
  };
}

const three = [
  entry(),
  entry({
    name: 'https',
    listen: 443,
    upstreams: ['127.0.0.1:30484', '[fd00::1]:30484'],
    proxyProtocol: 'v1',
  }),
  entry({ name: 'quic', listen: 443, protocol: 'udp', upstreams: ['127.0.0.1:30485', '127.0.0.2:30485'] }),
];

describe("nginx' config", () => {
  test('for TCP, TLS with PROXY protocol and QUIC', () => {
    assertGolden('nginx/three.conf', renderNginxConf(three, aHost).text);
  });

  test('on a host without IPv6 opens no IPv6 socket', () => {
    const { text } = renderNginxConf(three, { ...aHost, ipv6: false });
    assert.doesNotMatch(text, /listen \[/);
    assertGolden('nginx/three-without-ipv6.conf', text);
  });

  test('with weights, a backup, time limits, and who may come in how often', () => {
    const full = entry({
      name: 'full',
      upstreams: [
        '10.45.0.8:30484',
        { address: '10.45.0.9:30484', weight: 2, backup: false },
        { address: '[fd00::9]:30484', weight: 1, backup: true },
      ],
      balance: 'turns',
      connectTimeout: 1_500,
      idleTimeout: 600_000,
      deny: ['198.51.100.0/24', '2001:db8:bad::/48'],
      allow: ['198.51.0.0/16', '203.0.113.7'],
      connectionsPerClient: 200,
    });
    const upstreams = ['10.45.0.8:30484', '10.45.0.9:30484'];
    const byClient = entry({ ...full, name: 'client', listen: 81, upstreams, balance: 'client', allow: [] });
    assertGolden('nginx/full.conf', renderNginxConf([full, byClient], aHost).text);
  });

  test('without any entry serves its generation alone', () => {
    assertGolden('nginx/empty.conf', renderNginxConf([], aHost).text);
  });

  test('is understood by what counts the sessions', () => {
    assert.deepEqual(listenersIn(renderNginxConf(three, aHost).text), [
      { name: 'http', protocol: 'tcp', listens: [':80'], upstreams: ['127.0.0.1:31693'] },
      {
        name: 'https',
        protocol: 'tcp',
        listens: [':443'],
        upstreams: ['127.0.0.1:30484', '[fd00::1]:30484'],
      },
      { name: 'quic', protocol: 'udp', listens: [':443'], upstreams: ['127.0.0.1:30485', '127.0.0.2:30485'] },
    ]);
  });

  test('is the same text for the same input', () => {
    assert.deepEqual(
      renderNginxConf(three, aHost),
      renderNginxConf(structuredClone(three), structuredClone(aHost)),
    );
  });

  test('carries its generation, and every change makes another', () => {
    const variants = [
      three,
      three.slice(1),
      [entry({ listen: 81 })],
      [entry({ upstreams: ['127.0.0.1:31694'] })],
      [entry({ proxyProtocol: 'v1' })],
      [],
    ].map((entries) => renderNginxConf(entries, aHost));
    for (const { text, generation } of variants) {
      assert.match(generation, /^[0-9a-f]{16}$/);
      assert.equal(text.split(`return ${generation};`).length, 2);
    }
    assert.equal(new Set(variants.map((v) => v.generation)).size, variants.length);
  });
});

describe('nothing breaks out of its place', () => {
  const hostile: readonly unknown[] = [
    '',
    'a;',
    'a b',
    'a}',
    'a{',
    'a\n',
    'a\nload_module /tmp/x.so;',
    'A',
    '$host',
    '"a"',
    "a'",
    'a#',
    '../x',
    '-a',
    'a\0',
    'a'.repeat(100),
    'ä',
    1,
    null,
    undefined,
    ['a'],
    { toString: () => 'a' },
  ];
  // The types promise better; this is about what happens when they are wrong.
  const render = (change: object) => renderNginxConf([Object.assign(entry(), change)], aHost);

  for (const value of hostile) {
    test(`${JSON.stringify(value)?.slice(0, 40)} is no name, port, upstream or proxyProtocol`, () => {
      assert.throws(() => render({ name: value }), TypeError);
      assert.throws(() => render({ upstreams: [value] }), TypeError);
      assert.throws(() => render({ proxyProtocol: value }), TypeError);
      for (const key of ['allow', 'deny']) assert.throws(() => render({ [key]: [value] }), TypeError);
      assert.throws(() => render({ balance: value, upstreams: ['10.0.0.1:1', '10.0.0.2:1'] }), TypeError);
      const address = { address: value, weight: 1, backup: false };
      assert.throws(() => render({ upstreams: [address] }), TypeError);
      if (value === 1) return;
      assert.throws(() => render({ listen: value }), TypeError);
      assert.throws(() => render({ connectTimeout: value }), TypeError);
      if (value === undefined) return;
      assert.throws(() => render({ connectionsPerClient: value }), TypeError);
      if (value !== null) assert.throws(() => render({ idleTimeout: value }), TypeError);
      const weighty = { address: '10.0.0.1:1', weight: value, backup: false };
      assert.throws(() => render({ upstreams: [weighty] }), TypeError);
    });
  }

  for (const upstream of [
    '127.0.0.1:80;',
    '127.0.0.1:80\n',
    '127.0.0.1:80 backup',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '127.0.0.1:1e3',
    '127.0.0.1',
    '127.1:80',
    '[::1%eth0]:80',
    '[::1;]:80',
    '::1:80',
    'unix:/run/x.sock',
    'localhost:80',
    '[127.0.0.1]:80',
  ]) {
    test(`${JSON.stringify(upstream)} is no upstream`, () => {
      assert.throws(() => render({ upstreams: [upstream] }), TypeError);
    });
  }

  test('what nginx does not take is not rendered', () => {
    const backup = { address: '10.0.0.2:1', weight: 1, backup: true };
    assert.throws(() => render({ upstreams: [backup] }), TypeError);
    assert.throws(() => render({ upstreams: ['10.0.0.1:1', backup], balance: 'client' }), TypeError);
    assert.throws(() => render({ upstreams: ['10.0.0.1:1', backup], protocol: 'udp' }), TypeError);
  });

  test('what is reserved is not rendered', () => {
    assert.throws(() => render({ upstreams: 'auto' }), TypeError);
    assert.throws(() => render({ upstreams: { service: 'traefik', port: 443 } }), TypeError);
    assert.throws(() => render({ proxyProtocol: 'v2' }), TypeError);
    assert.throws(() => render({ proxyProtocol: 'v1', protocol: 'udp' }), TypeError);
    assert.throws(() => render({ protocol: 'sctp' }), TypeError);
  });
});
