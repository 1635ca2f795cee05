/**
 * Stage `k3s`: the agent's config is written, its unit runs, and it runs under the current epoch. It is started only
 * on a settled link that carries its address, and never stopped because something else is away.
 */
import type { Config } from '../../config/schema.ts';
import type { UnitReading } from '../../systems/systemd/types.ts';
import { type Action, actionKey, type RestartReason } from '../actions.ts';
import { mayTry } from '../attempts.ts';
import { type BudgetPolicy, fullBudget, nextAllowedMs, spent } from '../budget.ts';
import type { Finding } from '../conditions.ts';
import { type Epoch, epochDifference, sameEpoch } from '../epoch.ts';
import { cleared, type Memory } from '../memory.ts';
import { renderK3sConfig } from '../render/k3s-config.ts';
import { k3sUnit } from '../world.ts';
import { cloudPatienceMs, externalIps, factLabels } from './cloud.ts';
import type { LinkState } from './link.ts';
import { earliest, isFalse, isTrue, isUnknown, type StageInput, type StageResult } from './stage.ts';

/** The epoch of a run that began before anything that is remembered: equal to no other, so it will be restarted. */
const nothingSeen: Epoch = { ifindex: 0, addresses: [], config: '', binary: '', outages: 0 };

export interface K3sResult extends StageResult {
  readonly findings: { readonly K3sInstalled: Finding; readonly K3sRunning: Finding };
}

type ReadyLink = Extract<LinkState, { kind: 'ready' }>;

export function budgetPolicy(input: Pick<StageInput, 'config'>): BudgetPolicy {
  const { budget, maxDelay } = input.config.k3s.restart;
  return { count: budget.count, periodMs: budget.periodMs, maxDelayMs: maxDelay };
}

/** `server` is what is known of the k3s server, for the words about an agent that waits for it. */
export function k3sStage(
  input: StageInput,
  links: Readonly<Record<string, LinkState>>,
  server: Finding,
): K3sResult {
  const { world, config } = input;
  const networkId = k3sNetwork(config);
  const link = links[networkId];
  const wanted = link?.kind === 'ready' ? wantedConfig(input, link) : undefined;
  const epoch =
    link?.kind === 'ready' && wanted !== undefined ? epochOf(input, networkId, link, wanted) : undefined;
  const installed =
    world.k3s.binary === undefined
      ? isFalse(
          'BinaryMissing',
          `there is no executable ${config.k3s.binary}; put the k3s binary there (mode 0755)`,
        )
      : isTrue('Installed', `${config.k3s.binary} is there`);
  const open = openFiles(input, wanted);
  const files = open.filter((action) => mayTry(input.memory.attempts[actionKey(action)], input.now.monoMs));
  const written = cleared(input.memory, writtenKeys(open, wanted));
  const noted = noteSeen(written, seenEpoch(input, networkId, link), input.now.monoMs);
  if (world.units.kind === 'unreachable') {
    const finding = isUnknown('SystemdAway', `systemd cannot be asked: ${world.units.error}`);
    const findings = { K3sInstalled: installed, K3sRunning: finding };
    return { actions: files, memory: noted, wakeAtMs: input.now.monoMs + 1_000, findings };
  }
  const unit = world.units.units[k3sUnit];
  const memory = noteBound(noted, unit, input);
  const step = decide({ ...input, memory }, { unit, link, epoch, files: open, server });
  return {
    actions: [...files, ...step.actions],
    memory: step.memory,
    wakeAtMs: earliest(step.wakeAtMs, open.length > 0 ? input.now.monoMs + 1_000 : undefined),
    findings: { K3sInstalled: installed, K3sRunning: step.finding },
  };
}

/** The one address that the node has in the cluster, IPv4 before IPv6; undefined while the link is not ready. */
export function nodeIp(link: LinkState | undefined): string | undefined {
  if (link?.kind !== 'ready') return undefined;
  const plain = link.addresses.map((address) => address.split('/')[0] ?? '');
  return plain.find((address) => !address.includes(':')) ?? plain[0];
}

/** The network whose link k3s is bound to. */
export function k3sNetwork({ k3s, zerotier }: Config): string {
  return k3s.network ?? zerotier.networks[0]?.id ?? '';
}

function wantedConfig(input: StageInput, link: ReadyLink): string {
  const { config, world } = input;
  const address = nodeIp(link);
  return renderK3sConfig({
    k3s: config.k3s,
    nodeIps: address === undefined ? [] : [address],
    iface: link.link.name,
    externalIps: externalIps(config.node.externalIp, world.cloud),
    nodeName: config.k3s.nodeName === 'auto' ? autoName(input) : config.k3s.nodeName,
    labels: { ...factLabels(world.cloud), ...config.k3s.labels },
  });
}

/** The host name, kept from k3s' first start to the next boot: under another name it would be another node of the cluster. */
function autoName({ memory, world }: StageInput): string {
  return memory.nodeName ?? world.hostname.toLowerCase();
}

