/** The watch over what lies beyond the link, and home itself: the k3s server and the DNS, both reached through the link. */
import type { HomeProbe, HomeReading, ProbeAim } from '../../../src/systems/home/types.ts';
import type { Random } from '../../support/random.ts';
import type { VirtualClock } from '../clock.ts';

/** The truth, and whom to tell that a reading is of another kind. */
export interface HomeTruth {
  readonly carries: () => boolean;
  readonly isServerUp: () => boolean;
  readonly changed: () => void;
}

const nothing: HomeReading = { server: { kind: 'unprobed' }, dns: { kind: 'unasked' } };
const off: ProbeAim = { pace: 'off', path: '', dnsServers: [], firstWithinMs: 0 };

/** As the adapter: nothing off the link, a loss believed when it is seen twice, a round of another link forgotten. */
export class HomeModel implements HomeProbe {
  private readonly clock: VirtualClock;
  private readonly random: Random;
  private readonly truth: HomeTruth;
  private reading = nothing;
  private current = off;
  private run = 0;
  private isShaken = false;

  constructor(clock: VirtualClock, random: Random, truth: HomeTruth) {
    this.clock = clock;
    this.random = random;
    this.truth = truth;
  }

  read(): HomeReading {
    return this.reading;
  }

  aim(next: ProbeAim): void {
    const before = this.current;
    this.current = next;
    if (next.path !== before.path || (next.pace === 'off') !== (before.pace === 'off')) this.begin();
    else if (next.pace !== before.pace) this.later();
  }

  /** Another daemon knows nothing yet. */
  restart(): void {
    this.current = off;
    this.begin();
  }

  private begin(): void {
    this.reading = nothing;
    this.isShaken = false;
    this.later(this.random.between(0, 3_000));
  }

  private later(delayMs = this.current.pace === 'calm' ? 60_000 : 3_000): void {
    const run = ++this.run;
    if (this.current.pace === 'off') return;
    this.clock.after(delayMs + this.random.between(1, 50), () => {
      if (run !== this.run) return;
      this.look();
      this.later(this.isShaken ? 1_000 : undefined);
    });
  }

  private look(): void {
    const nowMs = this.clock.nowMs;
    const carries = this.truth.carries();
    const isUp = carries && this.truth.isServerUp();
    const isLoss = !isUp && this.reading.server.kind === 'reachable';
    const wasShaken = this.isShaken;
    this.isShaken = isLoss && !wasShaken;
    if (this.isShaken) return;
    const before = this.reading;
    this.reading = {
      server: isUp
        ? { kind: 'reachable', trust: 'verified', latencyMs: 20, atMs: nowMs }
        : { kind: 'unreachable', stage: 'connect', error: 'no answer', heard: false, sinceMs: nowMs },
      dns: this.current.dnsServers.length === 0 ? { kind: 'unasked' } : this.dns(carries, nowMs),
    };
    const isNews =
      before.server.kind !== this.reading.server.kind || before.dns.kind !== this.reading.dns.kind;
    if (isNews) this.truth.changed();
  }

  private dns(carries: boolean, nowMs: number): HomeReading['dns'] {
    return carries ? { kind: 'answers' } : { kind: 'silent', sinceMs: nowMs };
  }
}
