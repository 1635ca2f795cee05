/**
 * What the cloud knows about this VM, asked at a calm pace beside the loop.
 *
 * Always true here: `read` answers from memory; the last good answer outlives a restart on disk, and never follows a disk to
 * another instance; a wake-up comes only when the facts differ; the timers keep no process alive.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, SystemError } from '../error.ts';
import { loadJson, saveJson } from '../files/json-file.ts';
import { createHttpClient } from '../http.ts';
import type { Log } from '../log.ts';
import type { Wake } from '../wake.ts';
import { createAws } from './aws.ts';
import { detectCloud } from './dmi.ts';
import { checkFacts } from './facts.ts';
import type { Cloud, CloudFacts, CloudReading } from './types.ts';

/** Where to look and whom to tell. */
export interface CloudOptions {
  /** `auto` asks the firmware first; `aws` asks AWS without it; `none` asks nobody. */
  readonly mode: 'auto' | 'aws' | 'none';
  readonly cacheFile: string;
  readonly wake: Wake;
  readonly log: Log;
  readonly dmiDirectory?: string;
  readonly awsBaseUrls?: readonly string[];
  /** Unix time, ms. */
  readonly now?: () => number;
  /** From 0 to below 1. */
  readonly random?: () => number;
  readonly requestDeadlineMs?: number;
  /** Between two good answers. */
  readonly calmMs?: number;
  /** After the first failure; doubled with each further one up to `calmMs`. */
  readonly retryMs?: number;
}

/** Asks between `start` and `close`. */
export interface CloudWatch extends Cloud {
  /** Looks at the firmware and the disk, and asks nobody. Returns whether there is somebody to ask. */
  look(): Promise<boolean>;
  /** As `look`, then begins to ask. Resolves before the first answer. */
  start(): Promise<void>;
  /** Ends what is under way and waits for it. */
  close(): Promise<void>;
}

/** Not started yet; reads as `none` until then. */
export function createCloud(options: CloudOptions): CloudWatch {
  const { wake, log, cacheFile } = options;
  const now = options.now ?? Date.now;
  const random = options.random ?? Math.random;
  const calmMs = options.calmMs ?? 300_000;
  const retryMs = options.retryMs ?? 2000;
  const http = createHttpClient();
  const ending = new AbortController();
  const askAws = createAws({
    http,
    baseUrls: options.awsBaseUrls ?? ['http://169.254.169.254', 'http://[fd00:ec2::254]'],
    deadlineMs: options.requestDeadlineMs ?? 1500,
    pause: (attempt) => pause((retryMs / 8) * 2 ** attempt * (0.5 + random())),
    onInstanceId: dropForeignFacts,
  });
  let reading: CloudReading = { kind: 'none' };
  let asking: Promise<void> = Promise.resolve();
  let answeredAtMs: number | undefined;
  let lastError: string | undefined;

  /** Does not keep the process alive, and ends early with `close`. */
  async function pause(delayMs: number): Promise<void> {
    await sleep(delayMs, undefined, { ref: false, signal: ending.signal }).catch(() => undefined);
  }

  function tell(next: CloudReading): void {
    const factsOf = (of: CloudReading) => (of.kind === 'known' ? JSON.stringify(of.facts) : undefined);
    const changed = factsOf(reading) !== factsOf(next);
    reading = next;
    if (changed) wake('cloud: the facts changed');
  }

  /** The kept answer, unless the firmware says that the disk has moved to another instance. */
  async function loadKept(instanceId: string | undefined): Promise<CloudFacts | undefined> {
    const checked = checkFacts(await loadJson(cacheFile));
    if (checked.kind === 'invalid') return undefined;
    return instanceId === undefined || checked.facts.instanceId === instanceId ? checked.facts : undefined;
  }

  /** Facts of another instance, from a disk that was copied, are worse than none. */
  async function dropForeignFacts(instanceId: string): Promise<void> {
    if (reading.kind !== 'known' || reading.facts.instanceId === instanceId) return;
    log('warning', `cloud: this is another instance than ${reading.facts.instanceId}; its facts are dropped`);
    tell({
      kind: 'unavailable',
      provider: 'aws',
      error: 'the metadata service has not answered in full yet',
    });
    await keep(undefined);
  }

  async function keep(facts: CloudFacts | undefined): Promise<void> {
    try {
      await saveJson(cacheFile, facts ?? null, 0o644);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      log('warning', `cloud: cannot keep the answer: ${error.message}`);
    }
  }

  function fail(error: SystemError): void {
    const isNews = error.message !== lastError;
    lastError = error.message;
    if (reading.kind === 'known') {
      const since =
        answeredAtMs === undefined ? 'an earlier run of mooring' : new Date(answeredAtMs).toISOString();
      tell({ ...reading, stale: `${error.message}; the facts are from ${since}` });
    } else {
      tell({ kind: 'unavailable', provider: 'aws', error: error.message });
    }
    if (isNews) log('warning', `cloud: ${error.message}`);
  }

  /** Asks once and returns whether there was a good answer. */
  async function askOnce(): Promise<boolean> {
    try {
      const facts = await askAws();
      answeredAtMs = now();
      if (lastError !== undefined) log('info', 'cloud: the metadata service answers');
      lastError = undefined;
      await keep(facts);
      tell({ kind: 'known', facts, stale: undefined });
      return true;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (!ending.signal.aborted) fail(error);
      return false;
    }
  }

  async function keepAsking(): Promise<void> {
    let failures = 0;
    while (!ending.signal.aborted) {
      failures = (await askOnce()) ? 0 : failures + 1;
      const delayMs = failures === 0 ? calmMs : Math.min(calmMs, retryMs * 2 ** (failures - 1));
      // Full jitter over the upper half, so that a fleet booted at once spreads out.
      await pause(delayMs * (0.5 + random() / 2));
    }
  }

  async function look(): Promise<boolean> {
    if (options.mode === 'none') return false;
    const detected = await detectCloud(options.dmiDirectory);
    if (detected.provider === 'none' && options.mode === 'auto') return false;
    const kept = await loadKept(detected.provider === 'aws' ? detected.instanceId : undefined);
    reading =
      kept === undefined
        ? { kind: 'unavailable', provider: 'aws', error: 'the metadata service has not answered yet' }
        : { kind: 'known', facts: kept, stale: 'kept from an earlier run; not confirmed yet' };
    return true;
  }

  return {
    read: () => reading,
    look,
    async start() {
      if (!(await look())) return;
      asking = keepAsking().catch((error: unknown) => {
        log('error', `cloud: stopped asking: ${messageOf(error)}`);
      });
    },
    async close() {
      ending.abort();
      await http.close();
      await asking;
    },
  };
}
