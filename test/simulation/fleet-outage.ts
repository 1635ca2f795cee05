/**
 * A common outage of home as one node meets it, and how a connection attempt ends in it. Times are virtual ms; 0 is the
 * moment at which the simulation of a node begins, and both ends of the outage are the same for all nodes.
 */
import type { Random } from '../support/random.ts';

/** What becomes of packets to a server that is away. */
export type Dialing = 'on-link' | 'silent';

/**
 * When an attempt sends something that a server would answer, after its begin, and when the kernel gives up.
 * - `on-link`: the server's address lies in the ZeroTier network, so the kernel asks for its neighbour first: 3 questions, 1 s
 *   apart, then "no route to host" (Linux defaults: neigh/default/mcast_solicit=3, retrans_time_ms=1000). The connection
 *   request leaves with the first answer.
 * - `silent`: a router at home is in between, so requests vanish and are repeated (Linux default: tcp_syn_retries=6).
 */
const attempts: Readonly<Record<Dialing, { readonly offsetsMs: readonly number[]; readonly endMs: number }>> =
  {
    'on-link': { offsetsMs: [0, 1_000, 2_000], endMs: 3_000 },
    silent: { offsetsMs: [0, 1_000, 3_000, 7_000, 15_000, 31_000, 63_000], endMs: 127_000 },
  };

export interface Outage {
  readonly dialing: Dialing;
  /** Home is cut off. */
  readonly cutMs: number;
  /** Home is back. */
  readonly homeMs: number;
  /** Packets of this node get through again. */
  readonly backMs: number;
  /** ZeroTier calls the network refused from, and until; undefined where it says OK from its cache all the time. */
  readonly refused: { readonly fromMs: number; readonly toMs: number } | undefined;
}

/** What happens to the fleet. */
export interface Scenario {
  readonly name: string;
  readonly dialing: Dialing;
  /**
   * `unnoticed`: ZeroTier says OK from its cache and the device stays, as when home is cut off. `refused`: the controller
   * refuses all members for that long, so that the link itself is lost.
   */
  readonly link: 'unnoticed' | 'refused';
  readonly outageMs: number;
  /** Of 100 nodes, how many boot at some time of the outage and so have an agent that is starting. */
  readonly startingPercent: number;
}

/** Long enough for a calm round of probes of every node before the outage. */
const cutMs = 90_000;

export function outageOf({ dialing, link, outageMs }: Scenario, random: Random): Outage {
  const homeMs = cutMs + outageMs;
  if (link === 'unnoticed') return { dialing, cutMs, homeMs, backMs: homeMs, refused: undefined };
  // A member learns of its refusal in 5 to 60 s, of its admission in up to 5 s.
  const backMs = homeMs + random.between(15, 5_000);
  const fromMs = Math.min(cutMs + random.between(5_000, 60_000), homeMs);
  return { dialing, cutMs, homeMs, backMs, refused: { fromMs, toMs: backMs } };
}

export function isOpen(outage: Outage, atMs: number): boolean {
  return atMs < outage.cutMs || atMs >= outage.backMs;
}

/** How an attempt ended: at `atMs` the server saw it, or nobody did. */
export type Dialed =
  | { readonly reached: true; readonly atMs: number }
  | { readonly reached: false; readonly atMs: number };

/** An attempt to connect to the server, given up after `deadlineMs`. */
export function dial(outage: Outage, beginMs: number, deadlineMs = Number.POSITIVE_INFINITY): Dialed {
  const { offsetsMs, endMs } = attempts[outage.dialing];
  const heard = offsetsMs.find((offsetMs) => offsetMs < deadlineMs && isOpen(outage, beginMs + offsetMs));
  if (heard !== undefined) return { reached: true, atMs: beginMs + heard };
  return { reached: false, atMs: beginMs + Math.min(endMs, deadlineMs) };
}
