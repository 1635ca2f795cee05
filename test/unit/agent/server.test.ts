import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { World } from '#src/agent/world.ts';
import type { HomeDnsReading, ServerReading } from '#src/systems/home/types.ts';
import { look } from '../../support/moored.ts';
import { aLink, device, networkId, units, zerotierAnswers } from '../../support/world.ts';

const reachable: ServerReading = { kind: 'reachable', trust: 'verified', latencyMs: 20, atMs: 0 };
const silent: ServerReading = {
  kind: 'unreachable',
  stage: 'connect',
  error: 'no answer within 2500 ms',
  heard: false,
  sinceMs: 0,
};
const refused: ServerReading = { ...silent, error: 'connection refused', heard: true };
const dnsSilent: HomeDnsReading = { kind: 'silent', sinceMs: 0 };

/** The controller as ZeroTier heard it so long ago; undefined: never. */
const controller = (lastReceiveAgeMs: number | undefined): Partial<World> => ({
  zerotier: zerotierAnswers({ peers: [{ address: networkId.slice(0, 10), lastReceiveAgeMs }] }),
});

function judged(server: ServerReading, dns: HomeDnsReading, overrides: Partial<World> = {}) {
  const { result } = look({ home: { server, dns }, ...overrides });
  const of = (type: string) => result.conditions.find((condition) => condition.type === type);
  return { result, condition: of('ServerReachable'), k3s: of('K3sRunning'), ready: of('Ready') };
}
const told = (...given: Parameters<typeof judged>) => {
  const { condition } = judged(...given);
  return `${condition?.status} ${condition?.reason}`;
};

describe('ServerReachable', () => {
  test('is true where the server answers, and says whether anybody checked who it is', () => {
    assert.equal(told(reachable, { kind: 'answers' }), 'true Verified');
    for (const trust of ['no-hash', 'no-token'] as const)
      assert.equal(told({ ...reachable, trust }, { kind: 'answers' }), 'true Unverified');
  });

  test('tells the server from the link by what else answers', () => {
    const [fresh, stale, never] = [controller(60_000), controller(200_000), controller(undefined)];
    assert.equal(told(silent, { kind: 'answers' }, stale), 'false ServerAway');
    assert.equal(told(silent, { kind: 'refuses' }, stale), 'false ServerAway');
    assert.equal(told(refused, dnsSilent, stale), 'false ServerAway');
    assert.equal(told(silent, dnsSilent, fresh), 'false HomeSilent');
    assert.equal(told(silent, dnsSilent, stale), 'false LinkSilent');
    assert.equal(told(silent, dnsSilent, never), 'false LinkSilent');
    assert.equal(told(silent, { kind: 'unasked' }, fresh), 'false ServerAway');
    assert.equal(told(silent, { kind: 'unasked' }, stale), 'false LinkSilent');
    assert.equal(told(silent, { kind: 'unasked' }, never), 'false NoAnswer');
  });

  test('tells a name that nobody knows, a server that does not serve, and one that is another', () => {
    const nameless: ServerReading = { ...silent, stage: 'dns', error: 'nobody knows the name' };
    assert.equal(told(nameless, { kind: 'answers' }), 'false NameUnknown');
    assert.equal(told(nameless, dnsSilent, controller(200_000)), 'false LinkSilent');
    assert.equal(told({ ...refused, stage: 'http' }, dnsSilent), 'false NotServing');
    const untrusted = { kind: 'untrusted', error: 'x', sinceMs: 0 } as const;
    assert.equal(told({ ...untrusted, reason: 'ca' }, { kind: 'answers' }), 'false WrongCa');
    assert.equal(
      told({ ...untrusted, reason: 'certificate' }, { kind: 'answers' }),
      'false CertificateInvalid',
    );
  });

  test('keeps the node Ready while k3s runs, and has nothing restarted, whichever side is cut', () => {
    for (const age of [60_000, 200_000])
      for (const server of [silent, refused]) {
        const { result, ready, condition } = judged(server, dnsSilent, controller(age));
        assert.equal(condition?.status, 'false');
        assert.equal(ready?.status, 'true');
        assert.deepEqual(Object.values(result.actions).flat(), []);
      }
  });

  test('is a consequence while there is no link', () => {
    const { condition } = judged({ kind: 'unprobed' }, { kind: 'unasked' }, { links: {} });
    assert.deepEqual(
      [condition?.status, condition?.reason, condition?.cause],
      ['unknown', 'WaitingForLink', 'LinkReady'],
    );
  });
});

describe('an agent that has not joined', () => {
  const joining = { units: units({ activeState: 'activating', subState: 'start' }) };

  test('says why, as far as it is known', () => {
    assert.match(
      judged(silent, { kind: 'answers' }, joining).k3s?.message ?? '',
      /server is away, not the link/,
    );
    assert.match(judged(reachable, { kind: 'answers' }, joining).k3s?.message ?? '', /the server answers/);
    assert.match(
      judged({ kind: 'unprobed' }, { kind: 'unasked' }, joining).k3s?.message ?? '',
      /is the server up/,
    );
  });
});

describe('what is asked beyond the link', () => {
  const probe = (...given: Parameters<typeof judged>) => judged(...given).result.probe;

  test('is asked calmly while all is fine, and eagerly in doubt', () => {
    assert.equal(probe(reachable, { kind: 'answers' }).pace, 'calm');
    assert.equal(probe(reachable, { kind: 'unasked' }).pace, 'calm');
    assert.equal(probe(reachable, dnsSilent).pace, 'eager');
    assert.equal(probe(silent, { kind: 'answers' }).pace, 'eager');
    assert.equal(probe({ kind: 'unprobed' }, { kind: 'unasked' }).pace, 'eager');
  });

  test('is asked of the DNS servers that the link has, and anew on another link', () => {
    const here = probe(reachable, { kind: 'answers' });
    assert.deepEqual(here.dnsServers, ['10.45.0.1']);
    const moved = probe(reachable, { kind: 'answers' }, { links: { [device]: aLink({ ifindex: 9 }) } });
    assert.notEqual(moved.path, here.path);
  });

  test('is nothing while the link is not ready, and goes on while only ZeroTier is silent', () => {
    assert.equal(probe(reachable, { kind: 'answers' }, { links: {} }).pace, 'off');
    const away = { zerotier: { kind: 'unreachable', error: 'refused' } } as const;
    assert.deepEqual(probe(reachable, { kind: 'answers' }, away), probe(reachable, { kind: 'answers' }));
  });
});
