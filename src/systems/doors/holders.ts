/** Who listens at a port: the kernel's socket tables, with the users' names. */
import { join } from 'node:path';
import { codeOf } from '../error.ts';
import { readFileText } from '../files/atomic.ts';
import { type SocketRow, socketRows } from './socket-table.ts';
import type { Holder, Listen } from './types.ts';

const maxPasswdBytes = 4 * 1024 * 1024;
/** More than this many at the ports of an ingress are told by the first ones. */
const maxHolders = 256;

/** Where the tables and the users are. */
export interface HolderPlaces {
  readonly netFolder: string;
  readonly passwdFile: string;
}

/** The sockets that listen at the ports of `listens`, whatever their address; undefined where the tables cannot be read. */
export async function readHolders(
  listens: readonly Listen[],
  { netFolder, passwdFile }: HolderPlaces,
): Promise<readonly Holder[] | undefined> {
  const found = new Map<string, { readonly socket: Listen; readonly uid: number; count: number }>();
  try {
    for (const protocol of ['tcp', 'udp'] as const) {
      const ports = new Set(listens.filter((one) => one.protocol === protocol).map(({ port }) => port));
      if (ports.size === 0) continue;
      for (const table of [protocol, `${protocol}6`]) {
        for await (const { local, uid } of listening(join(netFolder, table), protocol)) {
          if (!ports.has(local.port)) continue;
          const key = `${protocol} ${local.address} ${local.port} ${uid}`;
          const known = found.get(key);
          if (known !== undefined) known.count += 1;
          else if (found.size < maxHolders) found.set(key, { socket: { protocol, ...local }, uid, count: 1 });
        }
      }
    }
  } catch {
    return undefined;
  }
  if (found.size === 0) return [];
  const passwd = await readFileText(passwdFile, maxPasswdBytes);
  const name = userNames(passwd.kind === 'present' ? passwd.text : '');
  return [...found.values()].map(({ socket, uid, count }) => ({
    ...socket,
    user: name.get(uid) ?? `user ${uid}`,
    sockets: count,
  }));
}

/** The kernel tells TCP's listening sockets before all others, so that the rest of a long table need not be read. */
async function* listening(path: string, protocol: 'tcp' | 'udp'): AsyncGenerator<SocketRow> {
  try {
    for await (const row of socketRows(path)) {
      if (protocol === 'tcp' && row.state !== '0A') return;
      if (protocol === 'tcp' || row.state === '07') yield row;
    }
  } catch (error) {
    // Without IPv6 there is no such table.
    if (!path.endsWith('6') || codeOf(error) !== 'ENOENT') throw error;
  }
}

function userNames(passwd: string): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const line of passwd.split('\n')) {
    const [, name, uid] = /^([a-z_][a-z0-9_.-]{0,63}):[^:]*:(\d{1,10}):/i.exec(line) ?? [];
    if (name !== undefined && !names.has(Number(uid))) names.set(Number(uid), name);
  }
  return names;
}
