/** What k3s is bound to from its start on. A settled node whose epoch differs from the running k3s' is restarted once. */
import type { RestartReason } from './actions.ts';

export interface Epoch {
  readonly ifindex: number;
  readonly addresses: readonly string[];
  /** The rendered config. Secrets are not in it. */
  readonly config: string;
  /** Identity of the executable. */
  readonly binary: string;
  /** The link's outages longer than `k3s.restart.outage`. */
  readonly outages: number;
}

/** Whether both are the same in everything. */
export function sameEpoch(left: Epoch, right: Epoch): boolean {
  return epochDifference(left, right) === undefined;
}

/** The first reason for which `current` asks for a restart of what runs under `bound`, or undefined. */
export function epochDifference(bound: Epoch, current: Epoch): RestartReason | undefined {
  if (bound.ifindex !== current.ifindex) return 'ifindex';
  if (bound.addresses.join() !== current.addresses.join()) return 'address';
  if (bound.config !== current.config) return 'config';
  if (bound.binary !== current.binary) return 'binary';
  if (bound.outages !== current.outages) return 'outage';
  return undefined;
}
