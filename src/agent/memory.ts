/**
 * What must be known from one pass to the next, and over a restart of mooring: kept in /run, so that it ends with the
 * boot, as everything that it tells of does. Plain data; each change is a pure function. It never holds a secret.
 */
import type { CloudFacts } from '../systems/cloud/types.ts';
import type { Listen } from '../systems/doors/types.ts';
import type { Action, Outcome, RestartReason } from './actions.ts';
import { actionKey } from './actions.ts';
import { type Attempt, attemptBegun } from './attempts.ts';
import { backoffPolicy } from './backoff.ts';
import { type Budget, type BudgetPolicy, budgetKey, drawn, fullBudget } from './budget.ts';
import type { Condition } from './conditions.ts';
import type { Epoch } from './epoch.ts';
import type { RememberedNodePort } from './upstreams.ts';
import { ingressUnit } from './world.ts';

/** The newest that ZeroTier told of a network, for the moments in which its API is away. */
export interface RememberedNetwork {
  readonly device: string;
  /** Whether the controller's configuration has ever arrived; until then the rest says nothing. */
  readonly configured: boolean;
  readonly assignedAddresses: readonly string[];
  readonly mtuBytes: number;
  readonly dns: { readonly domain: string; readonly servers: readonly string[] };
}

/** A network's link over time. */
export interface RememberedLink {
  /** `ifindex addresses` while ready; changes start the settling anew. */
  readonly fingerprint: string;
  /** Monotonic ms since the link is ready under this fingerprint; undefined while it is not. */
  readonly readySinceMs: number | undefined;
  /** Monotonic ms since which it is known not to be ready; undefined while it is, or while nobody knows. */
  readonly lostSinceMs: number | undefined;
  /** How long it was known not to be ready before `lostSinceMs`, in this loss: time in which nobody knew is left out. */
  readonly lostForMs: number;
  /** Losses longer than `k3s.restart.outage` so far; each counts from the moment on at which it became that long. */
  readonly outages: number;
  /** Whether the loss of now is among them. */
  readonly isOutage: boolean;
  /** Times that it went from ready to not ready, or came back under another fingerprint. */
  readonly flaps: number;
}

/** Silence beyond a link that ZeroTier and the kernel call fine. */
export interface RememberedSilence {
  /** Monotonic ms since which everything beyond the link of k3s is silent; undefined while something answers, or nobody knows. */
  readonly sinceMs: number | undefined;
  /** It has been counted as an outage of the link, and the server has not answered since. */
  readonly isOutage: boolean;
  /** Monotonic ms at which the newest such outage was over. */
  readonly endedMs: number | undefined;
}

/** What the running k3s was started under. */
export interface Bound {
  readonly invocationId: string;
  /** Monotonic ms of its start. */
  readonly startedMs: number;
  readonly epoch: Epoch;
}

/** An epoch as observed, whether or not anything runs under it. */
export interface Seen {
  readonly epoch: Epoch;
  /** Monotonic ms of the first pass that saw it; it may be a little older. */
  readonly sinceMs: number;
}

/** nginx' program, by identity of its files. */
export interface RememberedProgram {
  readonly installed: string;
  /** Monotonic ms of the first pass that saw it; 0 for the first that was ever seen. */
  readonly sinceMs: number;
  /** What was installed before. */
  readonly before: string | undefined;
  /** Invocation of the unit that `running` is about. */
  readonly run: string;
  readonly running: string;
}

/** flannel's devices, as far as they have been seen. */
export interface RememberedPodNetwork {
  /** Names seen since the boot. */
  readonly devices: readonly string[];
  /** `invocation device` of each that had routes in the current run of k3s. */
  readonly routed: readonly string[];
  /** Monotonic ms since which something of it is wrong; undefined while nothing is, or nobody can tell. */
  readonly badSinceMs: number | undefined;
  /** A restart was asked for since it was last fine. */
  readonly wasAsked: boolean;
  /** The run of k3s in which it was asked for: while that lasts, the restart has not come about. */
  readonly askedIn?: string | undefined;
}

/** What ZeroTier and the kernel disagree about, of one network. */
export interface RememberedTrouble {
  /** Undefined while they agree, or while nobody can tell. */
  readonly kind: 'missing' | 'down' | 'bare' | 'unrouted' | 'stale' | undefined;
  /** Monotonic ms since `kind` is what it is. */
  readonly sinceMs: number;
  /** The newest interface that was seen. */
  readonly ifindex: number | undefined;
  /** Monotonic ms at which that was seen first. */
  readonly appearedMs: number;
  /** Addresses that the network has assigned, the newest last. */
  readonly assignedOnce: readonly string[];
}

