/**
 * How large nginx is made: workers, and the connections that each may hold. Always true here: what is asked for fits the open
 * files of a process, and without a word from the config a share of the memory, so that no flood of clients takes the node with it.
 */
import type { Config } from '../../config/schema.ts';
import type { Machine } from '../../systems/nginx/types.ts';

export interface NginxSize {
  /** A fixed number: each has a socket of its own per port, and a reload keeps these only while their number stays. */
  readonly workers: number;
  /** Connections that a worker passes on at once. */
  readonly perWorker: number;
  /** What a worker may have open. */
  readonly openFiles: number;
  readonly shutdownMs: number;
}

/** More would only take memory: one core passes on more than such a VM's network brings. */
const mostWorkers = 16;

/**
 * Of a connection at its worst, measured with nginx 1.22 on Linux 6.18: 66 KiB of buffers (32 KiB each way) and bookkeeping, 10 KiB
 * in the kernel for its two sockets and files, and what waits in their queues. One that says little takes a quarter.
 */
const bytesPerConnection = 80 * 1024;

/** The rest is for k3s, its pods and the page cache. */
const memoryShare = 1 / 4;

/** Nobody's home cluster has more clients; nginx sets memory aside for each (860 bytes), used or not. */
const mostConnections = 100_000;
const fewestConnections = 512;

/** What a worker has open besides: its log, channels to the others, epoll, the generation's socket and whoever asks it. */
const otherFiles = 32;

/** The size that the config asks for, or that fits the machine. */
export function nginxSize(
  { workers: asked, connections, shutdown }: Config['nginx'],
  machine: Machine,
): NginxSize {
  const workers = asked === 'auto' ? Math.min(machine.cores, mostWorkers) : asked;
  const total = connections === 'auto' ? connectionsFor(machine.memoryBytes) : connections;
  return { workers, perWorker: shareOf(total, workers), openFiles: machine.openFiles, shutdownMs: shutdown };
}

function connectionsFor(memoryBytes: number): number {
  const fitting = Math.floor((memoryBytes * memoryShare) / bytesPerConnection);
  return Math.min(mostConnections, Math.max(fewestConnections, fitting));
}

/** The kernel deals connections out by a hash, so a worker gets up to four standard deviations more than its share. */
function shareOf(total: number, workers: number): number {
  const share = total / workers;
  return Math.ceil(workers === 1 ? share : share + 4 * Math.sqrt(share));
}

/**
 * nginx' `worker_connections`, which counts both sides of a connection and the sockets that listen. A worker also holds the
 * listening sockets of all others open. `sockets` is how many a worker listens on.
 */
export function workerConnections({ workers, perWorker, openFiles }: NginxSize, sockets: number): number {
  const others = otherFiles + sockets * workers;
  return Math.min(openFiles, 2 * perWorker + others);
}
