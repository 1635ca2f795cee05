/**
 * The kernel's tables of sockets, /proc/self/net/{tcp,tcp6,udp,udp6} (Documentation/networking/proc_net_tcp.rst), of mooring's
 * own network namespace, which is the host's. They need no privilege and tell the user of a socket, not its process. Rows are
 * read as they come, since a busy ingress has tens of thousands: what does not look like a row is passed over.
 */
import { open } from 'node:fs/promises';

/** One row. */
export interface SocketRow {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** `0A` of TCP listens, `01` is established (include/net/tcp_states.h); `07` of UDP is connected to nobody. */
  readonly state: string;
  readonly uid: number;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

const rowPattern =
  /^ *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+ +(\d+) /;

/** A row of a table, undefined for its head and for whatever else is no row. */
export function parseSocketRow(line: string): SocketRow | undefined {
  const match = rowPattern.exec(line);
  if (match === null) return undefined;
  const [, local = '', localPort = '', remote = '', remotePort = '', state = '', uid = ''] = match;
  return {
    local: { address: addressOf(local), port: Number.parseInt(localPort, 16) },
    remote: { address: addressOf(remote), port: Number.parseInt(remotePort, 16) },
    state,
    uid: Number(uid),
  };
}

/** Each 32-bit word is printed as a number, in the byte order of amd64 and arm64: the last byte first. */
function addressOf(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => (word.match(/../g) ?? []).reverse());
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => `${bytes[2 * i]}${bytes[2 * i + 1]}`);
  const plain = plainAddress(groups.join(':'));
  return /^::ffff:[0-9a-f]{1,4}:[0-9a-f]{1,4}$/.test(plain) ? addressOf(hex.slice(24)) : plain;
}

/** The one spelling of an IPv6 address in which rows are told; an IPv4 address as it is. */
export function plainAddress(address: string): string {
  return address.includes(':') ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}

const chunkBytes = 64 * 1024;
/** Some 400,000 sockets; more are not looked at. */
const maxBytes = 64 * 1024 * 1024;

/** The rows of a table. Throws what opening and reading throw. */
export async function* socketRows(path: string): AsyncGenerator<SocketRow> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(chunkBytes);
    let rest = '';
    for (let total = 0; total < maxBytes; ) {
      const { bytesRead } = await file.read(buffer, 0, chunkBytes);
      if (bytesRead === 0) return;
      total += bytesRead;
      const lines = (rest + buffer.toString('latin1', 0, bytesRead)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const row = parseSocketRow(line);
        if (row !== undefined) yield row;
      }
    }
  } finally {
    await file.close();
  }
}
