/** The ports that the ingress listens at, as the kernel has them: whose sockets are there, and who gets what comes there. */

/** A port, and the address that it is listened at: `0.0.0.0` and `::` are all of their family. */
export interface Listen {
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
}

/** Sockets that take what comes to their port. */
export interface Holder extends Listen {
  /** The user that made them: a name, or a number that has none. */
  readonly user: string;
  /** How many there are: several programs of one user may share a port (SO_REUSEPORT), as nginx' workers do. */
  readonly sockets: number;
}

export interface DoorsReading {
  /** Who listens at the ports that were asked about, nginx among them; undefined while nobody asks, or nothing can be read. */
  readonly holders: readonly Holder[] | undefined;
  /** TCP ports at which nginx listens while connections to them end somewhere else, as by a NAT rule. */
  readonly redirected: readonly Redirected[];
}

/** A port that was taken away without a socket. */
export interface Redirected {
  /** The address of this node that was tried. */
  readonly address: string;
  readonly port: number;
}

/** What the brain wants to know, after each pass. */
export interface DoorsAim {
  /** Whose sockets are at these; empty: nobody asks. */
  readonly holdersOf: readonly Listen[];
  /** Which ports are tried whether nginx gets what comes there. Others, and those of UDP, are not. */
  readonly tried: readonly Listen[];
  /** nginx serves them now, by the config of this generation; undefined: they are not tried at the moment. */
  readonly servedBy: string | undefined;
}

export interface Doors {
  read(): Promise<DoorsReading>;
  aim(aim: DoorsAim): void;
}
