/** A D-Bus connection as the adapters see it: typed messages out, bodies and signals in. */

/** One method call. `body` must fit `signature`: structs and arrays as arrays, `ay` as Buffer, `v` as {@link Variant}. */
export interface BusRequest {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly unknown[];
  /** How long to wait for the answer, ms; the bus has a default. */
  readonly deadlineMs?: number;
  /** False asks the bus not to start the service if it is not running. True by default. */
  readonly autoStart?: boolean;
}

/** A broadcast signal that one of the match rules let through. */
export interface BusSignal {
  /** Unique name of the sender. The bus vouches for it, and the match rules tie it to the service's name. */
  readonly sender: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly unknown[];
}

/** A value whose type travels with it. */
export interface Variant {
  readonly signature: string;
  readonly value: unknown;
}

/** One connection that comes back by itself. */
export interface Bus {
  readonly connected: boolean;
  /** How often a connection was made: 1 after the first. A new number means that the service forgot our subscriptions. */
  readonly connections: number;
  /**
   * Sends a call and gives the body of the answer. Calls made in a row are sent in that order without waiting for each
   * other. While the connection is being made they wait for it; while it is away they fail at once.
   * Throws SystemError `dbus-disconnected`, `dbus-deadline`, or the error's D-Bus name as its code.
   */
  call(request: BusRequest): Promise<readonly unknown[]>;
  /** Registers a handler for every signal, for good. */
  onSignal(handler: (signal: BusSignal) => void): void;
  /** Registers a handler for the end of a connection, for good. */
  onDisconnect(handler: (reason: string) => void): void;
  /** Ends the connection; pending calls fail. */
  close(): void;
}
