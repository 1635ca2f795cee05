/**
 * The kernel's interfaces and the news of their changes.
 *
 * Always true here: a line of `ip monitor` only wakes, the truth is read anew; a lost or flooded child means a wake-up too many,
 * never one too few; nothing ticks while nothing happens; memory is bounded whatever the child prints.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { messageOf } from '../error.ts';
import type { Log } from '../log.ts';
import type { Wake } from '../wake.ts';
import { readLinks } from './links.ts';
import { createLineCutter, parseMonitorLine } from './monitor-line.ts';
import type { Netlink } from './types.ts';

/** What to watch, and whom to tell. */
export interface NetlinkOptions {
  readonly wake: Wake;
  readonly log: Log;
  /** Whether a change of this interface, its addresses or its routes matters. */
  readonly interesting: (interfaceName: string) => boolean;
  /** The command that reports changes; the arguments are `ip`'s. */
  readonly monitorCommand?: readonly [string, ...string[]];
  readonly respawnMinMs?: number;
  readonly respawnMaxMs?: number;
}

/** Reads, and between `start` and `close` wakes. */
export interface NetlinkWatch extends Netlink {
  start(): void;
  /** Ends the child and waits for it. */
  close(): Promise<void>;
}

const maxLineLength = 16_384;
/** A child starts to listen some ms after it was started, and says nothing about it. What changed before shows then. */
const listeningAfterMs = 250;
/** A child that lived this long has earned a quick successor. */
const stableAfterMs = 30_000;

/** Not started yet. */
export function createNetlink(options: NetlinkOptions): NetlinkWatch {
  const { wake, log, interesting } = options;
  const [command, ...args] = options.monitorCommand ?? ['ip', '-o', 'monitor', 'link', 'address', 'route'];
  const respawnMinMs = options.respawnMinMs ?? 200;
  const respawnMaxMs = options.respawnMaxMs ?? 30_000;
  const ending = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let endChild: () => void = () => undefined;
  /** Interfaces that were interesting under their last name: a rename away from it shows the new name alone. */
  const watched = new Set<number>();

  function onLine(line: string | undefined): void {
    if (line === undefined) {
      wake('netlink: an overlong line');
      return;
    }
    const { deleted, about, ifindex, names } = parseMonitorLine(line);
    const name = names.find(interesting);
    if (name !== undefined || (ifindex !== undefined && watched.has(ifindex))) {
      wake(`netlink: ${name ?? names[0] ?? ifindex}`);
    }
    if (about !== 'link' || ifindex === undefined) return;
    if (name === undefined || deleted) watched.delete(ifindex);
    else watched.add(ifindex);
  }

  /** Runs one child to its end and returns why it ended. */
  async function runChild(): Promise<string> {
    const child = execa(command, args, {
      buffer: false,
      reject: false,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
      forceKillAfterDelay: 1000,
    });
    endChild = () => {
      child.kill();
      // Without this a grandchild that holds the pipes would hold up the end.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const cut = createLineCutter(maxLineLength, onLine);
    child.stdout.setEncoding('utf8').on('data', cut);
    // `ip` complains when the kernel had to drop messages: then anything may have changed.
    child.stderr.on('data', () => wake('netlink: messages were lost'));
    const listening = setTimeout(() => wake('netlink: listening'), listeningAfterMs);
    const result = await child;
    clearTimeout(listening);
    return result.failed ? messageOf(result.originalMessage ?? result.shortMessage) : 'it ended by itself';
  }

  async function keepRunning(): Promise<void> {
    let delayMs = respawnMinMs;
    while (!ending.signal.aborted) {
      const startedAt = performance.now();
      const why = await runChild();
      if (ending.signal.aborted) return;
      if (performance.now() - startedAt >= stableAfterMs) delayMs = respawnMinMs;
      log('warning', `netlink: ${command} ended (${why}); starting it again in ${delayMs} ms`);
      wake('netlink: the monitor ended');
      await sleep(delayMs, undefined, { ref: false, signal: ending.signal }).catch(() => undefined);
      delayMs = Math.min(delayMs * 2, respawnMaxMs);
    }
  }

  return {
    read: async () => readLinks(),
    start() {
      running = keepRunning();
    },
    async close() {
      ending.abort();
      endChild();
      await running;
    },
  };
}
