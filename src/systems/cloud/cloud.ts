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
import { detectCloud } from './dmi.ts';
import { checkFacts, isInstanceId } from './facts.ts';
import type { Provider, Told } from './provider.ts';
import { createProvider } from './providers.ts';
import type { Cloud, CloudFacts, CloudName, CloudReading } from './types.ts';

/** Until the next question where everything but the tags was told. */
const tagsRetryMs = 120_000;

/** Where to look and whom to tell. */
export interface CloudOptions {
  /** `auto` asks the firmware which cloud it is; a name asks that one without it; `none` asks nobody. */
  readonly mode: 'auto' | 'none' | CloudName;
  /** Tags whose key begins with this are wanted; none where undefined. */
  readonly tagPrefix?: string | undefined;
  readonly cacheFile: string;
  readonly wake: Wake;
  readonly log: Log;
  /** Runs the program that asks EC2. */
  readonly awsTagsCommand: readonly [program: string, ...words: string[]];
  readonly dmiDirectory?: string;
  /** In place of the cloud's own. */
  readonly baseUrls?: readonly string[];
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
  const { wake, log, cacheFile, tagPrefix } = options;
  const now = options.now ?? Date.now;
  const random = options.random ?? Math.random;
  const calmMs = options.calmMs ?? 300_000;
  const retryMs = options.retryMs ?? 2000;
  const http = createHttpClient();
  const ending = new AbortController();
  let reading: CloudReading = { kind: 'none' };
  let asking: Promise<void> = Promise.resolve();
  let answeredAtMs: number | undefined;
  let lastError: string | undefined;
  let lastTagsError: string | undefined;

  /** Does not keep the process alive, and ends early with `close`. */
  async function pause(delayMs: number): Promise<void> {
    await sleep(delayMs, undefined, { ref: false, signal: ending.signal }).catch(() => undefined);
  }

  function tell(next: CloudReading): void {
    const factsOf = (of: CloudReading) => (of.kind === 'known' ? JSON.stringify(of.facts) : undefined);
    const hasChanged = factsOf(reading) !== factsOf(next);
    reading = next;
    if (hasChanged) wake('cloud: the facts changed');
  }

  /** The kept answer, unless the firmware says that the disk has moved to another instance. */
  async function loadKept(
    provider: CloudName,
    instanceId: string | undefined,
  ): Promise<CloudFacts | undefined> {
    const checked = checkFacts(await loadJson(cacheFile));
    if (checked.kind === 'invalid' || checked.facts.provider !== provider) return undefined;
    return instanceId === undefined || checked.facts.instanceId === instanceId ? checked.facts : undefined;
  }

