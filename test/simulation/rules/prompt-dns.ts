/**
 * The device of today has its DNS soon, whoever took it away and under whatever ifindex it came back: only a mooring that
 * is told of changes, and looks at today's ifindex, is that fast.
 */
import { device } from '../../support/world.ts';
import type { SimNode } from '../node.ts';

/** Far more than it takes, and far less than the calm pause between two looks. */
const withinMs = 5_000;
/** After a hindrance retries may be as far apart as their backoff goes. */
const afterHindranceMs = 60_000;

export class PromptDnsRule {
  private readonly node: SimNode;
  private freeSinceMs: number | undefined;
  private wrongSinceMs: number | undefined;

  constructor(node: SimNode) {
    this.node = node;
  }

  check(): string | undefined {
    const { clock, daemon, kernel, resolved, zerotier } = this.node;
    const { nowMs } = clock;
    // Before the network has told its DNS there is nothing to set; with an API that hangs, each look takes seconds.
    const isFree = daemon.isAlive && resolved.isThere() && zerotier.told.size > 0 && zerotier.api !== 'hang';
    const link = kernel.links.get(device);
    const isRight = link !== undefined && resolved.links.get(link.ifindex)?.servers[0] === '10.45.0.1';
    this.freeSinceMs = isFree ? (this.freeSinceMs ?? nowMs) : undefined;
    this.wrongSinceMs = link === undefined || isRight ? undefined : (this.wrongSinceMs ?? nowMs);
    if (this.wrongSinceMs === undefined || this.freeSinceMs === undefined) return undefined;
    if (this.wrongSinceMs - this.freeSinceMs < afterHindranceMs || nowMs - this.wrongSinceMs < withinMs)
      return undefined;
    return `the DNS of ifindex ${link?.ifindex} is wrong for ${withinMs / 1_000} s`;
  }
}
