/**
 * The loads and what they find: wrk for requests and new connections, iperf3 for bytes and datagrams. Every one runs at the
 * client's end against one rival, and is given back in base units: seconds, bytes.
 */

import type { Rig } from './rig.ts';
import { ports, type Rival } from './rivals.ts';

/** What wrk found. */
export interface Requests {
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly done: number;
  /** Connections refused or reset, reads and writes that failed, answers that took more than 2 s. */
  readonly errors: number;
  /** The rival's own CPU time for one request; 0 for none. */
  readonly cpuUs: number;
}

/** Prints what wrk knows as JSON; the latencies are in µs. */
const wrkReport = `
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"done":%d,"us":%d,"p50Us":%d,"p99Us":%d,"errors":%d}\\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
`;

/** An nginx that answers at once, as often as it is asked on a connection. */
const answeringConf = `user www-data;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log stderr;
events { worker_connections 8192; }
http {
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    server {
        listen ${ports.http} backlog=4096;
        return 200 "one answer, not long\\n";
    }
}
`;

/** Starts what answers behind all rivals. */
export async function startUpstreams(rig: Rig): Promise<void> {
  await rig.packaged('upstream', 'answering', { '/etc/nginx/answering.conf': answeringConf }, [
    ...['/usr/sbin/nginx', '-e', 'stderr', '-c', '/etc/nginx/answering.conf'],
    ...['-g', 'pid /run/answering.pid; daemon off;'],
  ]);
  rig.background('upstream', 'iperf', ['iperf3', '--server', '--port', String(ports.bulk)]);
  await rig.listens('upstream', ports.http);
  await rig.listens('upstream', ports.bulk);
}

/** HTTP requests over `connections` at once, each with a connection of its own where `fresh`. */
export async function ask(
  rig: Rig,
  rival: Rival,
  options: { readonly connections: number; readonly fresh: boolean; readonly seconds: number },
): Promise<Requests> {
  const script = await rig.file('report.lua', wrkReport);
  const before = await cpuUsec(rig, rival);
  const output = await rig.at('client', [
    ...['wrk', '--threads', '1', '--connections', String(options.connections)],
    ...['--duration', `${options.seconds}s`, '--script', script],
    ...(options.fresh ? ['--header', 'Connection: close'] : []),
    `http://${rig.address(rival)}:${ports.http}/`,
  ]);
  const usec = (await cpuUsec(rig, rival)) - before;
  const { done, us, p50Us, p99Us, errors } = numbersIn(output.split('\n').at(-1) ?? '');
  if (done === undefined || !(done > 0)) throw new Error(`wrk had no answer from ${rival}: ${output}`);
  return {
    perSecond: done / ((us ?? 0) / 1e6),
    p50Us: p50Us ?? 0,
    p99Us: p99Us ?? 0,
    done,
    errors: errors ?? 0,
    cpuUs: usec / done,
  };
}

/** Bytes a second over two connections, towards the upstream (`up`) or from it, and the rival's CPU time for a megabyte. */
export async function stream(
  rig: Rig,
  rival: Rival,
  options: { readonly direction: 'up' | 'down'; readonly seconds: number },
): Promise<{ bytesPerSecond: number; cpuUsPerMb: number }> {
  const before = await cpuUsec(rig, rival);
  const end = await iperf(rig, rival, [
    ...['--parallel', '2', '--time', String(options.seconds)],
    ...(options.direction === 'down' ? ['--reverse'] : []),
  ]);
  const usec = (await cpuUsec(rig, rival)) - before;
  const received = numbersIn(JSON.stringify(end['sum_received']));
  const bytes = received['bytes'] ?? 0;
  return { bytesPerSecond: (received['bits_per_second'] ?? 0) / 8, cpuUsPerMb: usec / (bytes / 1e6) };
}

/** Datagrams of 1200 bytes, QUIC's size, at a fixed rate towards the upstream. */
export async function datagrams(
  rig: Rig,
  rival: Rival,
  options: { readonly perSecond: number; readonly seconds: number },
): Promise<{ perSecond: number; lostShare: number }> {
  const bytes = 1200;
  const end = await iperf(rig, rival, [
    ...['--udp', '--length', String(bytes), '--bitrate', String(options.perSecond * bytes * 8)],
    ...['--time', String(options.seconds)],
  ]);
  const { packets = 0, lost_packets = 0, seconds = 1 } = numbersIn(JSON.stringify(end['sum']));
  return {
    perSecond: (packets - lost_packets) / seconds,
    lostShare: packets === 0 ? 1 : lost_packets / packets,
  };
}

async function iperf(
  rig: Rig,
  rival: Rival,
  options: readonly string[],
): Promise<Readonly<Record<string, unknown>>> {
  const output = await rig.at('client', [
    ...['iperf3', '--json', '--client', rig.address(rival), '--port', String(ports.bulk)],
    ...options,
  ]);
  const answer: { end?: Record<string, unknown> } = JSON.parse(output);
  return answer.end ?? {};
}

async function cpuUsec(rig: Rig, rival: Rival): Promise<number> {
  return rival === 'direct' ? 0 : (await rig.usage(rival)).cpuUsec;
}

/** The numbers of a JSON object. */
function numbersIn(text: string): Readonly<Record<string, number>> {
  const value: unknown = JSON.parse(text);
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return Object.fromEntries(
    entries.filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
  );
}
