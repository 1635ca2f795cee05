/** What zerotier-one's local API tells, and what mooring asks of it. Shapes as zerotier-one 1.14 answers. */

/** `status` of a network. The empty string and values yet unknown are read as `UNKNOWN`. */
export type NetworkStatus =
  | 'REQUESTING_CONFIGURATION'
  | 'OK'
  | 'ACCESS_DENIED'
  | 'NOT_FOUND'
  | 'PORT_ERROR'
  | 'CLIENT_TOO_OLD'
  | 'AUTHENTICATION_REQUIRED'
  | 'UNKNOWN';

/** One joined network. `multicastSubscriptions` changes in a steady state and is left out on purpose. */
export interface ZeroTierNetwork {
  /** 16 lower-case hex digits. */
  readonly id: string;
  readonly name: string;
  readonly status: NetworkStatus;
  /** The interface's name, e.g. `zt5z3ovhj4`; the only source for it. Empty where there is none. */
  readonly portDeviceName: string;
  readonly mac: string;
  readonly mtuBytes: number;
  /** `address/prefix`, IPv4 and IPv6, sorted. */
  readonly assignedAddresses: readonly string[];
  /** What the network pushes; both empty where it pushes nothing. */
  readonly dns: { readonly domain: string; readonly servers: readonly string[] };
}

/** One peer's freshness, for the controller of a configured network. */
export interface ZeroTierPeer {
  /** 10 hex digits. */
  readonly address: string;
  /** ms before the reading that the newest path received anything; undefined where nothing ever came. */
  readonly lastReceiveAgeMs: number | undefined;
}

/** One look at the local API. Every kind is a normal value. */
export type ZeroTierReading =
  /** No API token yet: zerotier-one is not installed or has never started. */
  | { readonly kind: 'no-token' }
  /** The token is not accepted (it changed, or is not zerotier-one's). */
  | { readonly kind: 'unauthorized' }
  /** Refused, reset, timed out, or no JSON. */
  | { readonly kind: 'unreachable'; readonly error: string }
  | {
      readonly kind: 'answered';
      /** This node's address, 10 hex digits. */
      readonly address: string;
      readonly version: string;
      /** A start-up signal, not a liveness signal: stays true for 500 s after the path is gone. */
      readonly online: boolean;
      /** `.config.settings.interfacePrefixBlacklist` as in force now. */
      readonly interfacePrefixBlacklist: readonly string[];
      /** `.config.settings.listeningOn`: `address/port` of each bound UDP socket. */
      readonly listeningOn: readonly string[];
      /** Sorted by id. An empty list right after zerotier-one's start is no evidence. */
      readonly networks: readonly ZeroTierNetwork[];
      readonly peers: readonly ZeroTierPeer[];
    };

/** The local API. Each call has its own deadline; failures throw SystemError. */
export interface ZeroTier {
  read(): Promise<ZeroTierReading>;
  /** Joins, idempotently. Throws `zerotier-join-refused` where the answer is `{}` (no tun device). */
  join(networkId: string): Promise<void>;
  /** Leaves, idempotently. */
  leave(networkId: string): Promise<void>;
  /**
   * Leaves and joins with the settings that the network had (`zerotier-cli set`), which makes its interface anew. Throws where it
   * is not joined, and as `join` does.
   */
  rejoin(networkId: string): Promise<void>;
  /** Lets ZeroTier merge the list into its `local.conf` and reload (POST /config/settings). In force up to 30 s later. */
  setInterfacePrefixBlacklist(prefixes: readonly string[]): Promise<void>;
}