  /** Facts of another instance, from a disk that was copied, are worse than none. */
  async function dropForeignFacts(instanceId: string): Promise<void> {
    if (reading.kind !== 'known' || reading.facts.instanceId === instanceId) return;
    const { provider } = reading.facts;
    log('warning', `cloud: this is another instance than ${reading.facts.instanceId}; its facts are dropped`);
    tell({ kind: 'unavailable', provider, error: 'the metadata service has not answered in full yet' });
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

  function fail(provider: CloudName, error: SystemError): void {
    const isNews = error.message !== lastError;
    lastError = error.message;
    if (reading.kind === 'known') {
      const since =
        answeredAtMs === undefined ? 'an earlier run of mooring' : new Date(answeredAtMs).toISOString();
      tell({ ...reading, stale: `${error.message}; the facts are from ${since}` });
    } else {
      tell({ kind: 'unavailable', provider, error: error.message });
    }
    if (isNews) log('warning', `cloud: ${error.message}`);
  }

  /** What was told, judged. Tags that cannot be had just now are those that were known before. */
  async function judge({ tags, ...told }: Told): Promise<CloudFacts> {
    if (typeof told.instanceId === 'string' && isInstanceId(told.instanceId))
      await dropForeignFacts(told.instanceId);
    const formerTags = reading.kind === 'known' ? reading.facts.tags : undefined;
    const known = { told: tags.kind === 'told' ? tags.tags : undefined, unavailable: formerTags };
    const checked = checkFacts({ ...told, tags: tags.kind === 'not-wanted' ? undefined : known[tags.kind] });
    if (checked.kind === 'valid') return checked.facts;
    throw new SystemError(
      'cloud-malformed',
      `the metadata service of ${told.provider} gives no valid ${checked.field}`,
    );
  }

  /** Asks once and returns whether there was a good answer. */
  async function askOnce(name: CloudName, provider: Provider): Promise<boolean> {
    try {
      const told = await provider.ask();
      const facts = await judge(told);
      answeredAtMs = now();
      if (lastError !== undefined) log('info', 'cloud: the metadata service answers');
      lastError = undefined;
      const tagsError = told.tags.kind === 'unavailable' ? told.tags.error : undefined;
      if (tagsError !== undefined && tagsError !== lastTagsError)
        log('warning', `cloud: no tags: ${tagsError}`);
      lastTagsError = tagsError;
      await keep(facts);
      tell({ kind: 'known', facts, stale: undefined, tagsError });
      return true;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (!ending.signal.aborted) fail(name, error);
      return false;
    }
  }

  /** Waits until the next question is due: for a change where the cloud tells of one, and for the time in any case. */
  async function rest(provider: Provider, delayMs: number): Promise<void> {
    const startedMs = performance.now();
    const hasChanged = await provider.waitForChange?.(delayMs).catch((error: unknown) => {
      if (!(error instanceof SystemError)) throw error;
      return false;
    });
    // Not at once even after a change, lest a service that tells of one every time be asked in a circle.
    const leftMs = hasChanged === true ? retryMs : delayMs - (performance.now() - startedMs);
    if (leftMs > 0) await pause(leftMs);
  }

  async function keepAsking(name: CloudName): Promise<void> {
    const provider = createProvider(name, {
      http,
      tagPrefix,
      baseUrls: options.baseUrls,
      deadlineMs: options.requestDeadlineMs ?? 1500,
      pause: (attempt) => pause((retryMs / 8) * 2 ** attempt * (0.5 + random())),
      onInstanceId: dropForeignFacts,
      awsTags: { command: options.awsTagsCommand, environment: process.env, signal: ending.signal, random },
    });
    let failures = 0;
    while (!ending.signal.aborted) {
      failures = (await askOnce(name, provider)) ? 0 : failures + 1;
      const untilAnsweredMs = failures === 0 ? tagsRetryMs : retryMs * 2 ** (failures - 1);
      const isWhole = failures === 0 && lastTagsError === undefined;
      const delayMs = isWhole ? calmMs : Math.min(calmMs, untilAnsweredMs);
      // Full jitter over the upper half, so that a fleet booted at once spreads out.
      const jitteredMs = delayMs * (0.5 + random() / 2);
      await (failures === 0 ? rest(provider, jitteredMs) : pause(jitteredMs));
    }
  }

  async function find(): Promise<CloudName | undefined> {
    if (options.mode === 'none') return undefined;
    const detected = await detectCloud(options.dmiDirectory);
    const name = options.mode === 'auto' ? detected.provider : options.mode;
    if (name === 'none') return undefined;
    const kept = await loadKept(name, detected.provider === name ? detected.instanceId : undefined);
    reading =
      kept === undefined
        ? { kind: 'unavailable', provider: name, error: 'the metadata service has not answered yet' }
        : { kind: 'known', facts: kept, stale: 'kept from an earlier run; not confirmed yet' };
    return name;
  }

  return {
    read: () => reading,
    look: async () => (await find()) !== undefined,
    async start() {
      const name = await find();
      if (name === undefined) return;
      asking = keepAsking(name).catch((error: unknown) => {
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
