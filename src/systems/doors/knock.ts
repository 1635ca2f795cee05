/**
 * Whether nginx gets what comes to a TCP port of this host. A rule of NAT (iptables of either kind, nftables, IPVS) or eBPF can
 * lead connections away from a port at which nginx listens; whatever does it, the connection's other end is not on this host then.
 *
 * `elsewhere` is told only with proof: the connection stands, its own end is open, and the kernel has no socket for the other
 * end. Everything else that goes wrong, as with a firewall, a limit, or too much to do, is `unclear`.
 */
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { askGeneration } from '../ask-generation.ts';
import { codeOf } from '../error.ts';
import { readFileText } from '../files/atomic.ts';

import { plainAddress, type SocketRow, socketRows } from './socket-table.ts';

/** A port and an address of this host. */
export interface Door {
  readonly address: string;
  readonly port: number;
}

export type Verdict = 'ours' | 'elsewhere' | 'unclear';

export interface KnockOptions {
  readonly deadlineMs: number;
  readonly netFolder: string;
}

/** As the ingress' config has it (nginx-probe.ts of the brain): what comes from here is answered by nginx itself. */
const probeSource = '127.77.68.79';

/** Long enough for the other end of a connection within a host to be there. */
const settleMs = 100;

/** Asks nginx through the door itself, without troubling an upstream. For IPv4: IPv6 has a single loopback address. */
export async function isAnswered({ address, port }: Door, { deadlineMs }: KnockOptions): Promise<boolean> {
  const target = { host: address, port, localAddress: probeSource };
  return (await askGeneration(target, deadlineMs)) !== undefined;
}

/**
 * Connects from each door's own address, as any client of this host would, and looks for the other end of that connection
 * among the kernel's sockets. An upstream sees a connection without a word.
 */
export async function findOtherEnds(
  doors: readonly Door[],
  options: KnockOptions,
): Promise<readonly Verdict[]> {
  const before = await strain(options.netFolder);
  const sockets = await Promise.all(doors.map((door) => connect(door, options.deadlineMs)));
  try {
    await sleep(settleMs);
    const here = sockets.map((socket) => (socket === undefined ? undefined : localEnd(socket)));
    const found = await endsOf(new Set(here), options.netFolder);
    const isStrained = (await strain(options.netFolder)) !== before;
    return doors.map((door, i) => {
      const end = found.get(here[i] ?? '');
      if (end?.other === endpoint(door.address, door.port)) return 'ours';
      return end?.isOpen === true && !isStrained ? 'elsewhere' : 'unclear';
    });
  } catch {
    return doors.map(() => 'unclear');
  } finally {
    for (const socket of sockets) socket?.destroy();
  }
}

/** What the kernel has of a connection that this process made. */
interface Ends {
  /** The own end is established: nobody has ended it. */
  isOpen: boolean;
  /** Where the other end is, where it is on this host; any state counts, since a program may be done with it at once. */
  other: string | undefined;
}

async function endsOf(
  here: ReadonlySet<string | undefined>,
  netFolder: string,
): Promise<ReadonlyMap<string, Ends>> {
  const found = new Map<string, Ends>();
  for (const table of ['tcp', 'tcp6']) {
    for await (const { local, remote, state } of rowsOf(join(netFolder, table))) {
      const from = endpoint(local.address, local.port);
      const to = endpoint(remote.address, remote.port);
      if (here.has(from)) found.set(from, { other: found.get(from)?.other, isOpen: state === '01' });
      if (here.has(to)) found.set(to, { isOpen: found.get(to)?.isOpen ?? false, other: from });
    }
  }
  return found;
}

const endpoint = (address: string, port: number) => `${address} ${port}`;

const localEnd = ({ localAddress = '', localPort = 0 }: Socket) =>
  endpoint(plainAddress(localAddress), localPort);

/** A connection that stands, undefined where there is none within the deadline. */
function connect({ address, port }: Door, deadlineMs: number): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port, localAddress: address, allowHalfOpen: true });
    const timer = setTimeout(() => {
      socket.destroy();
      resolve(undefined);
    }, deadlineMs);
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
    socket.on('error', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}

async function* rowsOf(path: string): AsyncGenerator<SocketRow> {
  try {
    yield* socketRows(path);
  } catch (error) {
    // Without IPv6 there is no such table.
    if (!path.endsWith('6') || codeOf(error) !== 'ENOENT') throw error;
  }
}

/** Counts of connections that the kernel let stand without a socket, or whose socket it dropped early, having too many. */
const strains = ['ListenOverflows', 'ListenDrops', 'SyncookiesSent', 'TCPTimeWaitOverflow'];

/** All of them so far; throws where they cannot be read. */
async function strain(netFolder: string): Promise<string> {
  const read = await readFileText(join(netFolder, 'netstat'), 256 * 1024);
  const [names, values] = (read.kind === 'present' ? read.text : '')
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'))
    .map((line) => line.split(' '));
  if (names === undefined || values === undefined) throw new Error('no counters of TCP');
  return strains.map((name) => values[names.indexOf(name)] ?? '').join(' ');
}