/** What the repairs of ZeroTier are decided by. */
export interface RememberedRepair {
  /** Monotonic ms since ZeroTier's API answers and is online; undefined while it is not. */
  readonly answeringSinceMs: number | undefined;
  readonly networks: Readonly<Record<string, RememberedTrouble>>;
}

export interface Memory {
  readonly version: 1;
  readonly startedMs: number;
  readonly networks: Readonly<Record<string, RememberedNetwork>>;
  /** What there is of a ZeroTier or a link that is not as it should be, and the monotonic ms since which it is just that. */
  readonly waiting: { readonly seen: string; readonly sinceMs: number } | undefined;
  /** Monotonic ms since which a configured network is missing from ZeroTier's list. */
  readonly absentSinceMs: Readonly<Record<string, number>>;
  readonly links: Readonly<Record<string, RememberedLink>>;
  readonly silence: RememberedSilence;
  /** Devices on which mooring set DNS, by name, with the ifindex of that time: what is to be reverted on removal. */
  readonly dnsSet: Readonly<Record<string, number>>;
  readonly bound: Bound | undefined;
  /** What a k3s that starts takes over, and since when: a short history, the newest last. */
  readonly seen: readonly Seen[];
  readonly budgets: Readonly<Record<string, Budget>>;
  /** Restarts and starts asked for, by `unit reason`. */
  readonly restarts: Readonly<Record<string, number>>;
  /** Runs of k3s that began without mooring's asking: after a crash, or by a person's hand. */
  readonly unaskedStarts: number;
  readonly attempts: Readonly<Record<string, Attempt>>;
  readonly repair: RememberedRepair;
  readonly podNetwork: RememberedPodNetwork;
  /** Monotonic ms since which a node of the cluster is seen to have no route, by its name. */
  readonly unroutedSinceMs: Readonly<Record<string, number>>;
  /** Those of them for which a restart was asked for already. */
  readonly unroutedAsked: readonly string[];
  /** Which nginx runs, and which one is installed. */
  readonly ingressProgram: RememberedProgram | undefined;
  /** Where the nginx that served the wanted config last listened. */
  readonly ingressListens: readonly Listen[] | undefined;
  /** Monotonic ms since which another program shares a port with nginx. */
  readonly ingressSharedSinceMs: number | undefined;
  /** Monotonic ms since which a running nginx does not tell what it serves. */
  readonly ingressSilentSinceMs: number | undefined;
  /** NodePorts that entries of the ingress lead to, by `service port`. */
  readonly nodePorts: Readonly<Record<string, RememberedNodePort>>;
  /** The name under which k3s was first started since the boot, where the config leaves it to the host name. */
  readonly nodeName: string | undefined;
  /** What the cloud told last, unless it is another instance's; lets a silent metadata service change nothing. */
  readonly cloudFacts: CloudFacts | undefined;
  readonly conditions: readonly Condition[];
}

/** Memory of a node that was never seen. */
export function emptyMemory(nowMs: number): Memory {
  return {
    version: 1,
    startedMs: nowMs,
    networks: {},
    waiting: undefined,
    absentSinceMs: {},
    links: {},
    silence: { sinceMs: undefined, isOutage: false, endedMs: undefined },
    dnsSet: {},
    bound: undefined,
    seen: [],
    budgets: {},
    restarts: {},
    unaskedStarts: 0,
    attempts: {},
    repair: { answeringSinceMs: undefined, networks: {} },
    ingressProgram: undefined,
    podNetwork: { devices: [], routed: [], badSinceMs: undefined, wasAsked: false },
    unroutedSinceMs: {},
    unroutedAsked: [],
    ingressListens: undefined,
    ingressSharedSinceMs: undefined,
    ingressSilentSinceMs: undefined,
    nodePorts: {},
    nodeName: undefined,
    cloudFacts: undefined,
    conditions: [],
  };
}

