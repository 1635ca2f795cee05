/** One schedule: a node boots, faults come at random, then they stop, and the node has to be moored again in time. */
import { seeded } from '../support/random.ts';
import { type Fault, faults } from './faults.ts';
import { SimNode } from './node.ts';
import type { Sabotage } from './sabotage.ts';

/** Once faults stop, everything is true within this virtual time: the longest wait of the restart budget, and some. */
export const recoveryMs = 25 * 60_000;

/** It counts once it has lasted so long: a restart that is still due after an outage comes within this. */
const staysMs = 120_000;

/** A fault drawn for a schedule. Times are virtual ms. */
export interface DrawnFault {
  readonly atMs: number;
  /** From its beginning to its end, where it does not end by itself. */
  readonly lastsMs: number;
  readonly times: number;
  /** Of its own chance, so that leaving out another one does not change it. */
  readonly seed: number;
  readonly fault: Fault;
}

export interface Result {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly trail: readonly string[];
  readonly drawn: readonly DrawnFault[];
  /** Virtual ms from the end of the last fault until everything was true. */
  readonly recoveredAfterMs: number | undefined;
  /** Virtual ms that the node lived. */
  readonly livedMs: number;
}

/** How long faults last that do not end by themselves. */
const lengthsMs = [5, 200, 2_000, 15_000, 45_000, 210_000] as const;

/** Draws the faults of a seed. */
export function draw(seed: number): readonly DrawnFault[] {
  const random = seeded(seed);
  const count = random.between(1, 12);
  const spanMs = random.pick([20_000, 120_000, 900_000]);
  return Array.from({ length: count }, () => {
    const fault = random.pick(faults);
    return {
      atMs: random.between(0, spanMs),
      lastsMs: fault.ends === 'later' ? random.pick(lengthsMs) : 0,
      times: fault.repeats?.times ?? 1,
      seed: random.between(0, 0xffff),
      fault,
    };
  }).sort((left, right) => left.atMs - right.atMs);
}

/** Plants a fault in the node's future. Returns the virtual ms at which it will be over. */
function plant(node: SimNode, { atMs, lastsMs, times, seed, fault }: DrawnFault): number {
  const random = seeded(seed);
  const everyMs = fault.repeats?.everyMs ?? 0;
  for (let time = 0; time < times; time += 1) {
    node.clock.at(atMs + time * everyMs, () => {
      node.judge.tell(`fault: ${fault.name}`);
      const end = fault.begin(node, random);
      if (end === undefined) return;
      node.clock.after(lastsMs, () => {
        node.judge.tell(`over:  ${fault.name}`);
        end();
      });
    });
  }
  return atMs + (times - 1) * everyMs + lastsMs;
}

/** Runs a schedule; `drawn` replaces the faults of the seed, as when a failure is being shortened. */
export async function runSchedule(
  seed: number,
  sabotage?: Sabotage,
  drawn: readonly DrawnFault[] = draw(seed),
): Promise<Result> {
  const node = new SimNode(seed, sabotage);
  const { judge } = node;
  node.boot();
  const endMs = Math.max(0, ...drawn.map((one) => plant(node, one)));
  const check = () => {
    judge.check();
    return judge.violations.length === 0;
  };
  await node.clock.runUntil(endMs, check);
  let mooredSinceMs: number | undefined;
  await node.clock.runUntil(endMs + recoveryMs + staysMs, () => {
    if (!check()) return false;
    const { nowMs } = node.clock;
    mooredSinceMs = judge.isMoored() ? (mooredSinceMs ?? nowMs) : undefined;
    if (mooredSinceMs === undefined) return nowMs < endMs + recoveryMs;
    return nowMs < mooredSinceMs + staysMs;
  });
  if (judge.violations.length === 0) judgeTheEnd(node, mooredSinceMs);
  const recoveredAfterMs = mooredSinceMs === undefined ? undefined : mooredSinceMs - endMs;
  const { violations, trail } = judge;
  return { seed, violations, trail, drawn, recoveredAfterMs, livedMs: node.clock.nowMs };
}

function judgeTheEnd(node: SimNode, mooredSinceMs: number | undefined): void {
  if (mooredSinceMs === undefined) {
    const open = node.judge.newest?.conditions.filter((condition) => condition.status !== 'true') ?? [];
    const told = open.map((condition) => `${condition.type} ${condition.reason}`).join(', ');
    node.judge.violate(
      `not moored ${recoveryMs / 60_000} min after the last fault; ${told || 'mooring thinks it is'}`,
    );
  }
}
