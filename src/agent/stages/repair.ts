/**
 * Repairs of ZeroTier itself. zerotier-one never mends what a third party does to its interface, and says OK for ever:
 * - the interface was deleted: the network is left and joined again;
 * - it was set down, lost an assigned address or the route to its network, or kept a former one: zerotier-one is restarted.
 * What always holds: nothing is repaired unless the API answers, is online and says OK, and the kernel has disagreed for
 * the whole patience; not while zerotier-one or the interface is young; and only within each repair's own budget.
 */
import type { Link } from '../../systems/netlink/types.ts';
import type { UnitReading } from '../../systems/systemd/types.ts';
import type { ZeroTierNetwork } from '../../systems/zerotier/types.ts';
import { type Action, actionKey } from '../actions.ts';
import { budgetKey, budgetOf, fullBudget, nextAllowedMs } from '../budget.ts';
import { cleared, type Memory, type RememberedTrouble } from '../memory.ts';
import { zerotierUnit } from '../world.ts';
import { nextLookMs } from './polling.ts';
import { earliest, type StageInput, type StageResult } from './stage.ts';

/** So many former addresses of a network are known again. */
const mostAddresses = 16;

export interface Repairs extends StageResult {
  /** By network id, where something is to be repaired: what is wrong, and what is done about it. */
  readonly notes: Readonly<Record<string, RepairNote>>;
}

export interface RepairNote {
  /** Empty where the link is not ready anyway, since its own message tells. */
  readonly wrong: string;
  /** What mooring does and when, or what a person can do. */
  readonly remedy: string;
}

export function planRepairs(input: StageInput): Repairs {
  const { zerotier, links } = input.world;
  const listed = zerotier.kind === 'answered' ? zerotier.networks : [];
  const isSound = zerotier.kind === 'answered' && zerotier.online;
  const nowMs = input.now.monoMs;
  const former = input.memory.repair;
  const answeringSinceMs = isSound ? (former.answeringSinceMs ?? nowMs) : undefined;
  let memory: Memory = { ...input.memory, repair: { ...former, answeringSinceMs } };
  const notes: Record<string, RepairNote> = {};
  const due: Action[] = [];
  let wakeAtMs: number | undefined;
  for (const { id } of input.config.zerotier.networks) {
    const network = listed.find((one) => one.id === id);
    const before = former.networks[id] ?? neverSeen;
    const link = links[network?.portDeviceName || (memory.networks[id]?.device ?? '')];
    const trouble = network === undefined || !isSound ? undefined : troubleOf(network, link, before);
    const seen = remember(before, { network, link, trouble }, nowMs);
    memory = { ...memory, repair: { ...memory.repair, networks: { ...memory.repair.networks, [id]: seen } } };
    if (trouble !== 'missing') memory = cleared(memory, [actionKey({ do: 'zerotier.rejoin', network: id })]);
    if (trouble === undefined) continue;
    const step = decide({ ...input, memory }, id, trouble, seen);
    notes[id] = { wrong: wrongOf(trouble, link, network), remedy: step.remedy };
    // An interruption has to be seen.
    if (step.atMs !== undefined) wakeAtMs = earliest(wakeAtMs, step.atMs, nextLookMs(seen.sinceMs, nowMs));
    if (step.isDue) due.push(step.action);
  }
  const restart = due.find((action) => action.do === 'unit.restart');
  // A restart of zerotier-one makes every interface anew.
  const actions = restart === undefined ? due : [restart];
  return { actions, memory: withoutDoneRestart(memory), wakeAtMs, notes };
}

const neverSeen: RememberedTrouble = {
  kind: undefined,
  sinceMs: 0,
  ifindex: undefined,
  appearedMs: 0,
  assignedOnce: [],
};

/**
 * `missing`: the device; `down`; `bare`: an assigned address is not on it; `unrouted`: the route to such an address' network is
 * gone; `stale`: an address is on it that formerly was assigned.
 */
type Trouble = 'missing' | 'down' | 'bare' | 'unrouted' | 'stale';

function troubleOf(
  network: ZeroTierNetwork,
  link: Link | undefined,
  before: RememberedTrouble,
): Trouble | undefined {
  if (network.status !== 'OK' || network.portDeviceName === '') return undefined;
  if (link === undefined) return 'missing';
  if (!link.up) return 'down';
  if (network.assignedAddresses.some((address) => !link.addresses.includes(address))) return 'bare';
  if (unroutedOn(network, link).length > 0) return 'unrouted';
  return staleOn(network, link, before.assignedOnce).length > 0 ? 'stale' : undefined;
}

const unroutedOn = (network: ZeroTierNetwork, link: Link): readonly string[] =>
  network.assignedAddresses.filter((address) => link.unrouted.includes(address));

/** Addresses that the network gave once and gives no more. Those that somebody else put there are none of mooring's business. */
function staleOn(network: ZeroTierNetwork, link: Link, assignedOnce: readonly string[]): readonly string[] {
  return link.addresses.filter(
    (address) => assignedOnce.includes(address) && !network.assignedAddresses.includes(address),
  );
}

interface Seen {
  readonly network: ZeroTierNetwork | undefined;
  readonly link: Link | undefined;
  readonly trouble: Trouble | undefined;
}

