/**
 * Brings the k3s that the config pins, and keeps watch that it is the one in place.
 *
 * Always true here: what is in place changes by one rename, from one whole file to another whole one of the wanted hash; a
 * download runs beside the loop, one at a time, and wakes it at its end alone; what an earlier version left unfinished goes.
 */
import { chmod, mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DownloadError } from '../download/answer.ts';
import { download } from '../download/download.ts';
import { messageOf, SystemError } from '../error.ts';
import { syncFolder, writeError } from '../files/atomic.ts';
import { loadJson, saveJson } from '../files/json-file.ts';
import type { Log } from '../log.ts';
import type { Wake } from '../wake.ts';
import { createFileHashes } from './file-hashes.ts';
import type { InstallReading, K3sInstall, PinnedFile, PinnedWork } from './types.ts';

/** Where a file comes from and where it goes. */
export interface PinnedOrigin {
  readonly name: PinnedFile['name'];
  readonly path: string;
  readonly url: string;
  readonly sha256: string;
  readonly mode: number;
  readonly maxBytes: number;
}

export type InstallPlan =
  | Exclude<InstallReading, { kind: 'pinned' }>
  | { readonly kind: 'pinned'; readonly version: string; readonly files: readonly PinnedOrigin[] };

export interface K3sInstallOptions {
  readonly plan: InstallPlan;
  /** Folder for what outlives a restart of mooring. */
  readonly stateDirectory: string;
  readonly stallMs: number;
  readonly wake: Wake;
  readonly log: Log;
  /** Certificates to trust, in PEM; this host's where absent. */
  readonly caFile?: string;
}

/** To be closed. */
export interface K3sInstallation extends K3sInstall {
  /** Computes what is not known yet, for a single look. */
  look(): Promise<void>;
  /** Ends what is under way and waits for it. Unfinished files stay, except those that the plan after this one has no use for. */
  close(next?: InstallPlan): Promise<void>;
}

/** How often the log tells of progress at most, and after how much of the file. */
const tellEveryMs = 10_000;
const tellEveryShare = 0.1;
const partEnding = '.mooring-part';

export function createK3sInstall(options: K3sInstallOptions): K3sInstallation {
  const { plan, stateDirectory, wake, log } = options;
  const ending = new AbortController();
  const { signal } = ending;
  const etagFile = join(stateDirectory, 'k3s-part.json');
  const hashes = createFileHashes({
    recordFile: join(stateDirectory, 'k3s-files.json'),
    log,
    computed: () => wake('k3s: a file was checked'),
    signal,
  });
  const works = new Map<PinnedFile['name'], PinnedWork>();
  let fetching: Promise<void> | undefined;

  async function fileOf(origin: PinnedOrigin): Promise<PinnedFile> {
    const { name, path, sha256 } = origin;
    const work = works.get(name);
    // What a download has just put in place is known to it.
    const found = await hashes.stateOf(path, work?.kind !== 'fetching');
    const file = { name, path, sha256, work };
    switch (found.kind) {
      case 'absent':
        return { ...file, state: 'missing' };
      case 'computing':
        return { ...file, state: 'checking' };
      case 'known': {
        const isRight = found.sha256 === sha256 && (found.mode & origin.mode) === origin.mode;
        return { ...file, state: isRight ? 'in-place' : 'other' };
      }
      default:
        return found satisfies never;
    }
  }

  /** The ETag of what stands in the part of this hash. */
  async function keptEtag(sha256: string): Promise<string | undefined> {
    const kept = await loadJson(etagFile);
    const isRecord = typeof kept === 'object' && kept !== null && 'sha256' in kept && 'etag' in kept;
    return isRecord && kept.sha256 === sha256 && typeof kept.etag === 'string' ? kept.etag : undefined;
  }

  async function bring(origin: PinnedOrigin, version: string, progress: Progress): Promise<void> {
    const { path, sha256, mode } = origin;
    const found = await hashes.stateOf(path);
    if (found.kind === 'known' && found.sha256 === sha256) {
      await chmod(path, mode).catch((error: unknown) => Promise.reject(writeError(path, error)));
      await hashes.note(path, sha256);
      return;
    }
    const part = partOf(origin);
    await makeFolder(dirname(path));
    await removeOtherParts(path, part);
    await download({
      ...origin,
      part,
      etag: await keptEtag(sha256),
      keepEtag: async (etag) => {
        await saveJson(etagFile, { sha256, etag });
      },
      stallMs: options.stallMs,
      signal,
      progress,
      ...(options.caFile === undefined ? {} : { caFile: options.caFile }),
    });
    await place(part, path, mode);
    await hashes.note(path, sha256);
    log('info', `k3s: ${path} is the one of ${version} now, its SHA-256 checked`);
  }

  async function run(origin: PinnedOrigin, version: string): Promise<void> {
    const { name } = origin;
    const tell = progressTeller(log, name === 'binary' ? `k3s ${version}` : `the images of k3s ${version}`);
    let first: number | undefined;
    let newest = 0;
    works.set(name, { kind: 'fetching', bytes: 0, totalBytes: undefined });
    try {
      await bring(origin, version, (bytes, totalBytes) => {
        first ??= bytes;
        newest = bytes;
        works.set(name, { kind: 'fetching', bytes, totalBytes });
        tell(bytes, totalBytes);
      });
      works.delete(name);
    } catch (error) {
      if (signal.aborted) return;
      const failure = failureOf(error, origin);
      works.set(name, { kind: 'failed', ...failure, gained: newest > (first ?? 0) });
      log('warning', `k3s: ${failure.message}`);
    }
  }

  return {
    async read() {
      if (plan.kind !== 'pinned') return plan;
      return { ...plan, files: await Promise.all(plan.files.map(fileOf)) };
    },
    fetch(name) {
      const origin = plan.kind === 'pinned' ? plan.files.find((file) => file.name === name) : undefined;
      if (plan.kind !== 'pinned' || origin === undefined || fetching !== undefined || signal.aborted) return;
      fetching = run(origin, plan.version).finally(() => {
        fetching = undefined;
        if (!signal.aborted) wake('k3s: a download ended');
      });
    },
    async look() {
      if (plan.kind !== 'pinned') return;
      await Promise.all(plan.files.map(({ path }) => hashes.stateOf(path)));
      await hashes.settled();
    },
    async close(next) {
      ending.abort();
      await Promise.all([fetching, hashes.settled()]);
      if (next === undefined || plan.kind !== 'pinned') return;
      const kept = next.kind === 'pinned' ? next.files.map(partOf) : [];
      const parts = plan.files.map(partOf).filter((part) => !kept.includes(part));
      await Promise.all(parts.map((part) => unlink(part).catch(() => undefined)));
    },
  };
}

