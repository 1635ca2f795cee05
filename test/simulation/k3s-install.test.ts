/** A pinned k3s under faults: whatever becomes of mirror, disk and mooring, in the end the pinned one runs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { seeded } from '../support/random.ts';
import type { Fault } from './faults.ts';
import type { SimNode } from './node.ts';
import type { Sabotage } from './sabotage.ts';
import { type DrawnFault, runSchedule } from './schedule.ts';

const schedules = 400;
const anotherPin = (node: SimNode) => node.install.pin(`${node.random.between(2, 9)}:1:1`);
const lasting = (name: string, turn: (node: SimNode, on: boolean) => void): Fault => ({
  name,
  ends: 'later',
  begin: (node) => {
    turn(node, true);
    return () => turn(node, false);
  },
});
const once = (name: string, begin: (node: SimNode) => void): Fault => ({
  name,
  ends: 'itself',
  begin: (node) => {
    begin(node);
    return undefined;
  },
});
const mirror = (state: 'away' | 'cut' | 'wrong') =>
  lasting(`another k3s is pinned while the mirror is: ${state}`, (node, on) => {
    node.install.mirror = on ? state : 'fine';
    if (on) anotherPin(node);
  });

const faults: readonly [Fault, ...Fault[]] = [
  once('another k3s is pinned', anotherPin),
  mirror('away'),
  mirror('cut'),
  mirror('wrong'),
  once('the binary is replaced by others', (node) => node.k3sFiles.replaceBinary('1:1:1')),
  lasting('the disk is full', (node, on) => {
    node.disk.trouble = on ? 'full' : 'none';
  }),
  lasting('the bus is away', (node, on) => {
    node.bus.turn(!on);
  }),
  once('mooring is killed', (node) => node.daemon.kill()),
];

function draw(seed: number): readonly DrawnFault[] {
  const random = seeded(seed);
  return Array.from({ length: random.between(1, 8) }, () => ({
    atMs: random.between(0, 300_000),
    lastsMs: random.pick([200, 15_000, 120_000]),
    times: 1,
    seed: random.between(0, 0xffff),
    fault: random.pick(faults),
  })).sort((left, right) => left.atMs - right.atMs);
}

async function firstFailure(sabotage?: Sabotage): Promise<string | undefined> {
  for (let seed = 1; seed <= schedules; seed += 1) {
    const { violations, trail } = await runSchedule(seed, sabotage, draw(seed));
    if (violations.length > 0) return `seed ${seed}: ${violations.join('; ')}\n${trail.join('\n')}`;
  }
  return undefined;
}

describe('a pinned k3s', () => {
  test(`runs in the end of ${schedules} schedules of faults`, async () => {
    assert.equal(await firstFailure(), undefined);
  });

  test('does not with a brain that leaves what is installed', async () => {
    const act: Sabotage['act'] = (action) => (action.do === 'k3s.fetch' ? undefined : action);
    assert.notEqual(await firstFailure({ name: 'leaves what is installed', act }), undefined);
  });
});
