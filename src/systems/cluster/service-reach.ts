/**
 * Which NodePorts are served on this node, and where, found by trying. kube-proxy serves them on 127.0.0.1 in iptables mode (k3s'
 * default), where a link that is away does them no harm, and not in nftables mode; on ::1 in neither (Kubernetes, "Virtual IPs and
 * Service Proxies"). For TCP a connection is opened and closed; for UDP an empty datagram is sent: what nobody serves is refused by
 * the kernel at once.
 */
import { createSocket } from 'node:dgram';
import { createConnection, isIPv6 } from 'node:net';
import type { Reach, Reaches, ServicePort } from './service-types.ts';

/** Whether somebody takes it there, within a deadline of its own. Never rejects. */
export type TryPort = (host: string, port: number, protocol: ServicePort['protocol']) => Promise<boolean>;

/** What a trial has shown. */
export interface Trial {
  /** Undefined where nobody answers, which says nothing: kube-proxy or the pod may be away. */
  readonly reach: Reaches;
  /** The ports that are served there. */
  readonly answering: readonly ServicePort[];
}

/** Whoever serves one, serves all of them, so a few are enough to find out where. */
const maxForReach = 4;
/** More are not looked at one by one. */
const maxPorts = 32;
const connectDeadlineMs = 1_000;
/** The kernel refuses within microseconds on a quiet machine. */
const refusalMs = 100;

/** Tries these ports at 127.0.0.1 and at the node's address. */
export async function tryPorts(
  ports: readonly ServicePort[],
  address: string | undefined,
  attempt: TryPort = tryPort,
): Promise<Trial> {
  const of = (wanted: ServicePort['protocol']) => ports.filter(({ protocol }) => protocol === wanted);
  const [tcp, udp] = await Promise.all([
    reachOf(of('tcp'), address, attempt),
    reachOf(of('udp'), address, attempt),
  ]);
  const tried = ports.slice(0, maxPorts).map(async (port) => {
    const reach = port.protocol === 'tcp' ? tcp : udp;
    const host = reach?.kind === 'node' ? reach.address : '127.0.0.1';
    const isServed = reach !== undefined && (await attempt(host, port.nodePort, port.protocol));
    return isServed ? [port] : [];
  });
  return { reach: { tcp, udp }, answering: (await Promise.all(tried)).flat() };
}

async function reachOf(
  ports: readonly ServicePort[],
  address: string | undefined,
  attempt: TryPort,
): Promise<Reach | undefined> {
  for (const { nodePort, protocol } of ports.slice(0, maxForReach)) {
    if (await attempt('127.0.0.1', nodePort, protocol)) return { kind: 'loopback' };
    if (address === undefined || !(await attempt(address, nodePort, protocol))) continue;
    // Once more: kube-proxy may have begun to serve it between the two.
    const isLoopback = await attempt('127.0.0.1', nodePort, protocol);
    return isLoopback ? { kind: 'loopback' } : { kind: 'node', address };
  }
  return undefined;
}

/** With real connections and datagrams. */
export function tryPort(host: string, port: number, protocol: ServicePort['protocol']): Promise<boolean> {
  return protocol === 'tcp' ? tryConnect(host, port) : tryDatagram(host, port);
}

/** A TCP connection that is closed as soon as it stands. */
export function tryConnect(host: string, port: number, deadlineMs = connectDeadlineMs): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const finish = (isOpen: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isOpen);
    };
    const timer = setTimeout(() => finish(false), deadlineMs);
    socket.on('connect', () => finish(true));
    socket.on('error', () => finish(false));
  });
}

/** Whether nobody refuses a datagram. */
function tryDatagram(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    let isOver = false;
    const finish = (isTaken: boolean) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      socket.close(() => resolve(isTaken));
    };
    const timer = setTimeout(() => finish(true), refusalMs);
    socket.on('message', () => finish(true));
    socket.on('error', () => finish(false));
    socket.connect(port, host, () => socket.send(''));
  });
}
