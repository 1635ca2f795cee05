/** Services of the cluster, as far as the ingress needs them: through which ports of this node they are reached. */
import type { ClusterTrouble } from './types.ts';

/** A port of a Service that each node serves. */
export interface ServicePort {
  /** Empty where the Service has one port without a name. */
  readonly name: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** From 1 to 65535: a cluster's range can be anything. */
  readonly nodePort: number;
  /** Whether the newest answer has it. What has gone from the Service stays known until another takes its place. */
  readonly isTold: boolean;
}

/** What the API has said of a Service since it is asked. */
export type ServiceState =
  | { readonly kind: 'unasked' }
  /** It is watched. */
  | { readonly kind: 'live'; readonly isThere: boolean }
  | { readonly kind: 'trouble'; readonly reason: ClusterTrouble; readonly error: string };

/** Where this node's NodePorts were seen to be served: kube-proxy in nftables mode leaves loopback out. */
export type Reach =
  | { readonly kind: 'loopback' }
  /** At the address that the node has in the cluster. */
  | { readonly kind: 'node'; readonly address: string };

/** That of each protocol; undefined where no trial was answered yet. */
export interface Reaches {
  readonly tcp: Reach | undefined;
  readonly udp: Reach | undefined;
}

/** One Service. */
export interface ServiceReading {
  /** The newest that is known, whatever the state of the API; none where nothing is. */
  readonly ports: readonly ServicePort[];
  /** Unix ms of the newest answer about them, in this run of mooring or in an earlier one; undefined where there was none. */
  readonly asOfMs: number | undefined;
  readonly state: ServiceState;
  /** By the newest trials that somebody answered. */
  readonly reach: Reaches;
  /** `protocol port` of the NodePorts that were served in the newest trial of them. */
  readonly answering: readonly string[];
}

/** All that are known, by `namespace/name`. */
export type ServicesReading = Readonly<Record<string, ServiceReading>>;

/** What the brain wants to know, after each pass. */
export interface ServicesAim {
  /** `namespace/name` of each. */
  readonly wanted: readonly string[];
  /** The run of k3s whose load balancer is the way to the API; undefined without one, and nobody is asked then. */
  readonly run: string | undefined;
  /** What is known of the way to the server: once it changes, a watch over the former one hears nothing more, and may not notice. */
  readonly path: string;
  /** The node's address in the cluster. */
  readonly address: string | undefined;
}

/** Follows them at its own pace; `read` never waits. */
export interface ServicesProbe {
  read(): ServicesReading;
  aim(aim: ServicesAim): void;
}