/** Reads a saved memory; undefined where it is of another version or not whole. */
export function parseMemory(value: unknown): Memory | undefined {
  if (!isRecord(value) || value['version'] !== 1) return undefined;
  const empty = emptyMemory(0);
  for (const [key, example] of Object.entries(empty)) {
    const found = value[key];
    // A key that an earlier version did not write has its first value.
    if (example === undefined || found === undefined) continue;
    if (typeof found !== typeof example || Array.isArray(found) !== Array.isArray(example)) return undefined;
  }
  return { ...empty, ...value };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Marks an action as begun: counts the attempt, and draws from the budget. */
export function begun(
  memory: Memory,
  action: Action,
  context: { nowMs: number; random: number; budget: BudgetPolicy },
): Memory {
  const key = actionKey(action);
  const attempt = attemptBegun(memory.attempts[key], context.nowMs, backoffPolicy(action), context.random);
  const next: Memory = { ...memory, attempts: { ...memory.attempts, [key]: attempt } };
  if (action.do === 'dns.set')
    return { ...next, dnsSet: { ...next.dnsSet, [action.device]: action.ifindex } };
  if (action.do === 'ingress.restore') return withRefused(next, action.refused);
  const name = budgetKey(action);
  if (name === undefined) return next;
  const budget = next.budgets[name] ?? fullBudget(context.budget, context.nowMs);
  const budgets = {
    ...next.budgets,
    [name]: drawn(budget, context.budget, context.nowMs, context.random),
  };
  if (action.do !== 'unit.start' && action.do !== 'unit.restart') return { ...next, budgets };
  const isPodNetwork = action.reason === 'pod-network';
  const askedIn = next.bound?.invocationId;
  const podNetwork = isPodNetwork ? { ...next.podNetwork, wasAsked: true, askedIn } : next.podNetwork;
  const unroutedAsked = isPodNetwork ? Object.keys(next.unroutedSinceMs) : next.unroutedAsked;
  const counter = `${action.unit} ${action.reason satisfies RestartReason}`;
  return {
    ...next,
    budgets,
    restarts: { ...next.restarts, [counter]: (next.restarts[counter] ?? 0) + 1 },
    podNetwork,
    unroutedAsked,
  };
}

/** The code under which a config is remembered that passed its test and that nginx could not take over all the same. */
export const takeOverRefused = 'take-over-refused';

/** Notes that nginx could not take over what had been put in place. The next time it gets a reload of its own. */
function withRefused(memory: Memory, generation: string): Memory {
  const key = `ingress.replace:${generation}`;
  const attempt = memory.attempts[key];
  if (attempt === undefined) return memory;
  const error = 'nginx could not take over the new config; see journalctl -u mooring-ingress.service';
  const others = without(memory.attempts, actionKey({ do: 'unit.reload', unit: ingressUnit }));
  return { ...memory, attempts: { ...others, [key]: { ...attempt, error, code: takeOverRefused } } };
}

/** Notes how an action ended. What was reverted is no longer mooring's; where that failed it still is, and is tried again. */
export function ended(memory: Memory, action: Action, outcome: Outcome): Memory {
  const key = actionKey(action);
  const attempt = memory.attempts[key];
  if (attempt === undefined) return memory;
  if (action.do === 'dns.revert' && outcome.ok) {
    const { attempts, dnsSet } = memory;
    return { ...memory, attempts: without(attempts, key), dnsSet: without(dnsSet, action.device) };
  }
  if (action.do === 'ingress.renew' && outcome.ok) {
    const { attempts, ingressProgram } = memory;
    const renewed = ingressProgram && { ...ingressProgram, running: action.program };
    return { ...memory, attempts: without(attempts, key), ingressProgram: renewed };
  }
  const { code: _, error: __, ...rest } = attempt;
  const now = outcome.ok
    ? { ...rest, error: undefined }
    : { ...rest, error: outcome.message, code: outcome.code };
  const attempts = { ...memory.attempts, [key]: now };
  if (action.do !== 'ingress.replace' || !outcome.ok) return { ...memory, attempts };
  // A reload that is under way is another config's; this one gets its own, at once.
  const reload = actionKey({ do: 'unit.reload', unit: ingressUnit });
  return { ...memory, attempts: without(attempts, reload) };
}

/** Forgets the attempts under these keys, because what they were for is so. */
export function cleared(memory: Memory, keys: readonly string[]): Memory {
  if (!keys.some((key) => key in memory.attempts)) return memory;
  return { ...memory, attempts: without(memory.attempts, ...keys) };
}

/** A copy without some keys. */
export function without<T>(
  record: Readonly<Record<string, T>>,
  ...keys: readonly string[]
): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => !keys.includes(key)));
}
