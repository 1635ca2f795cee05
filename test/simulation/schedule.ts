/** One schedule: a node boots, faults come at random, then they stop, and the node has to be moored again in time. */
import type { BudgetPolicy } from '../../src/agent/budget.ts';
import { seeded } from '../support/random.ts';
import { type Fault, faults } from './faults.ts';
import { SimNode } from './node.ts';
import type { Sabotage } from './sabotage.ts';

/** Once faults stop, everything is true within this virtual time: the longest wait of the restart budget, and some. */
export const recoveryMs = 25 * 60_000;

/** A fault drawn for a schedule. Times are virtual ms. */
export interface DrawnFault {
  readonly atMs: number;
  readonly lastsMs: number;
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

/** Draws the faults of a seed. */
export function draw(seed: number): readonly DrawnFault[] {
  const random = seeded(seed);
  const count = random.between(1, 12);
  const spanMs = random.pick([20_000, 120_000, 900_000]);
  return Array.from({ length: count }, () => ({
    atMs: random.between(0, spanMs),
    // A fault that repeats itself is over within the longest of these.
    lastsMs: random.pick([5, 200, 2_000, 15_000, 45_000, 210_000]),
    fault: random.pick(faults),
  })).sort((left, right) => left.atMs - right.atMs);
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
  let endMs = 0;
  for (const { atMs, lastsMs, fault } of drawn) {
    node.clock.at(atMs, () => {
      judge.tell(`fault: ${fault.name}`);
      const end = fault.begin(node);
      if (end === undefined) return;
      node.clock.after(lastsMs, () => {
        judge.tell(`over:  ${fault.name}`);
        end();
      });
    });
    endMs = Math.max(endMs, atMs + lastsMs, atMs + fault.spanMs);
  }
  const check = () => {
    judge.trackLoss();
    return judge.violations.length === 0;
  };
  await node.clock.runUntil(endMs, check);
  let recoveredAtMs: number | undefined;
  await node.clock.runUntil(endMs + recoveryMs, () => {
    if (!check()) return false;
    if (recoveredAtMs === undefined && judge.isMoored()) recoveredAtMs = node.clock.nowMs;
    // A while longer, so that a node which does not stay moored is seen.
    return recoveredAtMs === undefined || node.clock.nowMs < recoveredAtMs + 120_000;
  });
  if (judge.violations.length === 0) judgeTheEnd(node, recoveredAtMs);
  const recoveredAfterMs = recoveredAtMs === undefined ? undefined : recoveredAtMs - endMs;
  const { violations, trail } = judge;
  return { seed, violations, trail, drawn, recoveredAfterMs, livedMs: node.clock.nowMs };
}

function judgeTheEnd(node: SimNode, recoveredAtMs: number | undefined): void {
  if (recoveredAtMs === undefined) {
    const open = node.judge.newest?.conditions.filter((condition) => condition.status !== 'true') ?? [];
    const told = open.map((condition) => `${condition.type} ${condition.reason}`).join(', ');
    node.judge.violate(
      `not moored ${recoveryMs / 60_000} min after the last fault; ${told || 'mooring thinks it is'}`,
    );
  } else if (!node.judge.isMoored()) node.judge.violate('moored, but not for long');
  const { repair } = node.settings.zerotier;
  for (const [kind, times] of Object.entries(node.judge.repaired)) {
    const most = busiest(times, repair.budget.periodMs);
    if (most > 2 * repair.budget.count)
      node.judge.violate(`ZeroTier was repaired (${kind}) ${most} times within an hour`);
  }
  const { budget } = node.settings.k3s.restart;
  const most = busiest(node.k3s.unit.begins, budget.periodMs);
  if (most > allowedBegins(budget))
    node.judge.violate(`k3s began ${most} times within ${budget.periodMs / 1000} s`);
}

/** A full bucket and its refill, and the restarts that systemd makes by itself before its own limit stops it. */
function allowedBegins(budget: Pick<BudgetPolicy, 'count'>): number {
  return 2 * budget.count + 2;
}

/** The most events within any window of `periodMs`. */
function busiest(times: readonly number[], periodMs: number): number {
  return Math.max(
    0,
    ...times.map((start) => times.filter((at) => at >= start && at < start + periodMs).length),
  );
}
