import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { renderLimits } from '#src/agent/render/nft-limits.ts';
import { renderNginxConf } from '#src/agent/render/nginx-conf.ts';
import { listensOf } from '#src/agent/render/nginx-listens.ts';
import type { IngressConfig } from '#src/config/schema.ts';
import { aConfig, aHost } from '../../support/world.ts';
import { assertGolden } from '../golden-file.ts';

const upstreams = ['127.0.0.1:31693'];
const { ingress } = aConfig({
  ingress: [
    { name: 'http', listen: 80, upstreams, newConnectionsPerClient: '20/1s' },
    { name: 'free', listen: 81, upstreams },
    {
      name: 'web-quic',
      listen: 443,
      protocol: 'udp',
      upstreams,
      newConnectionsPerClient: { rate: '5/1m', burst: 30 },
    },
  ],
});
const listens = listensOf(renderNginxConf(ingress, aHost).text);
const first = (change: Partial<IngressConfig>): readonly IngressConfig[] => {
  const [entry] = ingress;
  assert.ok(entry !== undefined);
  return [{ ...entry, ...change }];
};

describe('the limits of new connections', () => {
  test('are a table of their own, replaced as a whole', () => {
    assertGolden('nft/limits.nft', renderLimits(ingress, listens) ?? '');
  });

  test('are none where no entry has one', () => {
    assert.equal(renderLimits(first({ newConnectionsPerClient: undefined }), listens), undefined);
    assert.equal(renderLimits([], []), undefined);
  });

  test('are for the addresses at which the entry listens', () => {
    const at = (address: string) => ({ protocol: 'tcp', address, port: 80 }) as const;
    const text = renderLimits(first({}), [
      at('203.0.113.5'),
      at('2001:db8::5'),
      { ...at('198.51.100.7'), port: 81 },
    ]);
    assert.match(text ?? '', /^ +ip daddr 203\.0\.113\.5 tcp dport 80 .*ip saddr limit/m);
    assert.match(text ?? '', /^ +ip6 daddr 2001:db8::5 tcp dport 80 .*ip6 saddr & ffff/m);
    assert.doesNotMatch(text ?? '', /198\.51\.100\.7|nfproto/);
  });

  test('are not for an address that another entry names at the same port', () => {
    const at = (address: string) => ({ protocol: 'tcp', address, port: 80 }) as const;
    const [limited] = first({ addresses: ['default-route'] });
    const [named] = first({ name: 'named', addresses: ['203.0.113.6'], newConnectionsPerClient: undefined });
    assert.ok(limited !== undefined && named !== undefined);
    const text = renderLimits([limited, named], [at('203.0.113.5'), at('203.0.113.6')]);
    assert.match(text ?? '', /ip daddr 203\.0\.113\.5 /);
    assert.doesNotMatch(text ?? '', /203\.0\.113\.6/);
  });

  test('keep a client in mind until its allowance is full again, for a day at most', () => {
    const timeout = (limit: IngressConfig['newConnectionsPerClient']) =>
      /timeout (\d+)s/.exec(renderLimits(first({ newConnectionsPerClient: limit }), listens) ?? '')?.[1];
    assert.equal(timeout({ count: 20, periodMs: 1_000 }), '60');
    assert.equal(timeout({ rate: { count: 5, periodMs: 60_000 }, burst: 30 }), '360');
    assert.equal(timeout({ rate: { count: 1, periodMs: 3_600_000 }, burst: 10_000 }), '86400');
  });

  for (const [what, change] of [
    ['a name', { name: 'x; drop' }],
    ['a name', { name: 'x\n' }],
    ['a count', { newConnectionsPerClient: { count: 1.5, periodMs: 1_000 } }],
    ['a count', { newConnectionsPerClient: { count: Number.NaN, periodMs: 1_000 } }],
    ['a period', { newConnectionsPerClient: { count: 1, periodMs: 2_000 } }],
    ['a burst', { newConnectionsPerClient: { rate: { count: 1, periodMs: 1_000 }, burst: 0 } }],
  ] as const)
    test(`take nothing for ${what} that is none: ${JSON.stringify(change)}`, () => {
      assert.throws(() => renderLimits(first(change), listens), TypeError);
    });

  test('take nothing for an address that is none', () => {
    for (const address of ['1.2.3.4 drop', 'fe80::1%eth0', '', '::1 accept'])
      assert.throws(() => renderLimits(first({}), [{ protocol: 'tcp', address, port: 80 }]), TypeError);
  });
});
