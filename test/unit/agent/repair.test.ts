import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { budgetOf } from '../../../src/agent/budget.ts';
import { begun, type Memory } from '../../../src/agent/memory.ts';
import { linkStage } from '../../../src/agent/stages/link.ts';
import { type World, zerotierUnit } from '../../../src/agent/world.ts';
import type { UnitReading } from '../../../src/systems/systemd/types.ts';
import {
  aConfig,
  aLink,
  aMemory,
  aNetwork,
  at,
  aUnit,
  aWorld,
  device,
  networkId,
  zerotierAnswers,
} from '../../support/world.ts';

const running = (overrides: Partial<UnitReading> = {}): World['units'] => ({
  kind: 'answered',
  units: { [zerotierUnit]: aUnit(overrides) },
});
const restart = { do: 'unit.restart', unit: zerotierUnit, reason: 'repair' };
const rejoin = { do: 'zerotier.rejoin', network: networkId };
const config = (repair: Readonly<Record<string, unknown>> = {}) =>
  aConfig({ zerotier: { networks: [{ id: networkId }], repair } });

const missing: Partial<World> = { links: {} };
const down: Partial<World> = { links: { [device]: aLink({ up: false, addresses: [] }) } };
const bare: Partial<World> = { links: { [device]: aLink({ addresses: [] }) } };
const unrouted: Partial<World> = { links: { [device]: aLink({ unrouted: ['10.45.0.7/24'] }) } };
const readdressed: Partial<World> = {
  zerotier: zerotierAnswers({ networks: [aNetwork({ assignedAddresses: ['10.45.0.8/24'] })] }),
};
const stale: Partial<World> = {
  ...readdressed,
  links: { [device]: aLink({ addresses: ['10.45.0.7/24', '10.45.0.8/24'] }) },
};

/** A node that is seen moored at 100 s, with everything long since up; then `world` each second up to `lastMs`. */
function live(
  world: (ms: number) => Partial<World>,
  lastMs: number,
  { settings = config(), first = aMemory() }: { settings?: ReturnType<typeof aConfig>; first?: Memory } = {},
) {
  const ask = (overrides: Partial<World>, memory: Memory, ms: number) =>
    linkStage({
      config: settings,
      world: aWorld({ units: running(), ...overrides }),
      memory,
      now: at(ms),
    });
  let result = ask({}, ask({}, first, 50_000).memory, 100_000);
  const done: { readonly ms: number; readonly action: unknown }[] = [];
  for (let ms = 101_000; ms <= lastMs; ms += 1_000) {
    result = ask(world(ms), result.memory, ms);
    let { memory } = result;
    for (const action of result.actions) {
      done.push({ ms, action });
      memory = begun(memory, action, { nowMs: ms, random: 0.5, budget: budgetOf(action, settings) });
    }
    result = { ...result, memory };
  }
  return { done, finding: result.findings.LinkReady, wakeAtMs: result.wakeAtMs, memory: result.memory };
}

describe('ZeroTier is repaired', () => {
  test('for the route of its own address alone, and LinkReady says what is missing', () => {
    const others: Partial<World> = { links: { [device]: aLink({ unrouted: ['192.0.2.1/24'] }) } };
    assert.deepEqual(live(() => others, 200_000).done, []);
    const { finding } = live(() => unrouted, 101_000);
    assert.equal(finding.status, 'true');
    assert.match(finding.message, /the route to the network of 10\.45\.0\.7\/24 .* is gone; .*restarts/);
  });

  for (const [what, world, action] of [
    ['whose interface is gone by leaving and joining', missing, rejoin],
    ['whose interface is down by a restart', down, restart],
    ['whose interface lacks its address by a restart', bare, restart],
    ['whose interface keeps a former address by a restart', stale, restart],
    ['whose network has lost its route by a restart', unrouted, restart],
  ] as const) {
    test(`${what}, once that has lasted for the patience`, () => {
      const before = live(() => world, 110_000);
      assert.deepEqual(before.done, []);
      assert.match(before.finding.message, /if that lasts, mooring (leaves and joins|restarts) .* at 2026-/);
      assert.equal(before.wakeAtMs, 111_000);
      const after = live(() => world, 111_000);
      assert.deepEqual(after.done, [{ ms: 111_000, action }]);
      assert.match(after.finding.message, /mooring .* now/);
    });
  }

  test('by a restart alone where another network needs one, since that makes every interface anew', () => {
    const other = '8056c2e21c000002';
    const settings = aConfig({ zerotier: { networks: [{ id: networkId }, { id: other }] } });
    const networks = [aNetwork(), aNetwork({ id: other, portDeviceName: 'ztother' })];
    const world: Partial<World> = {
      zerotier: zerotierAnswers({ networks }),
      links: { [device]: aLink({ up: false, addresses: [] }) },
    };
    assert.deepEqual(live(() => world, 111_000, { settings }).done, [{ ms: 111_000, action: restart }]);
  });

  test('at most as often as its budget says, then spaced out, which is told', () => {
    const { done, finding } = live(() => bare, 900_000, { settings: config({ budget: '3/1h' }) });
    assert.equal(done.length, 3);
    assert.match(
      finding.message,
      /used up \(3 in 3600 s\).* at 2026-.*by hand: systemctl restart zerotier-one/,
    );
    assert.equal(live(() => bare, 1_800_000).done.length, 4);
  });

  test('with a budget for each of the two', () => {
    const both = (ms: number) => (ms < 500_000 ? bare : missing);
    const { done } = live(both, 900_000, { settings: config({ budget: '1/1h' }) });
    assert.deepEqual(
      done.map(({ action }) => action),
      [restart, rejoin],
    );
  });

  test('and its restarts are counted by their reason', () => {
    const { memory } = live(() => bare, 111_000);
    assert.deepEqual(memory.restarts, { [`${zerotierUnit} repair`]: 1 });
    const { count } = config().zerotier.repair.budget;
    assert.equal(memory.budgets[zerotierUnit]?.tokens, count - 1);
  });
});

