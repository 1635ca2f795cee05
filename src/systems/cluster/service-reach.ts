/**
 * Where NodePorts are served on this node, found by trying. kube-proxy serves them on 127.0.0.1 in iptables mode (k3s' default),
 * where a link that is away does them no harm, and not in nftables mode; on ::1 in neither (Kubernetes, "Virtual IPs and Service
 * Proxies"). A connection is opened and closed, nothing is sent.
 */
import { createConnection } from 'node:net';
import type { Reach, ServicePort } from './service-types.ts';

/** Whether somebody takes a connection there, within a deadline of its own. Never rejects. */
export type TryConnect = (host: string, port: number) => Promise<boolean>;

/** Whoever serves, serves all of them. */
const maxPorts = 4;
const connectDeadlineMs = 1_000;

/** Where the TCP ports are served, or undefined where nobody answers, which says nothing: kube-proxy or the pod may be away. */
export async function tryReach(
  ports: readonly ServicePort[],
  address: string | undefined,
  connect: TryConnect = tryConnect,
): Promise<Reach | undefined> {
  const numbers = ports.filter(({ protocol }) => protocol === 'tcp').map(({ nodePort }) => nodePort);
  for (const port of numbers.slice(0, maxPorts)) {
    if (await connect('127.0.0.1', port)) return { kind: 'loopback' };
    if (address === undefined || !(await connect(address, port))) continue;
    // Once more: kube-proxy may have begun to serve it between the two.
    return (await connect('127.0.0.1', port)) ? { kind: 'loopback' } : { kind: 'node', address };
  }
  return undefined;
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
