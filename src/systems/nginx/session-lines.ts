/**
 * Counts the lines that nginx writes at the end of each session: `NAME/PROTOCOL/STATUS/RECEIVED/SENT/UPSTREAMS`.
 *
 * Always true here: a line counts whole or not at all; one of a listener that nobody knows, too long, cut off, or with anything
 * in it that nginx would not write is discarded and counted as that. Read byte by byte, a line takes about 0.1 µs: at ten
 * thousand sessions a second text and regular expressions would take a noticeable part of a processor.
 */

/** What has been counted of one listener, changed in place. */
export interface SessionTally {
  /** `NAME/PROTOCOL/`, as its lines begin. */
  readonly prefix: Buffer;
  ended: number;
  receivedBytes: number;
  sentBytes: number;
  /** Sessions by nginx' status. */
  readonly byStatus: Map<number, number>;
  /** Tries of a server that came to nothing, by its address. */
  readonly failures: Map<string, number>;
  /** The servers that may have an entry of their own there; others are `other`. */
  readonly upstreams: Set<string>;
}

/** Longer than any that nginx writes: 64 upstreams, each tried once. */
export const maxLineBytes = 8_192;

const statuses = new Set([200, 400, 403, 500, 502, 503]);
const unix = Buffer.from('unix:');
const [newline, space, comma, slash, zero, tilde] = [10, 32, 44, 47, 48, 126];

/** Nothing counted yet. */
export function newTally(name: string, protocol: 'tcp' | 'udp'): SessionTally {
  return {
    prefix: Buffer.from(`${name}/${protocol}/`, 'latin1'),
    ended: 0,
    receivedBytes: 0,
    sentBytes: 0,
    byStatus: new Map(),
    failures: new Map(),
    upstreams: new Set(),
  };
}

/** How much of the bytes was whole lines, and how many of these were discarded. */
export interface LinesRead {
  readonly usedBytes: number;
  readonly discarded: number;
}

/** Counts the whole lines at the beginning of `bytes`. */
export function countSessions(bytes: Buffer, tallies: readonly SessionTally[]): LinesRead {
  let at = 0;
  let discarded = 0;
  let likely = tallies[0];
  for (;;) {
    const end = bytes.indexOf(newline, at);
    if (end < 0) return { usedBytes: at, discarded };
    const tally = startsWith(bytes, at, likely) ? likely : tallies.find((one) => startsWith(bytes, at, one));
    if (
      tally === undefined ||
      end - at > maxLineBytes ||
      !countLine(bytes, at + tally.prefix.length, end, tally)
    )
      discarded += 1;
    likely = tally ?? likely;
    at = end + 1;
  }
}

function startsWith(bytes: Buffer, at: number, tally: SessionTally | undefined): boolean {
  if (tally === undefined) return false;
  const { prefix } = tally;
  for (let index = 0; index < prefix.length; index += 1)
    if (bytes[at + index] !== prefix[index]) return false;
  return true;
}

/** Counts what stands between `start` and `end`; false where it is not what nginx writes. */
function countLine(bytes: Buffer, start: number, end: number, tally: SessionTally): boolean {
  let at = start;
  const number = (): number => {
    let value = 0;
    const first = at;
    for (let byte = bytes[at] ?? 0; at < end && byte >= zero && byte <= zero + 9; byte = bytes[at] ?? 0) {
      value = value * 10 + byte - zero;
      at += 1;
    }
    const isOne = at > first && at - first <= 15 && bytes[at] === slash && at < end;
    at += 1;
    return isOne ? value : -1;
  };
  const [status, received, sent] = [number(), number(), number()];
  if (!statuses.has(status) || received < 0 || sent < 0) return false;
  // mooring's own questions through the door, which nginx answers itself (nginx-probe.ts of the brain).
  if (bytes[at] === unix[0] && bytes.subarray(at, at + unix.length).equals(unix)) return true;
  let hasComma = false;
  for (let index = at; index < end; index += 1) {
    const byte = bytes[index] ?? 0;
    if (byte < space || byte > tilde) return false;
    if (byte === comma) hasComma = true;
  }
  tally.ended += 1;
  tally.receivedBytes += received;
  tally.sentBytes += sent;
  tally.byStatus.set(status, (tally.byStatus.get(status) ?? 0) + 1);
  if (hasComma || status === 502) countFailures(bytes.toString('latin1', at, end), status, tally);
  return true;
}

/** The servers are told in the order in which they were tried: where one was reached in the end, it is the last. */
function countFailures(upstreams: string, status: number, tally: SessionTally): void {
  const tried = upstreams.split(', ');
  for (const upstream of status === 502 ? tried : tried.slice(0, -1)) {
    // With all servers taken out nginx asks none, and tells the group's name.
    if (!upstream.includes(':')) continue;
    const label = tally.upstreams.has(upstream) ? upstream : 'other';
    tally.failures.set(label, (tally.failures.get(label) ?? 0) + 1);
  }
}
