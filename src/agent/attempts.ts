/**
 * Attempts at one thing, with exponential backoff and full jitter between them. An attempt that "succeeds" without
 * the world following counts like a failure: only the stage, seeing the wanted state, clears the record.
 */

/** What is remembered of the attempts under one key. */
export interface Attempt {
  readonly count: number;
  /** Monotonic ms before which it is not tried again. */
  readonly notBeforeMs: number;
  /** Monotonic ms of the newest attempt. */
  readonly lastMs: number;
  /** Why the newest attempt failed; undefined while it runs or when it reported success. */
  readonly error: string | undefined;
  /** The code of that failure, as adapters name it. */
  readonly code?: string;
}

/** How long to wait after the nth attempt. */
export interface BackoffPolicy {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** Full jitter over an exponentially growing ceiling, never less than half of `firstMs`. `random` is in [0, 1). */
export function backoffMs(count: number, policy: BackoffPolicy, random: number): number {
  const ceiling = Math.min(policy.maxMs, policy.firstMs * 2 ** Math.min(count - 1, 30));
  return Math.round(policy.firstMs / 2 + random * (ceiling - policy.firstMs / 2));
}

/** The record after one more attempt begun at `nowMs`. */
export function attemptBegun(
  previous: Attempt | undefined,
  nowMs: number,
  policy: BackoffPolicy,
  random: number,
): Attempt {
  const count = (previous?.count ?? 0) + 1;
  return {
    count,
    lastMs: nowMs,
    notBeforeMs: nowMs + backoffMs(count, policy, random),
    error: previous?.error,
  };
}

/** Whether the key may be tried at `nowMs`. */
export function mayTry(attempt: Attempt | undefined, nowMs: number): boolean {
  return attempt === undefined || nowMs >= attempt.notBeforeMs;
}
