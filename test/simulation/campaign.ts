/**
 * Many schedules, spread over threads. A seed gives the same run in whatever thread and order, so the lowest seed that
 * fails is the same on every machine.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { runSchedule } from './schedule.ts';

/** The schedules from seed `first` on. */
export interface Campaign {
  readonly first: number;
  readonly count: number;
}

/** What came of them. */
export interface Report {
  /** The lowest seed whose schedule fails; what was found of higher ones is left out then. */
  readonly failedSeed: number | undefined;
  /** Virtual ms from the end of the last fault until everything was true, of each schedule. */
  readonly recoveriesMs: readonly number[];
  /** Virtual ms that all nodes together lived. */
  readonly livedMs: number;
  readonly faults: number;
}

/** Every `step`th schedule from `offset` on, and where threads tell each other the lowest seed that failed. */
export interface Share {
  readonly campaign: Campaign;
  readonly offset: number;
  readonly step: number;
  readonly lowestFailed: Int32Array;
}

const none = 0x7fff_ffff;

/** Runs a share; stops beyond a seed that failed, here or in another thread. */
export async function runShare({ campaign, offset, step, lowestFailed }: Share): Promise<Report> {
  const recoveriesMs: number[] = [];
  let livedMs = 0;
  let faults = 0;
  const end = campaign.first + campaign.count;
  for (let seed = campaign.first + offset; seed < end; seed += step) {
    if (seed > Atomics.load(lowestFailed, 0)) break;
    const result = await runSchedule(seed);
    livedMs += result.livedMs;
    faults += result.drawn.length;
    if (result.recoveredAfterMs !== undefined) recoveriesMs.push(result.recoveredAfterMs);
    if (result.violations.length === 0) continue;
    noteFailed(lowestFailed, seed);
    break;
  }
  const lowest = Atomics.load(lowestFailed, 0);
  return { failedSeed: lowest === none ? undefined : lowest, recoveriesMs, livedMs, faults };
}

function noteFailed(lowestFailed: Int32Array, seed: number): void {
  for (;;) {
    const known = Atomics.load(lowestFailed, 0);
    if (seed >= known || Atomics.compareExchange(lowestFailed, 0, known, seed) === known) return;
  }
}

/** Runs all, in as many threads as there are cores unless told. */
export async function runCampaign(campaign: Campaign, threads = availableParallelism()): Promise<Report> {
  const lowestFailed = new Int32Array(new SharedArrayBuffer(4)).fill(none);
  const step = Math.max(1, Math.min(threads, campaign.count));
  const shares = Array.from({ length: step }, (_, offset) => ({ campaign, offset, step, lowestFailed }));
  const reports = await Promise.all(shares.map(inThread));
  const failed = Atomics.load(lowestFailed, 0);
  return {
    failedSeed: failed === none ? undefined : failed,
    recoveriesMs: reports.flatMap((report) => report.recoveriesMs).sort((left, right) => left - right),
    livedMs: reports.reduce((sum, report) => sum + report.livedMs, 0),
    faults: reports.reduce((sum, report) => sum + report.faults, 0),
  };
}

function inThread(share: Share): Promise<Report> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL('./campaign-worker.ts', import.meta.url), { workerData: share });
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', () => reject(new Error('a thread of the simulation ended without an answer')));
  });
}
