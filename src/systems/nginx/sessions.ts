/**
 * Counts the ingress' sessions: nginx, which has no counters at layer 4, appends a line for each that ended to a file in /run;
 * it is read when somebody asks, or when it has grown, and emptied in the same step. How many are open is asked of the kernel.
 *
 * Always true here: what stands in the file has not been counted yet, so nothing has to be remembered of it, whenever mooring
 * is stopped or killed; lines that come while it is away wait there. Between the last read and the emptying lie some
 * microseconds without a pause: a line that came just then would be lost. nginx never waits for any of this.
 */
import { fstatSync, ftruncateSync, readSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { codeOf, messageOf } from '../error.ts';
import { readFileText } from '../files/atomic.ts';
import { loadJson, saveJson } from '../files/json-file.ts';
import type { Log } from '../log.ts';
import { type Listener, listenersIn } from './listeners.ts';
import { openSessions } from './open-sessions.ts';
import { figuresOf, type ListenerCount, newCount, settleEnded, settleOpen } from './session-counts.ts';
import { countSessions, maxLineBytes } from './session-lines.ts';
import type { ListenerFigures, SessionCounts } from './types.ts';

/** Where everything is; the defaults are the package's. */
export interface SessionsOptions {
  readonly log: Log;
  /** CLOCK_MONOTONIC, ms. */
  readonly now: () => number;
  readonly logPath?: string;
  readonly configPath?: string;
  /** Keeps which connections were counted and have not ended, for mooring's next run. */
  readonly keptPath?: string;
  readonly ss?: readonly [string, ...string[]];
  readonly socketsDeadlineMs?: number;
  readonly lookEveryMs?: number;
}

/** A sixteenth of what the unit lets the file grow to (LimitFSIZE=). */
const readFromBytes = 1024 * 1024;
/** Some 60,000 sessions a second would fill the rest of the file in this time. */
const lookEveryMs = 5_000;
/** So that several who ask at once cost one look; on a busy node one takes some ten milliseconds of a processor. */
const openFreshMs = 2_000;
/** After a look that failed, so that nobody who asks waits for the next one to fail as well. */
const openPauseMs = 15_000;
const chunkBytes = 256 * 1024;
const maxConfigBytes = 4 * 1024 * 1024;
/** Names and addresses that are remembered once the config does not have them any more. */
const maxListeners = 256;
const maxPlaces = 128;

export function createSessionCounts(options: SessionsOptions): SessionCounts {
  const { log, now } = options;
  const logPath = options.logPath ?? '/run/mooring-ingress/sessions.log';
  const configPath = options.configPath ?? '/var/lib/mooring/nginx/nginx.conf';
  const keptPath = options.keptPath ?? '/run/mooring/ingress-open.json';
  const query = { command: options.ss ?? ['ss'], deadlineMs: options.socketsDeadlineMs ?? 1_000 } as const;
  const counts = new Map<string, ListenerCount>();
  /** Those of the config, with what their older connections may still be known by. */
  let listeners = new Map<string, Listener>();
  let configSeen = '';
  let kept: Readonly<Record<string, number>> | undefined;
  let discardedLines = 0;
  let openAgainMs = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let newest: readonly ListenerFigures[] = [];
  const told = new Set<string>();

  /** Each trouble once, until it has passed. */
  async function trying(what: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      told.delete(what);
      return true;
    } catch (error) {
      if (!told.has(what))
        log('warning', `the ingress' sessions are not counted: ${what}: ${messageOf(error)}`);
      told.add(what);
      return false;
    }
  }

  async function readListeners(): Promise<void> {
    const found = await stat(configPath).catch(() => undefined);
    const seen = found === undefined ? '' : `${found.ino} ${found.mtimeMs} ${found.size}`;
    if (seen === configSeen) return;
    const config = await readFileText(configPath, maxConfigBytes);
    kept ??= keptIn(await loadJson(keptPath));
    const wanted = config.kind === 'present' ? listenersIn(config.text) : [];
    const former = listeners;
    listeners = new Map();
    for (const listener of wanted) {
      const key = `${listener.name}/${listener.protocol}`;
      if (!counts.has(key) && counts.size >= maxListeners) continue;
      const count = counts.get(key) ?? newCount(listener.name, listener.protocol, kept[key] ?? 0);
      counts.set(key, count);
      listeners.set(key, withFormer(listener, former.get(key), wanted));
      for (const upstream of listener.upstreams)
        if (count.tally.upstreams.size < maxPlaces) count.tally.upstreams.add(upstream);
    }
    for (const [key, count] of counts) if (!listeners.has(key)) count.open = undefined;
    configSeen = seen;
    openAgainMs = Number.NEGATIVE_INFINITY;
  }

  /** Counts what stands in the file and empties it. */
  async function readLog(): Promise<void> {
    let file: FileHandle;
    try {
      file = await open(logPath, 'r+');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      throw error;
    }
    try {
      const tallies = [...counts.values()].map(({ tally }) => tally);
      const buffer = Buffer.allocUnsafe(chunkBytes + maxLineBytes);
      let at = 0;
      let held = 0;
      const take = (bytesRead: number) => {
        at += bytesRead;
        const bytes = buffer.subarray(0, held + bytesRead);
        const { usedBytes, discarded } = countSessions(bytes, tallies);
        discardedLines += discarded;
        const rest = bytes.subarray(usedBytes);
        // What is that long without an end is no line.
        if (rest.length > maxLineBytes) discardedLines += 1;
        held = rest.length > maxLineBytes ? 0 : rest.copy(buffer, 0);
      };
      // However fast it grows: what came until now, then the rest at one go.
      for (let left = (await file.stat()).size; left > chunkBytes; left -= chunkBytes) {
        const { bytesRead } = await file.read(buffer, held, chunkBytes, at);
        if (bytesRead === 0) break;
        take(bytesRead);
      }
      for (;;) {
        const bytesRead = readSync(file.fd, buffer, held, chunkBytes, at);
        if (bytesRead > 0) {
          take(bytesRead);
          continue;
        }
        if (fstatSync(file.fd).size > at) continue;
        if (at > 0) ftruncateSync(file.fd, 0);
        break;
      }
      // The file was full, or nginx was killed: the end of this line never comes.
      if (held > 0) discardedLines += 1;
    } finally {
      await file.close();
    }
    for (const count of counts.values()) settleEnded(count);
  }

  async function readOpen(): Promise<void> {
    if (now() < openAgainMs) return;
    openAgainMs = now() + openPauseMs;
    const open = await openSessions(listeners, query);
    const nowMs = now();
    openAgainMs = nowMs + openFreshMs;
    for (const key of listeners.keys()) {
      const count = counts.get(key);
      if (count !== undefined) settleOpen(count, open.get(key), nowMs);
    }
  }

  async function look(wantsOpen: boolean): Promise<void> {
    const isConfigured = await trying(configPath, readListeners);
    // Lines of listeners that nobody knows would be lost.
    if (!isConfigured || counts.size === 0) return;
    const isRead = await trying(logPath, readLog);
    if (isRead && wantsOpen && listeners.size > 0) {
      const isKnown = await trying('open connections', readOpen);
      if (!isKnown) for (const count of counts.values()) count.open = undefined;
    }
    newest = [...counts.values()].map(figuresOf);
    const unended = Object.fromEntries([...counts].map(([key, count]) => [key, count.unended]));
    await trying(keptPath, async () => {
      await saveJson(keptPath, unended);
    });
  }

  /** One look at a time. */
  let looking: Promise<void> = Promise.resolve();
  const lookNext = (wantsOpen: boolean): Promise<void> => {
    looking = looking.then(() => look(wantsOpen));
    return looking;
  };

  async function shorten(): Promise<void> {
    const size = await stat(logPath).then(
      (found) => found.size,
      () => 0,
    );
    if (size >= readFromBytes) await lookNext(false);
  }

  return {
    start() {
      timer = setInterval(shorten, options.lookEveryMs ?? lookEveryMs);
      timer.unref();
    },
    async read() {
      await lookNext(true);
      return newest;
    },
    get newest() {
      return newest;
    },
    get discardedLines() {
      return discardedLines;
    },
    async close() {
      clearInterval(timer);
      await looking;
    },
  };
}

/** What a former run kept; anything else counts as nothing kept. */
function keptIn(value: unknown): Readonly<Record<string, number>> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter(([, number]) => Number.isSafeInteger(number) && number >= 0),
  );
}

/** Older workers keep connections to what the listener was before; not what has become another's. */
function withFormer(listener: Listener, former: Listener | undefined, all: readonly Listener[]): Listener {
  if (former === undefined) return listener;
  const others = all.filter(({ name, protocol }) => protocol === listener.protocol && name !== listener.name);
  const both = (now: readonly string[], before: readonly string[], taken: ReadonlySet<string>) =>
    [...new Set([...now, ...before.filter((place) => !taken.has(place))])].slice(0, maxPlaces);
  return {
    ...listener,
    listens: both(listener.listens, former.listens, new Set(others.flatMap(({ listens }) => listens))),
    upstreams: both(
      listener.upstreams,
      former.upstreams,
      new Set(others.flatMap(({ upstreams }) => upstreams)),
    ),
  };
}
