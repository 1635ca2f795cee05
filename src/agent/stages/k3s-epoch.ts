/**
 * Which epoch k3s would start under now, and which one the running k3s was started under. A run is judged by the time of
 * its start against a short history of what it could have taken over: whoever started it, and whether mooring looked or not.
 */
import type { UnitReading } from '../../systems/systemd/types.ts';
import { budgetPolicy, fullBudget, spent } from '../budget.ts';
import { type Epoch, sameEpoch } from '../epoch.ts';
import type { Memory } from '../memory.ts';
import { k3sUnit } from '../world.ts';
import { type ReadyLink, wantedNodeName } from './k3s-wanted.ts';
import type { LinkState } from './link.ts';
import type { StageInput } from './stage.ts';

/** The epoch of a run that began before anything that is remembered: equal to no other, so it will be restarted. */
const nothingSeen: Epoch = { ifindex: 0, addresses: [], config: '', binary: '', outages: 0 };

/** What k3s is to run under: the ready link, and the config that is wanted on it. */
export function wantedEpoch(input: StageInput, networkId: string, link: ReadyLink, config: string): Epoch {
  return {
    ifindex: link.link.ifindex,
    addresses: link.addresses,
    config,
    binary: input.world.k3s.binary ?? '',
    outages: input.memory.links[networkId]?.outages ?? 0,
  };
}

/**
 * What a k3s that starts at this moment takes over, by the kernel and the disk alone: whether ZeroTier answers makes no
 * difference to it. Undefined without a device, on which none can start.
 */
export function seenEpoch(
  input: StageInput,
  networkId: string,
  link: LinkState | undefined,
): Epoch | undefined {
  const device = link?.link;
  if (device === undefined) return undefined;
  const { config } = input.world.k3s;
  const assigned = input.memory.networks[networkId]?.assignedAddresses ?? [];
  return {
    ifindex: device.ifindex,
    // The addresses of a device that is down do not show, and stay on it.
    addresses: device.up ? assigned.filter((address) => device.addresses.includes(address)) : assigned,
    config: config.kind === 'present' ? config.text : '',
    binary: input.world.k3s.binary ?? '',
    outages: input.memory.links[networkId]?.outages ?? 0,
  };
}

/** How many changes back it is known what a k3s that started then took over. */
const seenKept = 8;

/** Notes since when a k3s that starts would take over what it would take over now. */
export function noteSeen(memory: Memory, epoch: Epoch | undefined, nowMs: number): Memory {
  const newest = memory.seen.at(-1);
  if (epoch === undefined || (newest !== undefined && sameEpoch(newest.epoch, epoch))) return memory;
  // The first that is ever seen has been so for as long as anybody knows.
  const sinceMs = newest === undefined ? 0 : nowMs;
  return { ...memory, seen: [...memory.seen, { epoch, sinceMs }].slice(-seenKept) };
}

/**
 * Notes under what the running k3s was started, whoever started it: what was seen last before its start. Where mooring's
 * memory is gone, that is the current link, and the config that is on disk.
 */
export function noteBound(memory: Memory, unit: UnitReading | undefined, input: StageInput): Memory {
  if (unit === undefined || unit.invocationId === '') return memory;
  if (!['active', 'activating'].includes(unit.activeState)) return memory;
  // While ExecCondition= and ExecStartPre= run, the time of the start is that of the former run, or none.
  if (unit.mainPid === 0) return memory;
  const { invocationId, startedMs } = unit;
  if (memory.bound?.invocationId === invocationId) return memory;
  const seen = memory.seen.findLast((candidate) => candidate.sinceMs <= startedMs);
  const bound = { invocationId, startedMs, epoch: seen?.epoch ?? nothingSeen };
  const noted = { ...memory, bound, nodeName: wantedNodeName(input) };
  return wasAsked(memory) ? noted : withUnasked(noted, input);
}

/** Whether mooring asked for a run that follows the one that it remembers; it may have for the first that it sees. */
function wasAsked({ attempts, bound }: Memory): boolean {
  if (bound === undefined) return true;
  const asked = [attempts[`unit.start:${k3sUnit}`], attempts[`unit.restart:${k3sUnit}`]];
  return asked.some((attempt) => attempt !== undefined && attempt.lastMs >= bound.startedMs);
}

/** A run that mooring did not ask for counts against the budget as well. */
function withUnasked(memory: Memory, input: StageInput): Memory {
  const policy = budgetPolicy(input);
  const nowMs = input.now.monoMs;
  const budget = spent(memory.budgets[k3sUnit] ?? fullBudget(policy, nowMs), policy, nowMs);
  return {
    ...memory,
    budgets: { ...memory.budgets, [k3sUnit]: budget },
    unaskedStarts: memory.unaskedStarts + 1,
  };
}
