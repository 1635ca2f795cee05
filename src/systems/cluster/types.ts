/** The cluster as its API tells it, as far as mooring asks. */

/** One Node object. */
export interface ClusterNode {
  readonly name: string;
  /** `address/prefix` in canonical form; none until the cluster has given it one. */
  readonly podNetworks: readonly string[];
  /** What flannel on that node has registered, and for which families; undefined where it has not. */
  readonly flannel: { readonly backend: string; readonly ipv4: boolean; readonly ipv6: boolean } | undefined;
  /** Monotonic ms at which the API was asked for it. */
  readonly atMs: number;
}

/**
 * Why the API tells nothing. `no-credentials`: k3s has left none that can be used. `refused`: the API does not let them see it.
 * `away`: it cannot be reached or is busy. `unusable`: its answer is none.
 */
export type ClusterTrouble = 'no-credentials' | 'refused' | 'away' | 'unusable';

/** The newest that is known of the nodes. */
export type ClusterReading =
  /** The answer is still to come, or nobody wants it. */
  | { readonly kind: 'unasked' }
  | {
      readonly kind: 'unknown';
      readonly reason: ClusterTrouble;
      readonly error: string;
    }
  /** An API that is away for a while takes nothing back: each node tells as of when it is. */
  | { readonly kind: 'nodes'; readonly own: string; readonly nodes: readonly ClusterNode[] };

/** What the brain wants to know, after each pass. */
export interface ClusterAim {
  /** Without a running k3s nobody is asked: its load balancer is the way to the API. */
  readonly wanted: boolean;
  /** Nodes of which it is to be known soon whether they are still there. */
  readonly doubted: readonly string[];
}

/** Asks at its own pace; `read` never waits. */
export interface ClusterProbe {
  read(): ClusterReading;
  aim(aim: ClusterAim): void;
}
