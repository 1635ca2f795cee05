/**
 * IP addresses as systemd-resolved carries them (family and bytes) and as people and configs write them.
 * Both directions give one canonical text for one address (RFC 5952 for IPv6), so that texts can be compared.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** AF_INET and AF_INET6 of Linux. */
const familyIpv4 = 2;
const familyIpv6 = 10;

/** An address on the wire. */
export interface AddressBytes {
  readonly family: number;
  readonly bytes: Buffer;
}

/** The sixteen-bit groups of one side of `::`, an embedded IPv4 address counted as two. */
function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const bytes = Buffer.from(group.split('.').map(Number));
    return [bytes.readUInt16BE(0), bytes.readUInt16BE(2)];
  });
}

/** Bytes of an IPv4 or IPv6 address without zone, or undefined where the text is none. */
export function addressToBytes(text: string): AddressBytes | undefined {
  if (isIPv4(text)) return { family: familyIpv4, bytes: Buffer.from(text.split('.').map(Number)) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const [head = '', tail] = text.split('::');
  const front = groupsOf(head);
  const back = tail === undefined ? [] : groupsOf(tail);
  const groups = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  const bytes = Buffer.alloc(16);
  for (const [index, group] of groups.entries()) bytes.writeUInt16BE(group, index * 2);
  return { family: familyIpv6, bytes };
}

/** Where the longest run of two or more zero groups starts and ends; the first of equals. */
function longestZeroRun(
  groups: readonly number[],
): { readonly start: number; readonly end: number } | undefined {
  let best: { readonly start: number; readonly end: number } | undefined;
  let start = 0;
  for (let end = 0; end <= groups.length; end += 1) {
    if (groups[end] === 0) continue;
    if (end - start >= 2 && (best === undefined || end - start > best.end - best.start))
      best = { start, end };
    start = end + 1;
  }
  return best;
}

/** Canonical text of an address, or undefined where family and length do not fit. IPv4-mapped stays hexadecimal. */
export function bytesToAddress({ family, bytes }: AddressBytes): string | undefined {
  if (family === familyIpv4 && bytes.length === 4) return [...bytes].join('.');
  if (family !== familyIpv6 || bytes.length !== 16) return undefined;
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2));
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  const run = longestZeroRun(groups);
  if (run === undefined) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.end))}`;
}

/** The canonical form of an address, or undefined where the text is no address. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = addressToBytes(text);
  return bytes === undefined ? undefined : bytesToAddress(bytes);
}

/**
 * A server as resolved shows it where it has more than an address: `address:port#name`, IPv6 in brackets before a port
 * (resolved.conf(5)). Such a text equals no plain address, and so gets replaced.
 */
export function serverText(address: string, port: number, serverName: string): string {
  const bracketed = address.includes(':') ? `[${address}]` : address;
  const withPort = port === 0 ? address : `${bracketed}:${port}`;
  return serverName === '' ? withPort : `${withPort}#${serverName}`;
}
