/** The draining of `mooring leave --drain`: cordon, then evictions, again and again until the pods have gone. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Drain, Pod } from '../systems/cluster/drain.ts';
import { SystemError } from '../systems/error.ts';

export interface DrainOptions {
  /** Until the last pod has gone. */
  readonly timeoutMs: number;
  /** Between two looks. */
  readonly pauseMs?: number;
  readonly tell: (line: string) => void;
}

/**
 * Returns how many pods have gone. Throws what `drain` throws, except that an API which is away is asked again, and SystemError
 * `drain-timeout` with the pods that are still there.
 */
export async function drainNode(drain: Drain, options: DrainOptions): Promise<number> {
  const { timeoutMs, pauseMs = 2_000, tell } = options;
  const untilMs = performance.now() + timeoutMs;
  const cordon = async () => {
    await drain.cordon();
    return true;
  };
  let isCordoned = false;
  const seen = new Set<string>();
  for (;;) {
    isCordoned ||= (await patiently(cordon, false)) ?? false;
    const left = isCordoned ? await patiently(() => drain.pods(), undefined) : undefined;
    const leaving = left?.filter((pod) => !pod.stays) ?? [];
    if (left !== undefined && leaving.length === 0) return seen.size;
    const blocked: string[] = [];
    for (const pod of leaving) {
      const name = nameOf(pod);
      if (!seen.has(name)) tell(`evicting ${name}`);
      seen.add(name);
      if ((await patiently(() => drain.evict(pod), 'blocked')) === 'blocked') blocked.push(name);
    }
    if (performance.now() + pauseMs > untilMs) {
      const why =
        left === undefined ? 'the API does not answer' : `still here: ${leaving.map(nameOf).join(', ')}`;
      const budget = blocked.length === 0 ? '' : `; held back by a disruption budget: ${blocked.join(', ')}`;
      throw new SystemError(
        'drain-timeout',
        `not drained after ${Math.round(timeoutMs / 1000)} s; ${why}${budget}`,
      );
    }
    await delay(pauseMs);
  }
}

const nameOf = ({ namespace, name }: Pod) => `${namespace}/${name}`;

/** An API that is away is waited for. */
async function patiently<T>(ask: () => Promise<T>, whileAway: T | undefined): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof SystemError && error.code === 'cluster-away') return whileAway;
    throw error;
  }
}
