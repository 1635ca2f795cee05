/**
 * How often to look while something is not as it should be and no edge may tell of its end: ZeroTier announces nothing, so
 * what changes in its API alone is seen by looking. Eager at first, since most troubles are over within seconds.
 */

/** While the trouble is young: what a person who waits for the node would call at once. */
const eagerMs = 1_000;
/** What has lasted this many times as long as the pause since the last look need not be known sooner. */
const share = 60;
/** However long it lasts: the kernel's edges come at once all the same. */
const patientMs = 5_000;

/** Monotonic ms of the next look: each second for a minute, then more and more seldom, down to every five seconds. */
export function nextLookMs(sinceMs: number, nowMs: number): number {
  return nowMs + Math.round(Math.min(patientMs, Math.max(eagerMs, (nowMs - sinceMs) / share)));
}
