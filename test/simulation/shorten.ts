/**
 * From a schedule that fails to the one that matters: the same violation from as few faults as possible, each as early,
 * short and simple as possible. Every step is kept only where the schedule still fails in the same way.
 */
import { type DrawnFault, type Result, runSchedule } from './schedule.ts';

/** What a schedule comes to. */
type Outcome = Pick<Result, 'violations'>;
export type Run<R extends Outcome> = (drawn: readonly DrawnFault[]) => Promise<R>;

/** A schedule that fails, and what it comes to. */
export interface Failing<R extends Outcome> {
  readonly drawn: readonly DrawnFault[];
  readonly result: R;
}

/** So many schedules are tried at most: half a minute. */
const mostTries = 1_000;

/** Shortens `drawn`, which must fail. */
export async function shortened<R extends Outcome>(
  drawn: readonly DrawnFault[],
  run: Run<R>,
): Promise<Failing<R>> {
  let best: Failing<R> = { drawn, result: await run(drawn) };
  const kind = kindOf(best.result);
  let tries = 0;
  /** The first candidate that fails in the same way takes the place of the best one. */
  const improve = async (candidates: Iterable<readonly DrawnFault[]>): Promise<boolean> => {
    for (const candidate of candidates) {
      if (tries >= mostTries) return false;
      tries += 1;
      const result = await run(candidate);
      if (kindOf(result) !== kind) continue;
      best = { drawn: candidate, result };
      return true;
    }
    return false;
  };
  for (let isBetter = true; isBetter; ) {
    isBetter = false;
    for (const simpler of [withoutTail, withoutSome, withLess, atSimplerTimes])
      while (await improve(simpler(best))) isBetter = true;
  }
  return best;
}

/** What is violated first, without when, how often and on which of several. */
function kindOf({ violations }: Outcome): string | undefined {
  return violations[0]
    ?.replace(/^at [\d.]+ s: /, '')
    .replace(/;.*/s, '')
    .replace(/\d+/g, '#');
}

/** Virtual ms of the violation. */
function failedAtMs({ violations }: Outcome): number {
  return Number(/^at ([\d.]+) s/.exec(violations[0] ?? '')?.[1] ?? Number.POSITIVE_INFINITY) * 1_000;
}

/** What had not begun when it failed cannot matter. */
function* withoutTail({ drawn, result }: Failing<Outcome>): Iterable<readonly DrawnFault[]> {
  const before = drawn.filter(({ atMs }) => atMs <= failedAtMs(result));
  if (before.length < drawn.length) yield before;
}

/** Leaves out halves, quarters and so on, down to each fault. */
function* withoutSome({ drawn }: Failing<Outcome>): Iterable<readonly DrawnFault[]> {
  for (let size = Math.ceil(drawn.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2))
    for (let from = 0; from < drawn.length; from += size)
      yield drawn.filter((_, index) => index < from || index >= from + size);
}

/** Has a fault end at once or earlier, or happen fewer times. */
function* withLess({ drawn }: Failing<Outcome>): Iterable<readonly DrawnFault[]> {
  for (const [index, one] of drawn.entries()) {
    for (const times of [1, 2, Math.floor(one.times / 2), one.times - 1])
      if (times >= 1 && times < one.times) yield drawn.with(index, { ...one, times });
    for (const lastsMs of [0, 1_000, 10_000, 30_000, 60_000])
      if (lastsMs < one.lastsMs) yield drawn.with(index, { ...one, lastsMs });
  }
}

/**
 * Moves a fault to a rounder time: a whole minute before a whole second, and the earliest minute in which the node is
 * moored before the others.
 */
function* atSimplerTimes({ drawn }: Failing<Outcome>): Iterable<readonly DrawnFault[]> {
  for (const [index, one] of drawn.entries()) {
    for (const atMs of [60_000, 0, ...[60_000, 10_000, 1_000, 100].map((unit) => rounded(one.atMs, unit))]) {
      if (rank(atMs) >= rank(one.atMs)) continue;
      yield drawn.with(index, { ...one, atMs }).sort((left, right) => left.atMs - right.atMs);
    }
  }
}

const rounded = (atMs: number, unit: number) => Math.floor(atMs / unit) * unit;

/** Less is simpler. It only ever goes down, so that moving ends. */
function rank(atMs: number): number {
  if (atMs === 60_000) return 0;
  if (atMs === 0) return 1;
  const unit = [60_000, 10_000, 1_000, 100].findIndex((one) => atMs % one === 0);
  return 2 + (unit < 0 ? 4 : unit);
}

/** A schedule in lines that a person understands. */
export function describeSchedule(drawn: readonly DrawnFault[]): readonly string[] {
  const seconds = (ms: number) => `${ms / 1_000} s`;
  return drawn.map(({ atMs, lastsMs, times, fault }) => {
    const often = times === 1 ? '' : `, ${times} times, ${seconds(fault.repeats?.everyMs ?? 0)} apart`;
    const until = fault.ends === 'later' ? `, until ${seconds(atMs + lastsMs)}` : '';
    return `at ${seconds(atMs)}: ${fault.name}${until}${often}`;
  });
}

/** Everything that a person needs of a seed that fails. */
export async function tellFailure(seed: number): Promise<string> {
  const whole = await runSchedule(seed);
  const { drawn, result } = await shortened(whole.drawn, (fewer) => runSchedule(seed, undefined, fewer));
  return [
    `seed ${seed} fails: ${whole.violations.join('; ')}`,
    `the shortest schedule that was found (${drawn.length} of ${whole.drawn.length} faults): ${result.violations.join('; ')}`,
    ...describeSchedule(drawn).map((line) => `  ${line}`),
    'what happens then:',
    ...result.trail.map((line) => `  ${line}`),
    `the whole schedule: make sim SEED=${seed}`,
  ].join('\n');
}
