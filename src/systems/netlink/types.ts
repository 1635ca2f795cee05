/** The kernel's network interfaces, as far as mooring reads them. */

/** One existing interface. */
export interface Link {
  readonly name: string;
  readonly ifindex: number;
  /** IFF_UP. */
  readonly up: boolean;
  readonly mtuBytes: number;
  /** ifindex of the device below (a vlan's, vxlan's or veth's); the own ifindex where there is none. */
  readonly parentIfindex: number;
  /** `address/prefix`, IPv4 and IPv6 without link-local, sorted. Only an interface that is up and running shows any. */
  readonly addresses: readonly string[];
  /** Those of `addresses` whose network has no route through the interface, though the kernel makes one with each. */
  readonly unrouted: readonly string[];
}

/** One of this host's addresses. */
export interface HostAddress {
  /** In canonical form, without prefix and zone. */
  readonly address: string;
  readonly device: string;
  readonly isLinkLocal: boolean;
  /** Whether the default route of the address's family leads through the device. */
  readonly onDefaultRoute: boolean;
}

/** By name; an interface that is not there has no entry. */
export type LinksReading = Readonly<Record<string, Link>>;

/** Reads interfaces and tells of changes. */
export interface Netlink {
  read(): Promise<LinksReading>;
}

/** One of flannel's vxlan devices. */
export interface FlannelDevice {
  /** `flannel.1`, `flannel-v6.1`. */
  readonly name: string;
  readonly ifindex: number;
  /** ifindex of the device that carries its packets. */
  readonly parentIfindex: number;
  /** The address its packets are sent from, undefined where it could not be read. */
  readonly local: string | undefined;
  /** Other nodes' pod networks that are routed through it, `address/prefix` in canonical form. */
  readonly routes: readonly string[];
  /** Networks with a gateway on the device below: where flannel routes directly, other nodes' pod networks are among them. */
  readonly direct: readonly string[];
}