describe('ZeroTier is left alone', () => {
  const silent: Partial<World> = { ...bare, zerotier: { kind: 'unreachable', error: 'timeout' } };
  const none: readonly (readonly [string, Partial<World>])[] = [
    ['while its API is silent', silent],
    ['while it is offline', { ...bare, zerotier: zerotierAnswers({ online: false }) }],
    [
      'while the network denies access',
      { ...bare, zerotier: zerotierAnswers({ networks: [aNetwork({ status: 'ACCESS_DENIED' })] }) },
    ],
    [
      'while it names no interface',
      { ...missing, zerotier: zerotierAnswers({ networks: [aNetwork({ portDeviceName: '' })] }) },
    ],
    [
      'with an address that it never gave',
      { links: { [device]: aLink({ addresses: ['10.45.0.7/24', '10.45.0.99/32'] }) } },
    ],
    ['where its unit is masked', { ...bare, units: running({ loadState: 'masked' }) }],
    ['where its unit stops', { ...bare, units: running({ activeState: 'deactivating' }) }],
    ['where its unit has a job', { ...bare, units: running({ job: 'restart' }) }],
    ['where systemd knows no such unit', { ...bare, units: { kind: 'answered', units: {} } }],
    ['where systemd cannot be asked', { ...bare, units: { kind: 'unreachable', error: 'no bus' } }],
  ];
  for (const [what, world] of none) {
    test(what, () => {
      assert.deepEqual(live(() => world, 300_000).done, []);
    });
  }

  test('where the disagreement is interrupted again and again', () => {
    assert.deepEqual(live((ms) => (ms % 8_000 === 0 ? {} : bare), 300_000).done, []);
    assert.deepEqual(live((ms) => (ms % 8_000 === 0 ? silent : bare), 300_000).done, []);
  });

  test('until its unit has run for the pause', () => {
    const units = running({ startedMs: 95_000 });
    const { done } = live(() => ({ ...bare, units }), 160_000);
    assert.deepEqual(done, [{ ms: 155_000, action: restart }]);
  });

  test('until its interface is 15 s old', () => {
    const links = { [device]: aLink({ ifindex: 8, addresses: [] }) };
    const { done } = live(() => ({ links }), 120_000);
    assert.deepEqual(done, [{ ms: 116_000, action: restart }]);
  });

  test('until its API has been back for 15 s', () => {
    const { done } = live((ms) => (ms < 200_000 ? silent : bare), 220_000);
    assert.deepEqual(done, [{ ms: 215_000, action: restart }]);
  });

  for (const [name, world, byHand] of [
    ['rejoin', missing, /zerotier\.repair\.rejoin is false\): zerotier-cli leave \w+; zerotier-cli join/],
    ['restart', bare, /zerotier\.repair\.restart is false\): systemctl restart zerotier-one/],
  ] as const) {
    test(`where ${name} is switched off, and the command is told`, () => {
      const { done, finding } = live(() => world, 300_000, { settings: config({ [name]: false }) });
      assert.deepEqual(done, []);
      assert.match(finding.message, byHand);
    });
  }
});

test('a former address beside the right one is told, and does not make the link unready', () => {
  const { finding } = live(() => stale, 105_000);
  assert.equal(finding.status, 'true');
  assert.match(finding.message, /carries 10\.45\.0\.8\/24; .* keeps an address that is no longer assigned/);
});
