/**
 * The cluster's nodes, kept known beside the loop: a list now and then, and single nodes when the brain doubts them.
 *
 * Why no watch of the API: every kubelet renews its Node's status at least each five minutes, so that one watch over 1,000 nodes
 * is 3.3 events of some 12 KB a second, day and night, and 1,000 watchers cost the home server 40 MB a second. A list
 * each half hour is 12 MB (2 MB compressed) for each node in the same fleet: 6.7 MB a second, 1 compressed, and nothing ticks in
 * between. What must be known at once is seldom, and small: whether a node whose route is gone is still in the cluster,
 * which is one object of 12 KB.
 *
 * Always true here: one round at a time; all pauses are drawn at random, the first one over a tenth of `refreshMs`, so that
 * nodes which started together do not ask together; failures are repeated more and more seldom; an API that is away takes
 * nothing back that was known, one that refuses does.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, SystemError } from '../error.ts';
import type { Log } from '../log.ts';
import type { Wake } from '../wake.ts';
import type { ClusterApi } from './api.ts';
import { getNode, listNodes } from './nodes.ts';
import type { ClusterAim, ClusterProbe, ClusterReading, ClusterTrouble } from './types.ts';

export interface ClusterWatchOptions {
  readonly api: Omit<ClusterApi, 'watch'>;
  /** Between two lists, before jitter. */
  readonly refreshMs: number;
  /** Monotonic ms. */
  readonly now: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly wake: Wake;
  readonly log: Log;
  /** Replaced by tests. Resolves after `ms`, and at once when `signal` is aborted. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Asks between `start` and `close`, while it is wanted. */
export interface ClusterWatch extends ClusterProbe {
  start(): void;
  /** Ends what is under way and waits for it. */
  close(): Promise<void>;
}

/** A node that leaves is doubted by all others at the same moment. */
const doubtSpreadMs = 3_000;
/** Up to so many doubted nodes are asked for one by one; beyond that a list is cheaper than the connections. */
const maxSingles = 8;
const firstFailurePauseMs = 10_000;
const longestFailurePauseMs = 300_000;
const longMs = 2 ** 31 - 1;

/** Not started yet, and wanted by nobody. */
export function createClusterWatch(options: ClusterWatchOptions): ClusterWatch {
  const { api, refreshMs, now, random, wake, log, pause = realPause } = options;
  const ending = new AbortController();
  let reading: ClusterReading = { kind: 'unasked' };
  let aim: ClusterAim = { wanted: false, doubted: [] };
  /** Aborted when the aim changes, so that the pause is reckoned anew. */
  let turned = new AbortController();
  let listDueMs = Number.POSITIVE_INFINITY;
  let doubtDueMs = 0;
  let failures = 0;
  let asking: Promise<void> = Promise.resolve();

  const jittered = (ms: number) => ms * (0.8 + 0.4 * random());

  function pauseMs(): number {
    if (!aim.wanted) return longMs;
    const dueMs = aim.doubted.length > 0 ? Math.min(listDueMs, doubtDueMs) : listDueMs;
    return Math.min(longMs, Math.max(0, dueMs - now()));
  }

  async function ask(doubted: readonly string[]): Promise<ClusterReading> {
    const atMs = now();
    const own = await api.nodeName();
    if (reading.kind !== 'nodes' || doubted.length === 0)
      return { kind: 'nodes', own, nodes: await listNodes(api, atMs) };
    const others = reading.nodes.filter(({ name }) => !doubted.includes(name));
    const found = [];
    for (const name of doubted) found.push((await getNode(api, name, atMs)) ?? []);
    return { kind: 'nodes', own, nodes: [...others, ...found.flat()] };
  }

  /** A list, or the doubted nodes alone. */
  async function round(): Promise<void> {
    const isList = listDueMs <= now() || reading.kind !== 'nodes' || aim.doubted.length > maxSingles;
    try {
      const next = await ask(isList ? [] : aim.doubted);
      if (ending.signal.aborted) return;
      reading = next;
      failures = 0;
      if (isList) listDueMs = now() + jittered(refreshMs);
      // Asked for again only if the brain, which is told now, still doubts them then.
      doubtDueMs = now() + jittered(doubtSpreadMs);
    } catch (error) {
      if (ending.signal.aborted) return;
      failed(error);
    }
    wake(`cluster: ${reading.kind}`);
  }

  function failed(error: unknown): void {
    if (!(error instanceof SystemError))
      log('error', `cluster: a question failed, which is a fault in mooring: ${messageOf(error)}`);
    const reason = reasonOf(error);
    if (reason !== 'away' || reading.kind !== 'nodes')
      reading = { kind: 'unknown', reason, error: messageOf(error) };
    const failurePauseMs = Math.min(refreshMs, longestFailurePauseMs, firstFailurePauseMs * 2 ** failures);
    failures += 1;
    const againMs = now() + jittered(failurePauseMs);
    listDueMs = reading.kind === 'nodes' ? Math.max(againMs, listDueMs) : againMs;
    doubtDueMs = againMs;
  }

  async function keepAsking(): Promise<void> {
    while (!ending.signal.aborted) {
      turned = new AbortController();
      const signal = AbortSignal.any([ending.signal, turned.signal]);
      await pause(pauseMs(), signal);
      if (!signal.aborted && isDue()) await round();
    }
  }

  function isDue(): boolean {
    return aim.wanted && pauseMs() === 0;
  }

  return {
    read: () => reading,
    aim(next) {
      const before = aim;
      aim = next;
      const isDoubted = next.doubted.length > 0;
      if (isDoubted === before.doubted.length > 0 && next.wanted === before.wanted) return;
      // Another run of k3s: what failed before says nothing of it.
      if (next.wanted && !before.wanted && (failures > 0 || reading.kind === 'unasked')) {
        failures = 0;
        listDueMs = now() + random() * (refreshMs / 10);
      }
      if (failures === 0) doubtDueMs = now() + random() * doubtSpreadMs;
      turned.abort();
    },
    start() {
      asking = keepAsking();
    },
    async close() {
      ending.abort();
      await api.close();
      await asking;
    },
  };
}

function realPause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { ref: false, signal }).catch(() => undefined);
}

/** What a failed question says of the API. */
export function reasonOf(error: unknown): ClusterTrouble {
  switch (error instanceof SystemError ? error.code : undefined) {
    case 'cluster-no-credentials':
      return 'no-credentials';
    case 'cluster-unauthorized':
    case 'cluster-forbidden':
      return 'refused';
    case 'cluster-away':
    case 'cluster-busy':
    case 'cluster-gone':
      return 'away';
    default:
      return 'unusable';
  }
}
