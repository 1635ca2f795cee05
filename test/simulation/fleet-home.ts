/**
 * The watch over home, as the adapter keeps it: its own pauses and jitter (`pauseBeforeRoundMs`), in virtual time, with each
 * connection that it tries told to the one who counts.
 */
import { pauseBeforeRoundMs } from '../../src/systems/home/home-probe.ts';
import type { HomeProbe, HomeReading, ProbeAim } from '../../src/systems/home/types.ts';
import type { Random } from '../support/random.ts';
import type { VirtualClock } from './clock.ts';
import { dial, isOpen, type Outage } from './fleet-outage.ts';

export interface FleetHomeOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly outage: Outage;
  readonly limits: { readonly calmMs: number; readonly eagerMs: number; readonly deadlineMs: number };
  /** A connection that the server saw. */
  readonly reached: (atMs: number) => void;
  readonly wake: () => void;
}

const nothing: HomeReading = { server: { kind: 'unprobed' }, dns: { kind: 'unasked' } };
const roundTripMs = 20;

export class FleetHome implements HomeProbe {
  private readonly options: FleetHomeOptions;
  private reading = nothing;
  private current: ProbeAim = { pace: 'off', path: '', dnsServers: [], firstWithinMs: 0 };
  private run = 0;
  private isAsking = false;
  private isNew = true;
  private isShaken = false;
  private doubts = 0;
  /** The CA bundle is fetched once; from then on a round is one connection. */
  private knowsCa = false;

  constructor(options: FleetHomeOptions) {
    this.options = options;
  }

  read(): HomeReading {
    return this.reading;
  }

  aim(next: ProbeAim): void {
    const before = this.current;
    this.current = next;
    const isOtherLink = next.path !== before.path || (next.pace === 'off') !== (before.pace === 'off');
    if (isOtherLink) {
      this.reading = nothing;
      this.isNew = true;
      this.isShaken = false;
    }
    if (!isOtherLink && next.pace === before.pace) return;
    this.doubts = 0;
    if (!this.isAsking) this.pause();
  }

  private pause(): void {
    const run = ++this.run;
    const { pace } = this.current;
    if (pace === 'off') return;
    const { isShaken, doubts } = this;
    const firstWithinMs = this.isNew ? this.current.firstWithinMs : undefined;
    const { clock, random, limits } = this.options;
    clock.after(pauseBeforeRoundMs({ pace, firstWithinMs, isShaken, doubts }, limits, random.next()), () => {
      if (run === this.run) this.ask();
    });
  }

  private ask(): void {
    const { clock, outage, limits, reached } = this.options;
    const { path } = this.current;
    this.isNew = false;
    this.isAsking = true;
    const beginMs = clock.nowMs;
    const dialed = dial(outage, beginMs, limits.deadlineMs);
    if (dialed.reached) {
      reached(dialed.atMs);
      if (!this.knowsCa) reached(dialed.atMs + roundTripMs);
    }
    // The DNS of home is asked beside it, and is silent for the whole deadline.
    const isDnsThere = isOpen(outage, beginMs);
    const endMs = dialed.reached && isDnsThere ? dialed.atMs + 2 * roundTripMs : beginMs + limits.deadlineMs;
    clock.at(endMs, () => {
      this.isAsking = false;
      if (path === this.current.path && this.current.pace !== 'off') this.take(dialed.reached, isDnsThere);
      this.pause();
    });
  }

  private take(isReached: boolean, isDnsThere: boolean): void {
    if (isReached) this.knowsCa = true;
    const nowMs = this.options.clock.nowMs;
    const { dnsServers } = this.current;
    const before = this.reading;
    const isLoss =
      (before.server.kind === 'reachable' && !isReached) ||
      (before.dns.kind === 'answers' && dnsServers.length > 0 && !isDnsThere);
    this.doubts = this.current.pace === 'calm' ? 0 : this.doubts + 1;
    const wasShaken = this.isShaken;
    this.isShaken = isLoss && !wasShaken;
    if (this.isShaken) return;
    const dns: HomeReading['dns'] = isDnsThere ? { kind: 'answers' } : { kind: 'silent', sinceMs: nowMs };
    this.reading = {
      server: isReached
        ? { kind: 'reachable', trust: 'verified', latencyMs: roundTripMs, atMs: nowMs }
        : { kind: 'unreachable', stage: 'connect', error: 'no answer', heard: false, sinceMs: nowMs },
      dns: dnsServers.length === 0 ? { kind: 'unasked' } : dns,
    };
    const isNews =
      before.server.kind !== this.reading.server.kind || before.dns.kind !== this.reading.dns.kind;
    if (isNews) this.options.wake();
  }
}