function epochOf(input: StageInput, networkId: string, link: ReadyLink, config: string): Epoch {
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
function seenEpoch(input: StageInput, networkId: string, link: LinkState | undefined): Epoch | undefined {
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

/** Files that differ from what they should be. */
function openFiles(input: StageInput, wanted: string | undefined): readonly Action[] {
  const { k3s } = input.world;
  const actions: Action[] = [];
  if (k3s.token.kind === 'present' && !k3s.token.copyInSync) actions.push({ do: 'k3s.copy-token' });
  const isWritten = k3s.config.kind === 'present' && k3s.config.text === wanted;
  if (wanted !== undefined && !isWritten) actions.push({ do: 'k3s.write-config', text: wanted });
  return actions;
}

/** Keys of the files that are as they should be: their failures are over. */
function writtenKeys(open: readonly Action[], wanted: string | undefined): readonly string[] {
  const isOpen = (verb: Action['do']) => open.some((action) => action.do === verb);
  const config = wanted === undefined || isOpen('k3s.write-config') ? [] : ['k3s.write-config'];
  return isOpen('k3s.copy-token') ? config : [...config, 'k3s.copy-token'];
}

/** How many changes back it is known what a k3s that started then took over. */
const seenKept = 8;

/** Notes since when a k3s that starts would take over what it would take over now. */
function noteSeen(memory: Memory, epoch: Epoch | undefined, nowMs: number): Memory {
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
function noteBound(memory: Memory, unit: UnitReading | undefined, input: StageInput): Memory {
  if (unit === undefined || unit.invocationId === '') return memory;
  if (!['active', 'activating'].includes(unit.activeState)) return memory;
  // While ExecCondition= and ExecStartPre= run, the time of the start is that of the former run, or none.
  if (unit.mainPid === 0) return memory;
  const { invocationId, startedMs } = unit;
  if (memory.bound?.invocationId === invocationId) return memory;
  const seen = memory.seen.findLast((candidate) => candidate.sinceMs <= startedMs);
  const bound = { invocationId, startedMs, epoch: seen?.epoch ?? nothingSeen };
  return { ...memory, bound, nodeName: autoName(input), budgets: budgetsAfter(memory, input) };
}

/** A run that mooring did not ask for counts against the budget as well. */
function budgetsAfter(memory: Memory, input: StageInput): Memory['budgets'] {
  const { bound, budgets } = memory;
  if (bound === undefined) return budgets;
  const asked = [memory.attempts[`unit.start:${k3sUnit}`], memory.attempts[`unit.restart:${k3sUnit}`]];
  if (asked.some((attempt) => attempt !== undefined && attempt.lastMs >= bound.startedMs)) return budgets;
  const policy = budgetPolicy(input);
  const nowMs = input.now.monoMs;
  return { ...budgets, [k3sUnit]: spent(budgets[k3sUnit] ?? fullBudget(policy, nowMs), policy, nowMs) };
}

interface Situation {
  readonly unit: UnitReading | undefined;
  readonly link: LinkState | undefined;
  readonly epoch: Epoch | undefined;
  /** What is still to be written. */
  readonly files: readonly Action[];
  readonly server: Finding;
}

interface Step extends StageResult {
  readonly finding: Finding;
}

function decide(input: StageInput, { unit, link, epoch, files, server }: Situation): Step {
  const stay = (finding: Finding, wakeAtMs?: number): Step => ({
    actions: [],
    memory: input.memory,
    wakeAtMs,
    finding,
  });
  if (unit === undefined || unit.loadState === 'not-found') {
    return stay(isFalse('UnitMissing', `${k3sUnit} is not there; reinstall the mooring package`));
  }
  if (unit.loadState === 'masked') {
    return stay(
      isFalse('UnitMasked', `${k3sUnit} is masked, so mooring leaves it alone: systemctl unmask ${k3sUnit}`),
    );
  }
  const runs = unit.activeState === 'active' || unit.activeState === 'reloading';
  const starts = unit.activeState === 'activating';
  const state = unitFinding(unit, input.config.k3s.server, server);
  if (unit.activeState === 'deactivating') return stay(state, input.now.monoMs + 1_000);
  if (input.world.k3s.token.kind === 'missing' && !runs) {
    return stay(
      isFalse('TokenMissing', `the k3s token cannot be read: ${input.world.k3s.token.error}`),
      input.now.monoMs + 5_000,
    );
  }
  if (input.world.k3s.binary === undefined)
    return stay(runs ? state : isFalse('BinaryMissing', 'k3s is not installed'));
  if (link?.kind !== 'ready' || epoch === undefined) {
    const waiting = isFalse('WaitingForLink', 'k3s is started once the link carries its address');
    return stay(runs || starts ? state : waiting);
  }
  const reason = whyStart(input.memory, unit, epoch);
  const settled: Memory = runs
    ? cleared(input.memory, [`unit.start:${k3sUnit}`, `unit.restart:${k3sUnit}`])
    : input.memory;
  if (reason === undefined)
    return { ...stay(state, starts ? input.now.monoMs + 2_000 : undefined), memory: settled };
  if (files.length > 0) return stay(writing(input, files, runs || starts ? state : undefined));
  if (!link.settled)
    return stay(runs || starts ? state : isFalse('Settling', 'the link is ready; waiting for it to settle'));
  if (waitsForCloud(input, runs || starts)) {
    return stay(
      isFalse('WaitingForCloud', 'waiting for the cloud to tell the external address'),
      input.now.monoMs + 500,
    );
  }
  return startOrWait(input, runs || starts ? 'unit.restart' : 'unit.start', reason, state);
}

/** Nothing is started or restarted under files that could not be written, and that is told. */
function writing({ memory }: StageInput, files: readonly Action[], state: Finding | undefined): Finding {
  const errors = files.flatMap((action) => memory.attempts[actionKey(action)]?.error ?? []);
  if (errors.length > 0)
    return isFalse('FilesNotWritten', `k3s waits for files that could not be written: ${errors.join('; ')}`);
  return state ?? isFalse('WritingConfig', 'its config is being written');
}

/** The reason for which the unit has to be started or restarted, if any. */
function whyStart(memory: Memory, unit: UnitReading, epoch: Epoch): RestartReason | undefined {
  switch (unit.activeState) {
    case 'inactive':
      return unit.job === undefined ? 'start' : undefined;
    case 'failed':
      return unit.job === undefined ? 'failed' : undefined;
    default:
      return memory.bound === undefined ? undefined : epochDifference(memory.bound.epoch, epoch);
  }
}

function waitsForCloud(input: StageInput, isRunning: boolean): boolean {
  const { cloud } = input.world;
  if (isRunning || cloud.kind !== 'unavailable' || input.config.node.externalIp !== 'auto') return false;
  return input.now.monoMs - input.memory.startedMs < cloudPatienceMs;
}

/** Acts within the budget, or says when the next try is. */
function startOrWait(
  input: StageInput,
  verb: 'unit.start' | 'unit.restart',
  reason: RestartReason,
  state: Finding,
): Step {
  const { memory, now } = input;
  const policy = budgetPolicy(input);
  const action: Action = { do: verb, unit: k3sUnit, reason };
  const attempt = memory.attempts[actionKey(action)];
  const allowedMs = nextAllowedMs(
    memory.budgets[k3sUnit] ?? fullBudget(policy, now.monoMs),
    policy,
    now.monoMs,
  );
  const guardMs = attempt === undefined ? 0 : attempt.lastMs + 3_000;
  const atMs = Math.max(allowedMs, guardMs);
  if (atMs <= now.monoMs) {
    return { actions: [action], memory, wakeAtMs: now.monoMs + 3_000, finding: state };
  }
  if (allowedMs <= now.monoMs) return { actions: [], memory, wakeAtMs: atMs, finding: state };
  // In whole seconds: the two clocks drift, and each new sentence is a message to systemd.
  const when = new Date(Math.ceil((now.wallMs + (atMs - now.monoMs)) / 1_000) * 1_000).toISOString();
  const why = attempt?.error === undefined ? '' : ` (${attempt.error})`;
  const finding = isFalse(
    'RestartWithheld',
    `k3s wants a restart (${reason})${why}, but the budget of ${policy.count} in ${policy.periodMs / 1000} s is used up; next try at ${when}`,
  );
  return { actions: [], memory, wakeAtMs: atMs, finding };
}

function unitFinding(unit: UnitReading, url: string, server: Finding): Finding {
  const status = unit.statusText === '' ? '' : `: ${unit.statusText}`;
  switch (unit.activeState) {
    case 'active':
    case 'reloading':
      return isTrue('Running', `${k3sUnit} is running and joined${status}`);
    case 'activating':
      return unit.subState === 'auto-restart'
        ? isFalse(
            'Crashed',
            `${k3sUnit} ended (${unit.result}) and systemd restarts it; see journalctl -u ${k3sUnit}`,
          )
        : isFalse(
            'Joining',
            `${k3sUnit} runs but has not joined ${url} yet${status}; ${whyNotJoined(server)}`,
          );
    case 'failed':
      return isFalse('Failed', `${k3sUnit} failed (${unit.result}); see journalctl -u ${k3sUnit}`);
    default:
      return isFalse(
        'NotRunning',
        `${k3sUnit} is ${unit.activeState}${unit.result === 'success' ? '' : ` (${unit.result})`}`,
      );
  }
}

/** Where to look, by what is known of the server. */
function whyNotJoined({ status, message }: Finding): string {
  switch (status) {
    case 'true':
      return `the server answers: normal for some seconds; if it lasts, is the token right? journalctl -u ${k3sUnit}`;
    case 'false':
      return message;
    case 'unknown':
      return 'is the server up, and the token right?';
    default:
      return status satisfies never;
  }
}
