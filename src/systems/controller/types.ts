/** What a network's controller tells of this node's membership, and what mooring asks of it. */

/** This node as a member of one network. */
export interface Member {
  readonly authorized: boolean;
  /** The newest de-authorisation was this node's own (`mooring leave`), and nobody's decision. */
  readonly hasLeft: boolean;
  /** Unix ms; 0: never. */
  readonly lastAuthorizedMs: number;
  /** Unix ms; 0: never. */
  readonly lastDeauthorizedMs: number;
  /** Undefined where the controller keeps no names. */
  readonly name: string | undefined;
  /** Assigned addresses without prefixes, sorted. */
  readonly addresses: readonly string[];
  /** Whether the network's pools are left out for it. */
  readonly noAutoAssignIps: boolean;
}

/** The newest answer about one network. `atMs` is monotonic. */
export type MemberReading =
  /** The controller has not heard of the node yet. */
  | { readonly kind: 'absent'; readonly atMs: number }
  | { readonly kind: 'known'; readonly atMs: number; readonly member: Member };

/** What is known of it so far; nobody is asked for a reading. */
export interface ControllerReading {
  /** By network id; a network that was not asked about is missing. */
  readonly members: Readonly<Record<string, MemberReading>>;
  /** Monotonic ms before which the controller wants not to be asked (429, Retry-After). */
  readonly quietUntilMs: number | undefined;
}

/** What is to be different about a member. Absent keys stay as they are. */
export interface MemberChange {
  readonly authorized?: boolean;
  readonly name?: string;
  readonly description?: string;
  /** These and no others. */
  readonly addresses?: readonly string[];
}

/**
 * A controller's API. Each call asks once, within a deadline, and renews the reading. Failures throw SystemError:
 * `controller-no-token`, `controller-refused` (401, 403), `controller-not-found` (it has no such network), `controller-busy`
 * (429), `controller-away` (no answer, 5xx), `controller-unexpected` (anything else).
 */
export interface Controller {
  read(): ControllerReading;
  look(networkId: string, address: string): Promise<void>;
  change(networkId: string, address: string, change: MemberChange): Promise<void>;
}
