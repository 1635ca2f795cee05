/** The watch over the cluster, and the cluster itself: two other nodes, each of which needs its route. */
import type {
  ClusterAim,
  ClusterNode,
  ClusterProbe,
  ClusterReading,
} from '../../../src/systems/cluster/types.ts';
import type { Random } from '../../support/random.ts';
import type { VirtualClock } from '../clock.ts';

/** The truth, and whom to tell that there is news. */
export interface ClusterTruth {
  /** Whether the API can be reached: through the agent, over the link. */
  readonly answers: () => boolean;
  readonly changed: () => void;
}

const flannel = { backend: 'vxlan', ipv4: true, ipv6: false } as const;
const refreshMs = 1_800_000;

/** As the adapter: a list when it is wanted first and each half hour, doubted nodes soon, failures seldom. */
export class ClusterModel implements ClusterProbe {
  /** Pod networks of the other nodes, by their names. */
  readonly others = new Map([
    ['server', '10.42.0.0/24'],
    ['edge-2', '10.42.2.0/24'],
  ]);
  /** Whether it refuses to tell. */
  refuses = false;
  private readonly clock: VirtualClock;
  private readonly random: Random;
  private readonly truth: ClusterTruth;
  private reading: ClusterReading = { kind: 'unasked' };
  private current: ClusterAim = { wanted: false, doubted: [] };
  private run = 0;

  constructor(clock: VirtualClock, random: Random, truth: ClusterTruth) {
    this.clock = clock;
    this.random = random;
    this.truth = truth;
  }

  read(): ClusterReading {
    return this.reading;
  }

  aim(next: ClusterAim): void {
    const before = this.current;
    this.current = next;
    if (next.wanted === before.wanted && next.doubted.length > 0 === before.doubted.length > 0) return;
    if (!next.wanted) this.run += 1;
    else if (next.doubted.length > 0) this.later(this.random.between(0, 3_000));
    else if (!before.wanted) this.later(this.random.between(0, refreshMs / 10));
  }

  /** Another daemon knows nothing yet. */
  restart(): void {
    this.current = { wanted: false, doubted: [] };
    this.reading = { kind: 'unasked' };
    this.run += 1;
  }

  private later(delayMs: number): void {
    const run = ++this.run;
    this.clock.after(delayMs + this.random.between(1, 50), () => {
      if (run === this.run) this.ask();
    });
  }

  private ask(): void {
    if (this.truth.answers()) this.answer();
    else if (this.reading.kind !== 'nodes')
      this.reading = { kind: 'unknown', reason: 'away', error: 'connection refused' };
    this.later(this.truth.answers() && !this.refuses ? refreshMs : this.random.between(10_000, 300_000));
    this.truth.changed();
  }

  private answer(): void {
    const atMs = this.clock.nowMs;
    const node = (name: string, network: string): ClusterNode => ({
      name,
      podNetworks: [network],
      flannel,
      atMs,
    });
    const nodes = [...this.others].map(([name, network]) => node(name, network));
    this.reading = this.refuses
      ? { kind: 'unknown', reason: 'refused', error: 'status 403' }
      : { kind: 'nodes', own: 'edge-1', nodes: [node('edge-1', '10.42.1.0/24'), ...nodes] };
  }
}
