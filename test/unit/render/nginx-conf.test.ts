import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { renderNginxConf } from '#src/agent/render/nginx-conf.ts';
import type { IngressConfig } from '#src/config/schema.ts';
import { assertGolden } from '../golden-file.ts';

function entry(change: Partial<IngressConfig> = {}): IngressConfig {
  return {
    name: 'http',
    listen: 80,
    protocol: 'tcp',
    upstreams: ['127.0.0.1:31693'],
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
    assertGolden('nginx/three.conf', renderNginxConf(three).text);
  });

  test('on a host without IPv6 opens no IPv6 socket', () => {
    const { text } = renderNginxConf(three, { ipv6: false });
    assert.doesNotMatch(text, /listen \[/);
    assertGolden('nginx/three-without-ipv6.conf', text);
  });

  test('without any entry serves its generation alone', () => {
    assertGolden('nginx/empty.conf', renderNginxConf([]).text);
  });

  test('is the same text for the same input', () => {
    assert.deepEqual(renderNginxConf(three), renderNginxConf(structuredClone(three)));
  });

  test('carries its generation, and every change makes another', () => {
    const variants = [
      three,
      three.slice(1),
      [entry({ listen: 81 })],
      [entry({ upstreams: ['127.0.0.1:31694'] })],
      [entry({ proxyProtocol: 'v1' })],
      [],
    ].map((entries) => renderNginxConf(entries));
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
  const render = (change: object) => renderNginxConf([Object.assign(entry(), change)]);

  for (const value of hostile) {
    test(`${JSON.stringify(value)?.slice(0, 40)} is no name, port, upstream or proxyProtocol`, () => {
      assert.throws(() => render({ name: value }), TypeError);
      assert.throws(() => render({ upstreams: [value] }), TypeError);
      assert.throws(() => render({ proxyProtocol: value }), TypeError);
      if (value !== 1) assert.throws(() => render({ listen: value }), TypeError);
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

  test('what is reserved is not rendered', () => {
    assert.throws(() => render({ upstreams: 'auto' }), TypeError);
    assert.throws(() => render({ upstreams: { service: 'traefik', port: 443 } }), TypeError);
    assert.throws(() => render({ proxyProtocol: 'v2' }), TypeError);
    assert.throws(() => render({ proxyProtocol: 'v1', protocol: 'udp' }), TypeError);
    assert.throws(() => render({ protocol: 'sctp' }), TypeError);
  });
});
