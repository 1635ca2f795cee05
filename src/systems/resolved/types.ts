/** Per-link DNS as systemd-resolved holds it. */

/** One entry of a link's domain list. */
export interface DnsDomain {
  /** Without a trailing dot; `.` for the root. */
  readonly name: string;
  readonly routingOnly: boolean;
}

/** A link's DNS settings: what is wanted, and in the same shape what is read back. */
export interface LinkDns {
  /** IP addresses in canonical text form, in order of preference. */
  readonly servers: readonly string[];
  readonly domains: readonly DnsDomain[];
  readonly defaultRoute: boolean;
}

/** What resolved holds now, read from its Link objects, never remembered. */
export type DnsReading =
  /** Nobody answers for systemd-resolved: not installed, masked, stopped, stuck, or cut off the bus. */
  | {
      readonly kind: 'absent';
      readonly error: string;
      /** The bus says that nobody has resolved's name. */
      readonly isOffBus: boolean;
    }
  | {
      readonly kind: 'present';
      /** By ifindex; an ifindex that resolved does not know yet has no entry. */
      readonly links: Readonly<Record<number, LinkDns>>;
      /** `stub`, `uplink`, `static`, `missing`, `foreign`: whether /etc/resolv.conf leads to resolved. */
      readonly resolvConfMode: string;
    };

/** Sets and reads per-link DNS, through networkd where networkd owns the link. Failures throw SystemError. */
export interface Resolved {
  read(ifindexes: readonly number[]): Promise<DnsReading>;
  /**
   * Sets servers, domains and default route. Returns who took it. Throws `no-such-link`, `resolved-absent`,
   * `networkd-absent` (the link is networkd's, and networkd is not on the bus), `dns-refused`.
   */
  set(ifindex: number, want: LinkDns): Promise<'resolved' | 'networkd'>;
  /** Takes back everything set on the link; a link that is gone is fine. */
  revert(ifindex: number): Promise<void>;
}