type Progress = (bytes: number, totalBytes: number | undefined) => void;

/** The unfinished file, in the folder of the finished one. Its name tells what it is the beginning of. */
const partOf = ({ path, sha256 }: PinnedOrigin) =>
  join(dirname(path), `.${basename(path)}.${sha256.slice(0, 16)}${partEnding}`);

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw writeError(folder, error);
  }
}

/** What another version left unfinished at the same place. */
async function removeOtherParts(path: string, own: string): Promise<void> {
  const folder = dirname(path);
  const isPart = (name: string) => name.startsWith(`.${basename(path)}.`) && name.endsWith(partEnding);
  for (const name of await readdir(folder).catch(() => []))
    if (isPart(name) && join(folder, name) !== own) await unlink(join(folder, name)).catch(() => undefined);
}

/** Makes the whole part the file, so that also after a power cut one or the other is there. */
async function place(part: string, path: string, mode: number): Promise<void> {
  try {
    const handle = await open(part, 'r+');
    try {
      await handle.chmod(mode);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(part, path);
    await syncFolder(dirname(path));
  } catch (error) {
    throw writeError(path, error);
  }
}

/** What went wrong, with what to do about it. */
function failureOf(error: unknown, { name, path, url }: PinnedOrigin) {
  const code = error instanceof SystemError ? error.code : 'fault';
  const retryAfterMs = error instanceof DownloadError ? error.retryAfterMs : undefined;
  const key = name === 'binary' ? 'k3s.install' : 'k3s.install.images';
  const advice: Readonly<Record<string, string>> = {
    'wrong-hash': `; nothing was replaced. Correct ${key}.sha256, or what ${key}.url leads to`,
    'too-large': `; is ${key}.url right?`,
    'not-found': `; are k3s.install.version and ${key}.url right?`,
    'read-only-filesystem': `; where its folder is not read-only by itself, allow it: systemctl edit mooring.service, [Service] ReadWritePaths=${dirname(path)}, then systemctl restart mooring`,
  };
  const what = error instanceof DownloadError ? `cannot download ${url}: ` : '';
  return { code, retryAfterMs, message: `${what}${messageOf(error)}${advice[code] ?? ''}` };
}

/** Tells the log how far a download is: each tenth, and not too often. */
function progressTeller(log: Log, what: string): Progress {
  let toldAtMs = performance.now();
  let toldBytes = 0;
  return (bytes, totalBytes) => {
    const nowMs = performance.now();
    const isNews = totalBytes === undefined || bytes - toldBytes >= totalBytes * tellEveryShare;
    if (!isNews || nowMs - toldAtMs < tellEveryMs) return;
    toldAtMs = nowMs;
    toldBytes = bytes;
    const megabytes = (count: number) => (count / 1e6).toFixed(1);
    const of = totalBytes === undefined ? '' : ` of ${megabytes(totalBytes)}`;
    log('info', `k3s: ${what}: ${megabytes(bytes)}${of} MB downloaded`);
  };
}
