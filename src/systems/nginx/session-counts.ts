/**
 * The figures of one listener from what is known of it: ended sessions as nginx wrote them down, and open ones at an instant.
 *
 * Always true here: connections = sessions + open, as of the newest look at both; no counter ever falls. nginx writes a session
 * down up to a second after its end, so an open one that has gone may be missing for a moment: it is waited for. One that
 * nobody ever writes down, as when nginx was killed, ends as `unrecorded`.
 */
import { newTally, type SessionTally } from './session-lines.ts';
import type { ListenerFigures, SessionResult } from './types.ts';

/** What is known of one listener. */
export interface ListenerCount {
  readonly name: string;
  readonly protocol: 'tcp' | 'udp';
  readonly tally: SessionTally;
  /** Ended sessions that `unended` has been told of. */
  settled: number;
  connections: number;
  /** Connections that were counted and have not ended: outlives a restart of mooring. */
  unended: number;
  open: number | undefined;
  unrecorded: number;
  /** Since when fewer are open than must be, and the fewest that were missing since. */
  missing: { readonly sinceMs: number; readonly least: number } | undefined;
}

/** nginx writes within a second of a session's end (`flush=1s`); later than this it never will. */
export const writtenWithinMs = 5_000;

/** Nothing counted; `unended` as a former run kept it. */
export function newCount(name: string, protocol: 'tcp' | 'udp', unended: number): ListenerCount {
  return {
    name,
    protocol,
    tally: newTally(name, protocol),
    settled: 0,
    connections: 0,
    unended,
    open: undefined,
    unrecorded: 0,
    missing: undefined,
  };
}

/** Takes over the sessions that ended: those that nobody saw open were connections as well. */
export function settleEnded(count: ListenerCount): void {
  const ended = count.tally.ended - count.settled;
  count.settled = count.tally.ended;
  const unseen = Math.max(0, ended - count.unended);
  count.connections += unseen;
  count.unended += unseen - ended;
}

/**
 * Takes over how many are open, looked at after the ended ones were read: the other way round one could count twice.
 * undefined where nobody knows.
 */
export function settleOpen(count: ListenerCount, open: number | undefined, nowMs: number): void {
  count.open = open;
  if (open === undefined) return;
  const missing = count.unended - open;
  if (missing <= 0) {
    count.connections -= missing;
    count.unended = open;
    count.missing = undefined;
    return;
  }
  const { sinceMs, least } = count.missing ?? { sinceMs: nowMs, least: missing };
  count.missing = { sinceMs, least: Math.min(least, missing) };
  if (nowMs - sinceMs < writtenWithinMs) return;
  count.unrecorded += count.missing.least;
  count.unended -= count.missing.least;
  count.missing = undefined;
}

const resultOf: Readonly<Record<number, SessionResult>> = {
  200: 'ok',
  400: 'client_error',
  403: 'denied',
  500: 'internal_error',
  502: 'upstream_failed',
  503: 'limited',
};

/** As they are published. */
export function figuresOf({
  name,
  protocol,
  connections,
  open,
  unrecorded,
  tally,
}: ListenerCount): ListenerFigures {
  const sessions: Record<SessionResult, number> = {
    ok: 0,
    client_error: 0,
    denied: 0,
    internal_error: 0,
    upstream_failed: 0,
    limited: 0,
    unrecorded,
  };
  for (const [status, number] of tally.byStatus) sessions[resultOf[status] ?? 'internal_error'] += number;
  const { receivedBytes, sentBytes } = tally;
  const failures = [...tally.upstreams].map((upstream) => [upstream, 0] as const);
  const upstreamFailures = Object.fromEntries([...failures, ...tally.failures]);
  return { name, protocol, connections, open, receivedBytes, sentBytes, sessions, upstreamFailures };
}
