/**
 * From an ingress entry that names a Service, and what is known of that Service, to the entry with a list of upstreams.
 *
 * Always true here: an upstream is a port of this node, at 127.0.0.1 or at the node's own address, and none that the ingress or
 * mooring itself listens on. After a change of a NodePort the former one stays beside it for a while: kube-proxy follows some time
 * before or after mooring does, and whichever of the two is refused, nginx asks the other. For UDP it does not (a session whose
 * server refuses it is stuck: nginx, ngx_stream_proxy_process), so there the former one stays until the new one is seen to be served.
 */
import type { Config, IngressConfig } from '../config/schema.ts';
import type { ServicePort, ServiceReading } from '../systems/cluster/service-types.ts';

/** What `upstreams: auto` stands for: where k3s' own Traefik is. */
const autoService = 'kube-system/traefik';
/** How long a former NodePort is tried beside the one of now; kube-proxy takes seconds. */
export const formerPortMs = 30_000;
/** A Service that changes its ports all the time gets no longer list than this. */
const maxFormer = 3;

/** What an entry wants to be found. */
export interface Wish {
  /** `namespace/name`. */
  readonly service: string;
  /** The Service port's number, or its name. */
  readonly port: number | string;
}

/** A NodePort over time. */
export interface RememberedNodePort {
  readonly port: number;
  /** Those before it, the newest first, each with the monotonic ms up to which it is tried. */
  readonly former: readonly { readonly port: number; readonly untilMs: number }[];
}

/** An entry with its upstreams listed. */
export type ServedEntry = IngressConfig & {
  /** Its upstreams are ports of one server, of which one is right. */
  readonly isOneServer?: true;
};

/** Undefined where the entry lists its upstreams. */
export function wishOf({ upstreams, listen }: IngressConfig): Wish | undefined {
  if (upstreams === 'auto') return { service: autoService, port: listen };
  return Array.isArray(upstreams) ? undefined : upstreams;
}

/** The Service's port in words. */
export function portWords({ port }: Wish, { protocol }: IngressConfig): string {
  return typeof port === 'number' ? `${port}/${protocol}` : `${port} (${protocol})`;
}

/** What the entry is about among the Service's ports; what the newest answer has comes first. */
export function servicePortOf(
  wish: Wish,
  { protocol }: IngressConfig,
  ports: readonly ServicePort[],
): ServicePort | undefined {
  const fitting = ports.filter(
    (one) => one.protocol === protocol && (typeof wish.port === 'number' ? one.port : one.name) === wish.port,
  );
  return fitting.find(({ isTold }) => isTold) ?? fitting[0];
}

/** Whose port on this node it is, which no Service may lead the ingress to; undefined where it is free for one. */
export function ownerOf(
  { nodePort, protocol }: ServicePort,
  { ingress, health }: Config,
): string | undefined {
  const entry = ingress.find((one) => one.listen === nodePort && one.protocol === protocol);
  if (entry !== undefined) return `entry ${entry.name} of the ingress itself`;
  return protocol === 'tcp' && nodePort === health.port ? "mooring's own health.port" : undefined;
}

/** The NodePort of now, with those that it had a moment ago. */
export function followed(
  before: RememberedNodePort | undefined,
  port: number,
  nowMs: number,
): RememberedNodePort {
  const former = (before?.former ?? []).filter((one) => one.untilMs > nowMs && one.port !== port);
  if (before === undefined || before.port === port) return { port, former };
  return {
    port,
    former: [{ port: before.port, untilMs: nowMs + formerPortMs }, ...former].slice(0, maxFormer),
  };
}

/** Which of these are asked; `isServed` tells whether the one of now is known to be served. */
export function tried(
  { protocol }: IngressConfig,
  { port, former }: RememberedNodePort,
  isServed: boolean,
): readonly number[] {
  const [last] = former;
  if (protocol === 'udp') return [isServed || last === undefined ? port : last.port];
  return [port, ...former.map((one) => one.port)];
}

/** Where a NodePort is asked: loopback, unless a trial has shown that this node's address alone serves it. */
export function hostOf(
  { protocol }: IngressConfig,
  { reach: { tcp, udp } }: ServiceReading,
  nodeAddress: string | undefined,
): string {
  const reach = protocol === 'udp' ? (udp ?? tcp) : tcp;
  return reach?.kind === 'node' ? (nodeAddress ?? reach.address) : '127.0.0.1';
}

/** The entry, passed on to these ports. */
export function served(entry: IngressConfig, host: string, ports: readonly number[]): ServedEntry {
  const shown = host.includes(':') ? `[${host}]` : host;
  const upstreams = ports.map((port) => `${shown}:${port}`);
  return { ...entry, upstreams, ...(ports.length > 1 ? { isOneServer: true } : {}) };
}
