import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Memory } from '#src/agent/memory.ts';
import { type Plan, plan } from '#src/agent/plan.ts';
import { k3sUnit, type World } from '#src/agent/world.ts';
import type { HomeReading } from '#src/systems/home/types.ts';
import { aConfig, aMemory, at, aWorld, networkId, units, zerotierAnswers } from '../../support/world.ts';

const config = aConfig();
const answering: HomeReading = {
  server: { kind: 'reachable', trust: 'verified', latencyMs: 20, atMs: 0 },
  dns: { kind: 'answers' },
};
/** Nothing answers since `sinceMs`. */
const silence = (sinceMs: number): HomeReading => ({
  server: { kind: 'unreachable', stage: 'connect', error: 'no answer', heard: false, sinceMs },
  dns: { kind: 'silent', sinceMs: sinceMs - 500 },
});
/** ZeroTier heard from the controller so long ago. */
const heard = (lastReceiveAgeMs: number | undefined) =>
  zerotierAnswers({ peers: [{ address: networkId.slice(0, 10), lastReceiveAgeMs }] });

const text = (() => {
  const { actions } = plan({ config, world: aWorld(), memory: aMemory(), now: at(0) }, 0.5);
  const write = actions.k3s.find((action) => action.do === 'k3s.write-config');
  assert.ok(write?.do === 'k3s.write-config');
  return write.text;
})();

/** A node whose k3s runs, looked at `ms` after the boot. */
function look(memory: Memory, ms: number, world: Partial<World>): Plan {
  const k3s: World['k3s'] = {
    binary: '1:1:1',
    config: { kind: 'present', text, mode: 0o600 },
    token: { kind: 'present', copyInSync: true },
  };
  const seen = aWorld({ units: units(), k3s, home: answering, ...world });
  return plan({ config, world: seen, memory, now: at(ms) }, 0.5);
}

/** Moored since long; from 1,000 s on nothing beyond the link answers, and from 1,150 s on the controller is silent too. */
function cut(): Plan {
  const moored = look(look(aMemory(), 900_000, {}).memory, 910_000, {});
  return look(moored.memory, 1_151_000, { home: silence(1_000_000), zerotier: heard(151_000) });
}
const outages = ({ memory }: Plan) => memory.links[networkId]?.outages;

describe('silence of everything beyond a link that is called fine', () => {
  test('is an outage of the link once, and restarts nothing while it lasts', () => {
    const first = cut();
    assert.equal(outages(first), 1);
    assert.deepEqual(first.actions.k3s, []);
    const later = look(first.memory, 1_400_000, { home: silence(1_000_000), zerotier: heard(undefined) });
    assert.equal(outages(later), 1);
    assert.deepEqual(later.actions.k3s, []);
  });

  test('restarts k3s once, `settle` after the first answer of the server', () => {
    const back = look(cut().memory, 2_000_000, {});
    assert.deepEqual(back.actions.k3s, []);
    const { settle } = config.k3s.restart;
    assert.equal(back.wakeAtMs, 2_000_000 + settle);
    const due = look(back.memory, 2_000_000 + settle, {});
    assert.deepEqual(due.actions.k3s, [{ do: 'unit.restart', unit: k3sUnit, reason: 'outage' }]);
    const again = look(due.memory, 2_100_000, {
      units: units({ invocationId: 'c'.repeat(32), startedMs: 2_003_000 }),
    });
    assert.deepEqual(again.actions.k3s, []);
  });

  test('is not over while home is away, though the controller is heard again', () => {
    const heardAgain = look(cut().memory, 2_000_000, { home: silence(1_000_000), zerotier: heard(1_000) });
    const later = look(heardAgain.memory, 2_100_000, { home: silence(1_000_000), zerotier: heard(1_000) });
    assert.deepEqual(later.actions.k3s, []);
  });

  test('is none where anything was heard, or has not lasted, or nobody knows', () => {
    const moored = look(look(aMemory(), 900_000, {}).memory, 910_000, {}).memory;
    const dnsAnswers: HomeReading = { ...silence(1_000_000), dns: { kind: 'answers' } };
    for (const [what, world] of [
      ['the controller is heard', { home: silence(1_000_000), zerotier: heard(90_000) }],
      ['the DNS answers', { home: dnsAnswers, zerotier: heard(200_000) }],
      ['it began just now', { home: silence(1_190_000), zerotier: heard(200_000) }],
      ['ZeroTier is silent', { home: silence(1_000_000), zerotier: { kind: 'unreachable', error: 'x' } }],
      ['nothing was asked', { home: { server: { kind: 'unprobed' }, dns: { kind: 'unasked' } } }],
      ['the link is away', { home: silence(1_000_000), zerotier: heard(200_000), links: {} }],
    ] as const)
      assert.equal(outages(look(moored, 1_200_000, world)), 0, what);
  });

  test('wakes the loop at the moment at which it counts', () => {
    const moored = look(look(aMemory(), 900_000, {}).memory, 910_000, {}).memory;
    const early = look(moored, 1_200_000, { home: silence(1_190_000), zerotier: heard(200_000) });
    assert.ok(early.wakeAtMs <= 1_190_000 + config.k3s.restart.outage + 1);
  });
});

describe('the first question on a link', () => {
  test('is spread after an outage, and soon otherwise', () => {
    assert.equal(look(aMemory(), 900_000, {}).probe.firstWithinMs, config.k3s.probe.eager);
    assert.equal(cut().probe.firstWithinMs, config.k3s.probe.eager);
    assert.equal(look(cut().memory, 2_000_000, {}).probe.firstWithinMs, config.k3s.restart.spread);
  });
});
