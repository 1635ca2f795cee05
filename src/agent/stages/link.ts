/**
 * Stage `link`: whether each network's interface carries what ZeroTier says it carries. ZeroTier's `OK` comes from its
 * cache and the interface is up from the join on, so the link is ready only where API and kernel agree. Where they
 * disagree for good, ZeroTier is repaired.
 */
import type { Link } from '../../systems/netlink/types.ts';
import type { Finding } from '../conditions.ts';
import type { Memory, RememberedLink } from '../memory.ts';
import type { World } from '../world.ts';
import { nextLookMs } from './polling.ts';
import { planRepairs, type RepairNote } from './repair.ts';
import { earliest, isFalse, isTrue, isUnknown, type StageInput, type StageResult } from './stage.ts';

/** A network's link now. `unknown`: nobody can say, so nothing may be concluded from it. */
export type LinkState =
  | {
      readonly kind: 'ready';
      readonly link: Link;
      readonly addresses: readonly string[];
      readonly settled: boolean;
    }
  | {
      readonly kind: 'not-ready';
      readonly reason: string;
      readonly message: string;
      readonly link: Link | undefined;
    }
  | {
      readonly kind: 'unknown';
      readonly reason: string;
      readonly message: string;
      readonly link: Link | undefined;
    };

export interface LinkResult extends StageResult {
  readonly findings: { readonly LinkReady: Finding };
  /** By network id. */
  readonly links: Readonly<Record<string, LinkState>>;
}

const neverReady: RememberedLink = {
  fingerprint: '',
  readySinceMs: undefined,
  lostSinceMs: undefined,
  lostForMs: 0,
  outages: 0,
  isOutage: false,
  flaps: 0,
};

export function linkStage(input: StageInput): LinkResult {
  const links: Record<string, LinkState> = {};
  const repairs = planRepairs(input);
  const nowMs = input.now.monoMs;
  let { memory, wakeAtMs } = repairs;
  for (const { id } of input.config.zerotier.networks) {
    const state = judge(input, memory, id);
    const remembered = remember(memory.links[id] ?? neverReady, state, input);
    memory = { ...memory, links: { ...memory.links, [id]: remembered } };
    // One that is about to be taken down for its repair is nothing to start k3s on.
    const settled = repairs.actions.length === 0 && isSettled(remembered, input);
    links[id] = state.kind === 'ready' ? { ...state, settled } : state;
    if (state.kind === 'ready' && !isSettled(remembered, input))
      wakeAtMs = earliest(wakeAtMs, settledAtMs(remembered, input));
  }
  const waiting = isWaiting(input.world, links) ? waitingFor(input, links) : undefined;
  if (waiting !== undefined) wakeAtMs = earliest(wakeAtMs, nextLookMs(waiting.sinceMs, nowMs));
  memory = { ...memory, waiting };
  const findings = { LinkReady: sumUp(links, repairs.notes) };
  return { actions: repairs.actions, memory, wakeAtMs, findings, links };
}

/** Something is not as it should be, and ZeroTier would not tell if that changed. */
function isWaiting({ zerotier }: World, links: Readonly<Record<string, LinkState>>): boolean {
  const isOnline = zerotier.kind === 'answered' && zerotier.online;
  return !isOnline || Object.values(links).some(({ kind }) => kind !== 'ready');
}

/** What is waited for begins anew whenever anything of it moves: then it is under way. */
function waitingFor(
  { world: { zerotier }, memory, now }: StageInput,
  links: Readonly<Record<string, LinkState>>,
): NonNullable<Memory['waiting']> {
  const api = zerotier.kind === 'answered' ? `online ${zerotier.online}` : zerotier.kind;
  const seen = JSON.stringify([api, ...Object.values(links).map(({ kind, link }) => [kind, link])]);
  return memory.waiting?.seen === seen ? memory.waiting : { seen, sinceMs: now.monoMs };
}

