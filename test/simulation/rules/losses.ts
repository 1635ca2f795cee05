/** How long the link was lost since k3s began: what a restart after an outage may be justified by, and what it is owed to. */
import type { SimNode } from '../node.ts';

/** What ZeroTier says of a network is asked, not told: a loss may be seen a calm pause (20 s, with jitter) late. */
const plainSlackMs = 25_000;

export class Losses {
  private readonly node: SimNode;
  /** Monotonic ms since which nothing gets through; undefined while it does. */
  private badSinceMs: number | undefined = 0;
  private longestMs = 0;
  /** Since when mooring can see that the link is lost. */
  private plainSinceMs: number | undefined;
  private longestPlainMs = 0;
  private isPlainCounted = false;

  constructor(node: SimNode) {
    this.node = node;
  }

  /** Called after every event. */
  track(): void {
    const { zerotier, clock } = this.node;
    this.trackPlain();
    if (!zerotier.carries()) {
      this.badSinceMs ??= clock.nowMs;
      return;
    }
    this.longestMs = this.longestSinceBeginMs();
    this.badSinceMs = undefined;
  }

  k3sBegun(): void {
    this.longestMs = 0;
    this.longestPlainMs = 0;
    // A loss counts once: k3s may have begun after it had.
    this.isPlainCounted = !this.node.zerotier.looksGood();
  }

  /** The loss of now counts from its beginning. */
  longestSinceBeginMs(): number {
    const { nowMs } = this.node.clock;
    return Math.max(this.longestMs, this.badSinceMs === undefined ? 0 : nowMs - this.badSinceMs);
  }

  /** Whether k3s is owed a restart for an outage that nobody can doubt. */
  owesRestart(outageMs: number): boolean {
    return this.longestPlainMs >= outageMs + plainSlackMs;
  }

  /** ZeroTier answers, mooring looks, and they do not agree that the link is there. */
  private trackPlain(): void {
    const { clock, daemon, zerotier } = this.node;
    const isGood = zerotier.looksGood();
    if (isGood) this.isPlainCounted = false;
    if (isGood || !zerotier.answers() || !daemon.isAlive) {
      this.plainSinceMs = undefined;
      return;
    }
    this.plainSinceMs ??= clock.nowMs;
    if (this.isPlainCounted) return;
    this.longestPlainMs = Math.max(this.longestPlainMs, clock.nowMs - this.plainSinceMs);
  }
}
