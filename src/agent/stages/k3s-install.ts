/**
 * The part of stage `k3s` that looks after the binary and the images that the config pins. What is installed runs on until the
 * pinned one is in place; only a node without any k3s has to wait for it.
 */
import type { InstallReading, PinnedFile } from '../../systems/k3s/types.ts';
import { type Action, actionKey } from '../actions.ts';
import { type Attempt, mayTry } from '../attempts.ts';
import type { Finding } from '../conditions.ts';
import { type Memory, without } from '../memory.ts';
import { earliest, isFalse, isTrue, isUnknown, type StageInput, type StageResult } from './stage.ts';

export interface InstallStep extends StageResult {
  /** About K3sInstalled: there is a k3s to run. */
  readonly installed: Finding;
  /** About K3sUpToDate: it is the pinned one. */
  readonly upToDate: Finding;
  /** Why a k3s that does not run is not started yet. */
  readonly waits: string | undefined;
}

/** How often the status tells how far a download is. */
const progressMs = 5_000;
/** A line that fails is tried again within this time: nobody tells when it is back. */
const lineRetryMs = 120_000;
/** Failures after which the same is to be expected from the next try. */
const lasting = ['wrong-hash', 'too-large', 'not-found', 'refused', 'redirects', 'encoded'];
const cannotWrite = [
  'disk-full',
  'read-only-filesystem',
  'permission-denied',
  'no-such-folder',
  'not-a-file',
  'write-failed',
];

export function installStep(input: StageInput): InstallStep {
  const { install, k3s } = input.world;
  const path = input.config.k3s.binary;
  const isThere = isTrue('Installed', `${path} is there`);
  const none = { actions: [], memory: input.memory, wakeAtMs: undefined, waits: undefined };
  switch (install.kind) {
    case 'off': {
      const advice = `there is no executable ${path}; put the k3s binary there (mode 0755), or set k3s.install`;
      const installed = k3s.binary === undefined ? isFalse('BinaryMissing', advice) : isThere;
      return { ...none, installed, upToDate: isTrue('NotPinned', 'k3s.install pins no version') };
    }
    case 'no-hash': {
      const message = `the config has no hash of k3s ${install.version} for this machine: add ${install.key}`;
      const finding = isFalse('HashMissing', message);
      return { ...none, installed: k3s.binary === undefined ? finding : isThere, upToDate: finding };
    }
    case 'pinned':
      return pinned(input, install, isThere);
    default:
      return install satisfies never;
  }
}

type Pinned = Extract<InstallReading, { kind: 'pinned' }>;

function pinned(input: StageInput, { version, files }: Pinned, isThere: Finding): InstallStep {
  const { now, world } = input;
  const open = files.filter((file) => file.state !== 'in-place');
  const fetchOf = (file: PinnedFile): Action => ({
    do: 'k3s.fetch',
    file: file.name,
    version,
    sha256: file.sha256,
  });
  const memory = noteFailures(
    input,
    open.map((file) => ({ file, key: actionKey(fetchOf(file)) })),
  );
  const attemptOf = (file: PinnedFile) => memory.attempts[actionKey(fetchOf(file))];
  const isFetching = open.some((file) => file.work?.kind === 'fetching');
  const wanting = open.filter((file) => file.state !== 'checking');
  const next = isFetching ? undefined : wanting.find((file) => mayTry(attemptOf(file), now.monoMs));
  const dueMs = isFetching ? [] : wanting.map((file) => attemptOf(file)?.notBeforeMs);
  const findings = open.map((file) => ({ file, finding: findingOf(input, version, file, attemptOf(file)) }));
  const binary = findings.find(({ file }) => file.name === 'binary')?.finding;
  const missing = binary ?? isFalse('BinaryMissing', `there is no executable ${input.config.k3s.binary}`);
  // Of two, the one that something is done about.
  const told = findings.find(({ file }) => file.work !== undefined) ?? findings[0];
  return {
    actions: next === undefined ? [] : [fetchOf(next)],
    memory,
    wakeAtMs: earliest(
      isFetching ? now.monoMs + progressMs : undefined,
      ...dueMs.filter((ms) => ms !== undefined && ms > now.monoMs),
    ),
    installed: world.k3s.binary === undefined ? missing : isThere,
    upToDate: told?.finding ?? isTrue('InPlace', `k3s ${version} is in place, its SHA-256 checked`),
    waits: whyWait(open, attemptOf),
  };
}

/** The hash of what is there is computed in no time. Images are waited for as long as nothing has gone wrong with them. */
function whyWait(
  open: readonly PinnedFile[],
  attemptOf: (file: PinnedFile) => Attempt | undefined,
): string | undefined {
  if (open.some((file) => file.name === 'binary' && file.state === 'checking')) return 'k3s is being checked';
  const images = open.find((file) => file.name === 'images');
  if (images === undefined || attemptOf(images)?.error !== undefined) return undefined;
  return 'k3s is started once its images are in place';
}

function findingOf(
  input: StageInput,
  version: string,
  { name, path, state, work }: PinnedFile,
  attempt: Attempt | undefined,
): Finding {
  const what = name === 'binary' ? `k3s ${version}` : `the images of k3s ${version}`;
  if (work?.kind === 'fetching')
    return isFalse('Downloading', `${what} is being downloaded${progressOf(work.bytes, work.totalBytes)}`);
  if (state === 'checking') return isUnknown('Checking', `${path} is being checked`);
  if (attempt?.error === undefined) return isFalse('Downloading', `${what} is about to be downloaded`);
  const { code = 'fault', error } = attempt;
  const { monoMs, wallMs } = input.now;
  const when = new Date(Math.ceil((wallMs + attempt.notBeforeMs - monoMs) / 1_000) * 1_000).toISOString();
  const message = `${error}; next try at ${when}`;
  if (code === 'wrong-hash') return isFalse('WrongHash', message);
  return cannotWrite.includes(code) ? isFalse('NotWritable', message) : isFalse('DownloadFailed', message);
}

function progressOf(bytes: number, totalBytes: number | undefined): string {
  const megabytes = (bytes / 1e6).toFixed(1);
  if (totalBytes === undefined || totalBytes === 0) return `: ${megabytes} MB so far`;
  return `: ${Math.floor((100 * bytes) / totalBytes)} % (${megabytes} of ${(totalBytes / 1e6).toFixed(1)} MB)`;
}

/** Notes how the newest tries ended, once each, and forgets what is about other files. */
function noteFailures(
  { memory, now }: StageInput,
  open: readonly { readonly file: PinnedFile; readonly key: string }[],
): Memory {
  const stale = Object.keys(memory.attempts).filter(
    (key) => key.startsWith('k3s.fetch:') && !open.some((one) => one.key === key),
  );
  let attempts = stale.length === 0 ? memory.attempts : without(memory.attempts, ...stale);
  for (const { file, key } of open) {
    const attempt = attempts[key];
    if (file.work?.kind !== 'failed' || attempt === undefined || attempt.error !== undefined) continue;
    const { code, message, gained, retryAfterMs = 0 } = file.work;
    const isLasting = lasting.includes(code);
    const drawnMs = attempt.notBeforeMs - attempt.lastMs;
    const waitMs = Math.max(isLasting ? drawnMs : Math.min(drawnMs, lineRetryMs), retryAfterMs);
    // A line that brings more each time is not one to be given up.
    const count = gained && !isLasting ? 1 : attempt.count;
    const failed = { ...attempt, count, error: message, code, notBeforeMs: now.monoMs + waitMs };
    attempts = { ...attempts, [key]: failed };
  }
  return attempts === memory.attempts ? memory : { ...memory, attempts };
}