function remember(before: RememberedTrouble, seen: Seen, nowMs: number): RememberedTrouble {
  const { network, link, trouble } = seen;
  const isNew = link !== undefined && link.ifindex !== before.ifindex;
  const assigned = network?.status === 'OK' ? network.assignedAddresses : [];
  const assignedOnce = [...before.assignedOnce.filter((one) => !assigned.includes(one)), ...assigned];
  return {
    kind: trouble,
    sinceMs: trouble === before.kind ? before.sinceMs : nowMs,
    ifindex: link?.ifindex ?? before.ifindex,
    appearedMs: isNew ? nowMs : before.appearedMs,
    assignedOnce: assignedOnce.slice(-mostAddresses),
  };
}

/** The restart's record is over once no network needs one. */
function withoutDoneRestart(memory: Memory): Memory {
  const kinds = Object.values(memory.repair.networks).map((one) => one.kind);
  const wantsRestart = kinds.some((kind) => kind !== undefined && kind !== 'missing');
  return wantsRestart ? memory : cleared(memory, [actionKey(restartAction)]);
}

const restartAction: Action = { do: 'unit.restart', unit: zerotierUnit, reason: 'repair' };

interface Step {
  readonly action: Action;
  readonly isDue: boolean;
  /** When to look again; undefined where nothing will be done. */
  readonly atMs: number | undefined;
  readonly remedy: string;
}

function decide(input: StageInput, id: string, trouble: Trouble, seen: RememberedTrouble): Step {
  const { config, memory, now, world } = input;
  const { repair } = config.zerotier;
  const isRejoin = trouble === 'missing';
  const action: Action = isRejoin ? { do: 'zerotier.rejoin', network: id } : restartAction;
  const byHand = isRejoin
    ? `zerotier-cli leave ${id}; zerotier-cli join ${id}`
    : `systemctl restart zerotier-one`;
  const leave = (why: string): Step => ({
    action,
    isDue: false,
    atMs: undefined,
    remedy: `${why}: ${byHand}`,
  });
  if (isRejoin ? !repair.rejoin : !repair.restart)
    return leave(
      `mooring does not repair that (zerotier.repair.${isRejoin ? 'rejoin' : 'restart'} is false)`,
    );
  const unit = world.units.kind === 'answered' ? world.units.units[zerotierUnit] : undefined;
  if (unit === undefined || !isRunning(unit))
    return leave(`mooring does not repair that, since ${zerotierUnit} is ${stateOf(unit)}`);
  const policy = budgetOf(action, config);
  const budget = memory.budgets[budgetKey(action) ?? ''] ?? fullBudget(policy, now.monoMs);
  const allowedMs = nextAllowedMs(budget, policy, now.monoMs);
  const attempt = memory.attempts[actionKey(action)];
  const ripeMs = Math.max(
    seen.sinceMs + repair.patience,
    (memory.repair.answeringSinceMs ?? now.monoMs) + repair.grace,
    seen.appearedMs + repair.grace,
    unit.startedMs + repair.pause,
    attempt === undefined ? 0 : Math.max(attempt.notBeforeMs, attempt.lastMs + repair.pause),
  );
  const atMs = Math.max(ripeMs, allowedMs);
  const what = isRejoin ? 'leaves and joins the network' : `restarts ${zerotierUnit}`;
  const failed = attempt?.error === undefined ? '' : ` (the last try failed: ${attempt.error})`;
  if (atMs <= now.monoMs)
    return { action, isDue: true, atMs: now.monoMs + 1_000, remedy: `mooring ${what} now${failed}` };
  // In whole seconds: the two clocks drift, and each new sentence is a message to systemd.
  const when = new Date(Math.ceil((now.wallMs + (atMs - now.monoMs)) / 1_000) * 1_000).toISOString();
  const remedy =
    allowedMs > ripeMs
      ? `the repairs are used up (${policy.count} in ${policy.periodMs / 1_000} s), mooring ${what} at ${when}; by hand: ${byHand}${failed}`
      : `if that lasts, mooring ${what} at ${when}${failed}`;
  return { action, isDue: false, atMs, remedy };
}

function isRunning(unit: UnitReading): boolean {
  return unit.loadState === 'loaded' && unit.activeState === 'active' && unit.job === undefined;
}

function stateOf(unit: UnitReading | undefined): string {
  if (unit === undefined) return 'not known to systemd, or systemd cannot be asked';
  if (unit.loadState !== 'loaded') return unit.loadState;
  return unit.job === undefined ? unit.activeState : `${unit.activeState} with a job under way`;
}

/** What the link's own message does not tell. */
function wrongOf(trouble: Trouble, link: Link | undefined, network: ZeroTierNetwork | undefined): string {
  if (link === undefined || network === undefined) return '';
  if (trouble === 'unrouted')
    return `the route to the network of ${unroutedOn(network, link).join(', ')} through ${link.name} is gone`;
  if (trouble !== 'stale') return '';
  const others = link.addresses.filter((address) => !network.assignedAddresses.includes(address));
  return `${link.name} keeps an address that is no longer assigned (of ${others.join(', ')})`;
}
