/**
 * The watch over what lies beyond the link: calm while all is fine, eager when in doubt, and beside the loop.
 *
 * Always true here: one round at a time; a single lost answer is asked for again before it is believed; a round that began on
 * another link tells nothing; a wake-up comes only when the kind of a reading differs; doubt that lasts is asked about more and
 * more seldom, so that a fleet without its home does not add to the crowd at its door.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../error.ts';
import type { Log } from '../log.ts';
import type { Wake } from '../wake.ts';
import { askDns, type DnsAnswer } from './ask-dns.ts';
import { type AskServer, createAskServer, type ServerAnswer, type ServerOptions } from './ask-server.ts';
import type { HomeDnsReading, HomeProbe, HomeReading, ProbeAim, ServerReading } from './types.ts';

export interface HomeProbeOptions extends ServerOptions {
  readonly wake: Wake;
  readonly log: Log;
  /** Monotonic ms. */
  readonly now: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** Between two rounds while all is fine. */
  readonly calmMs: number;
  /** Between the first rounds in doubt; grows up to two thirds of `calmMs`. */
  readonly eagerMs: number;
  readonly dnsPort?: number;
}

/** Asks between `start` and `close`, once it has an aim. */
export interface HomeWatch extends HomeProbe {
  start(): void;
  /** Ends what is under way and waits for it. */
  close(): Promise<void>;
}

const nothing: HomeReading = { server: { kind: 'unprobed' }, dns: { kind: 'unasked' } };
/** Rounds of doubt at the full eager pace. */
const eagerRounds = 4;
const longMs = 2 ** 31 - 1;

/** How long after a round the next one comes, before jitter; `doubts` are the rounds since the doubt began. */
export function roundDelayMs(
  pace: 'calm' | 'eager',
  doubts: number,
  { calmMs, eagerMs }: { readonly calmMs: number; readonly eagerMs: number },
): number {
  if (pace === 'calm') return calmMs;
  // Less than calm, so that a return is noticed in time, and long enough that many nodes do not notice it at once.
  return Math.min(Math.max((calmMs * 2) / 3, eagerMs), eagerMs * 1.5 ** Math.max(0, doubts - eagerRounds));
}

/** Where the watch stands between two rounds. */
export interface WatchState {
  readonly pace: 'calm' | 'eager';
  /** Within how long the first round on this link begins; undefined once one has begun. */
  readonly firstWithinMs: number | undefined;
  /** The newest round lost something that the next one is to confirm. */
  readonly isShaken: boolean;
  readonly doubts: number;
}

/** The pause before the next round, with jitter; `random` is in [0, 1). */
export function pauseBeforeRoundMs(
  { pace, firstWithinMs, isShaken, doubts }: WatchState,
  limits: { readonly calmMs: number; readonly eagerMs: number },
  random: number,
): number {
  // Spread evenly: a common outage ends for all at once.
  if (firstWithinMs !== undefined) return random * firstWithinMs;
  const jitter = 0.8 + 0.4 * random;
  return (isShaken ? limits.eagerMs / 3 : roundDelayMs(pace, doubts, limits)) * jitter;
}

/** Not started yet, and aimed at nothing. */
export function createHomeProbe(options: HomeProbeOptions): HomeWatch {
  const { wake, log, now, random } = options;
  const askServer: AskServer = createAskServer(options);
  const ending = new AbortController();
  let reading = nothing;
  let aim: ProbeAim = { pace: 'off', path: '', dnsServers: [], firstWithinMs: 0 };
  /** Aborted when the aim changes, so that the pause is reckoned anew, and at the end. */
  let turned = new AbortController();
  let isNew = true;
  let doubts = 0;
  /** Something that was fine did not answer, and has not been asked again yet. */
  let isShaken = false;
  let asking: Promise<void> = Promise.resolve();

  function take(next: HomeReading): void {
    const isNews = next.server.kind !== reading.server.kind || next.dns.kind !== reading.dns.kind;
    reading = next;
    if (isNews) wake(`home: the server is ${next.server.kind}, its DNS ${next.dns.kind}`);
  }

  async function round(): Promise<void> {
    const { path, dnsServers } = aim;
    isNew = false;
    const [server, dns] = await Promise.all([
      askServer(ending.signal),
      askDns(dnsServers, {
        deadlineMs: options.deadlineMs,
        signal: ending.signal,
        ...(options.dnsPort === undefined ? {} : { port: options.dnsPort }),
      }),
    ]);
    if (ending.signal.aborted || aim.pace === 'off' || aim.path !== path) return;
    const isLoss =
      (reading.server.kind === 'reachable' && server.kind === 'unreachable') ||
      (reading.dns.kind === 'answers' && dnsServers.length > 0 && dns === 'silent');
    doubts = aim.pace === 'calm' ? 0 : doubts + 1;
    const wasShaken = isShaken;
    isShaken = isLoss && !wasShaken;
    if (isShaken) return;
    take({
      server: serverReading(reading.server, server, now()),
      dns: dnsServers.length === 0 ? { kind: 'unasked' } : dnsReading(reading.dns, dns, now()),
    });
  }

  function pauseMs(): number {
    const { pace } = aim;
    if (pace === 'off') return longMs;
    const firstWithinMs = isNew ? aim.firstWithinMs : undefined;
    return pauseBeforeRoundMs({ pace, firstWithinMs, isShaken, doubts }, options, random());
  }

  async function keepAsking(): Promise<void> {
    while (!ending.signal.aborted) {
      turned = new AbortController();
      const { signal } = turned;
      await sleep(Math.min(longMs, pauseMs()), undefined, { ref: false, signal }).catch(() => undefined);
      if (signal.aborted) continue;
      try {
        await round();
      } catch (error) {
        log('error', `home: a question failed, which is a fault in mooring: ${messageOf(error)}`);
        take(nothing);
      }
    }
  }

  return {
    read: () => reading,
    aim(next) {
      const before = aim;
      aim = next;
      const isOtherLink = next.path !== before.path || (next.pace === 'off') !== (before.pace === 'off');
      if (isOtherLink) {
        reading = nothing;
        isNew = true;
        isShaken = false;
      }
      if (!isOtherLink && next.pace === before.pace) return;
      doubts = 0;
      turned.abort();
    },
    start() {
      asking = keepAsking();
    },
    async close() {
      ending.abort();
      turned.abort();
      await asking;
    },
  };
}

function serverReading(before: ServerReading, answer: ServerAnswer, nowMs: number): ServerReading {
  if (answer.kind === 'reachable') return { ...answer, atMs: nowMs };
  const sinceMs = before.kind === answer.kind ? before.sinceMs : nowMs;
  return { ...answer, sinceMs };
}

function dnsReading(before: HomeDnsReading, answer: DnsAnswer, nowMs: number): HomeDnsReading {
  if (answer !== 'silent') return { kind: answer };
  return { kind: 'silent', sinceMs: before.kind === 'silent' ? before.sinceMs : nowMs };
}
