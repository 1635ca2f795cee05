/**
 * Follows one Service: a list, then a watch from there, again and again.
 *
 * Always true here: one question at a time; a watch ends within minutes, so that one whose connection is dead without a sign is
 * noticed; a watch that ends early, or is cut, or whose past the server has forgotten (410), begins anew with a list after a pause;
 * all pauses are drawn at random and grow with failures, so that a fleet does not knock at once when an outage is over.
 */
import type { ClusterApi } from './api.ts';
import { listService, type ServiceAnswer, watchService } from './services.ts';

export interface FollowOptions {
  readonly api: Pick<ClusterApi, 'get' | 'watch'>;
  /** `namespace/name`. */
  readonly service: string;
  /** Before the first list, ms. */
  readonly delayMs: number;
  /** Monotonic ms. */
  readonly now: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** Resolves after `ms`, and at once when `signal` is aborted. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
  /** Takes each answer; returns whether it differs from the one before. */
  readonly told: (answer: ServiceAnswer) => boolean;
  /** Still so, as of now. */
  readonly confirmed: () => void;
  /** A list failed. */
  readonly failed: (error: unknown) => void;
  /** A watch failed; a list follows. */
  readonly cut: (error: unknown) => void;
}

/** A connection that nobody ends may be dead without a sign for this long at most; apiservers let a watch last longer. */
const watchMs = 240_000;
/** A watch that ends by itself before this was not meant to. */
const shortWatchMs = 30_000;
/** Between two changes, lest somebody who changes a Service without end keeps the node busy. */
const calmAfterChangeMs = 1_000;
const firstFailurePauseMs = 1_000;
const longestFailurePauseMs = 60_000;

/** Runs until `signal` is aborted. Never rejects. */
export async function followService(options: FollowOptions): Promise<void> {
  const { api, service, now, random, pause, signal } = options;
  let failures = 0;
  await pause(options.delayMs, signal);
  while (!signal.aborted) {
    const begunMs = now();
    try {
      const answer = await listService(api, service, signal);
      if (signal.aborted) return;
      options.told(answer);
      await keepWatching(options, answer.resourceVersion);
    } catch (error) {
      if (signal.aborted) return;
      options.failed(error);
    }
    failures = now() - begunMs < shortWatchMs ? failures + 1 : 0;
    const longestMs = Math.min(longestFailurePauseMs, firstFailurePauseMs * 2 ** Math.max(0, failures - 1));
    await pause(longestMs * (0.5 + 0.5 * random()), signal);
  }
}

/** One watch after the other, while they end in order. Never rejects: what a watch does not hear, the next list tells. */
async function keepWatching(options: FollowOptions, from: string): Promise<void> {
  const { api, service, now, random, pause, signal } = options;
  let resourceVersion = from;
  while (!signal.aborted) {
    const begunMs = now();
    const lastsMs = watchMs * (0.75 + 0.25 * random());
    const change = new AbortController();
    const ending = AbortSignal.any([signal, change.signal]);
    try {
      await watchService(api, service, { resourceVersion, lastsMs, signal: ending }, (event) => {
        if (ending.aborted) return;
        resourceVersion = event.resourceVersion;
        if (!('ports' in event)) options.confirmed();
        else if (options.told(event)) change.abort();
      });
      if (now() - begunMs < shortWatchMs && !change.signal.aborted) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!change.signal.aborted) return options.cut(error);
    }
    if (change.signal.aborted) await pause(calmAfterChangeMs, signal);
  }
}