/** Compares ZeroTier's view with the kernel's. */
function judge(input: StageInput, memory: Memory, id: string): LinkState {
  const { zerotier, links } = input.world;
  const known = memory.networks[id];
  const link = known === undefined ? undefined : links[known.device];
  if (known === undefined)
    return { kind: 'not-ready', reason: 'NoInterface', message: `network ${id} has no interface yet`, link };
  if (link === undefined) {
    return {
      kind: 'not-ready',
      reason: 'InterfaceMissing',
      message: `interface ${known.device} does not exist`,
      link,
    };
  }
  if (!link.up)
    return { kind: 'not-ready', reason: 'InterfaceDown', message: `interface ${link.name} is down`, link };
  if (zerotier.kind !== 'answered') {
    return {
      kind: 'unknown',
      reason: 'ZeroTierAway',
      message: `${link.name} is up, but zerotier-one cannot be asked`,
      link,
    };
  }
  const network = zerotier.networks.find((candidate) => candidate.id === id);
  if (network === undefined) {
    return {
      kind: 'unknown',
      reason: 'NotListed',
      message: `zerotier-one does not list network ${id} at the moment`,
      link,
    };
  }
  if (network.status !== 'OK') {
    return {
      kind: 'not-ready',
      reason: 'NotAuthorized',
      message: `network ${id} is ${network.status}`,
      link,
    };
  }
  const assigned = network.assignedAddresses;
  if (assigned.length === 0) {
    const message = `network ${id} assigns this node no address: give member ${zerotier.address} one, or an assignment pool to the network`;
    return { kind: 'not-ready', reason: 'NoAddressAssigned', message, link };
  }
  const missing = assigned.filter((address) => !link.addresses.includes(address));
  if (missing.length > 0) {
    return {
      kind: 'not-ready',
      reason: 'AddressMissing',
      message: `${link.name} lacks ${missing.join(', ')}`,
      link,
    };
  }
  if (link.mtuBytes !== network.mtuBytes) {
    const message = `${link.name} has MTU ${link.mtuBytes}, the network announces ${network.mtuBytes}`;
    return { kind: 'not-ready', reason: 'MtuDiffers', message, link };
  }
  return { kind: 'ready', link, addresses: assigned, settled: false };
}

/** What the k3s agent must be told apart by: a new fingerprint starts the settling anew. */
function fingerprintOf(state: Extract<LinkState, { kind: 'ready' }>): string {
  return `${state.link.ifindex} ${state.addresses.join(' ')}`;
}

function remember(before: RememberedLink, state: LinkState, input: StageInput): RememberedLink {
  const nowMs = input.now.monoMs;
  const lost = withOutage(before, input);
  switch (state.kind) {
    case 'unknown':
      return { ...lost, lostSinceMs: undefined, lostForMs: lostForMs(before, nowMs) };
    case 'not-ready': {
      const flaps = lost.flaps + (before.readySinceMs === undefined ? 0 : 1);
      return { ...lost, readySinceMs: undefined, lostSinceMs: before.lostSinceMs ?? nowMs, flaps };
    }
    case 'ready':
      return rememberReady(lost, fingerprintOf(state), nowMs);
    default:
      return state satisfies never;
  }
}

/** Counts the loss as an outage once it has lasted long enough. The wait for the very first address is none. */
function withOutage(before: RememberedLink, input: StageInput): RememberedLink {
  const isLong = lostForMs(before, input.now.monoMs) > input.config.k3s.restart.outage;
  if (before.fingerprint === '' || before.isOutage || !isLong) return before;
  return { ...before, outages: before.outages + 1, isOutage: true };
}

function rememberReady(before: RememberedLink, fingerprint: string, nowMs: number): RememberedLink {
  const found = { ...before, fingerprint, lostSinceMs: undefined, lostForMs: 0, isOutage: false };
  if (before.readySinceMs === undefined) return { ...found, readySinceMs: nowMs };
  if (before.fingerprint === fingerprint) return found;
  return { ...found, readySinceMs: nowMs, flaps: before.flaps + 1 };
}

/** How long the link has been known not to be ready, in all, since it last was. */
function lostForMs(link: RememberedLink, nowMs: number): number {
  return link.lostForMs + (link.lostSinceMs === undefined ? 0 : nowMs - link.lostSinceMs);
}

function settledAtMs(remembered: RememberedLink, input: StageInput): number | undefined {
  return remembered.readySinceMs === undefined
    ? undefined
    : remembered.readySinceMs + input.config.k3s.restart.settle;
}

function isSettled(remembered: RememberedLink, input: StageInput): boolean {
  const atMs = settledAtMs(remembered, input);
  return atMs !== undefined && input.now.monoMs >= atMs;
}

/** The worst link's finding, with what is done about it. */
function sumUp(
  links: Readonly<Record<string, LinkState>>,
  notes: Readonly<Record<string, RepairNote>>,
): Finding {
  const states = Object.entries(links);
  for (const [id, state] of states) {
    if (state.kind === 'not-ready') return isFalse(state.reason, phrases(state.message, notes[id]?.remedy));
  }
  for (const [, state] of states) {
    if (state.kind === 'unknown') return isUnknown(state.reason, state.message);
  }
  const parts = states.map(([id, state]) =>
    state.kind === 'ready'
      ? phrases(
          `${state.link.name} carries ${state.addresses.join(', ')}`,
          notes[id]?.wrong,
          notes[id]?.remedy,
        )
      : '',
  );
  return isTrue('Agreed', parts.join('; '));
}

const phrases = (...parts: readonly (string | undefined)[]) =>
  parts.filter((part) => part !== undefined && part !== '').join('; ');
