/**
 * Stage `k3s`: the agent's config is written, its unit runs, and it runs under the current epoch. It is started only
 * on a settled link that carries its address, and never stopped because something else is away.
 */
import type { UnitReading } from '../../systems/systemd/types.ts';
import { type Action, actionKey, type RestartReason } from '../actions.ts';
import { mayTry } from '../attempts.ts';
import { budgetPolicy, fullBudget, nextAllowedMs } from '../budget.ts';
import type { Finding } from '../conditions.ts';
import { type Epoch, epochDifference } from '../epoch.ts';
import { cleared, type Memory } from '../memory.ts';
import { k3sUnit } from '../world.ts';
import { noteBound, noteSeen, seenEpoch, wantedEpoch } from './k3s-epoch.ts';
import { installStep } from './k3s-install.ts';
import { dueAfterOutageMs } from './k3s-spread.ts';
import { isNodeName, k3sNetwork, wantedConfig, wantedNodeName } from './k3s-wanted.ts';
import type { LinkState } from './link.ts';
import {
  earliest,
  isFalse,
  isTrue,
  isUnknown,
  type StageInput,
  type StageResult,
  takenAway,
} from './stage.ts';

export interface K3sResult extends StageResult {
  readonly findings: {
    readonly K3sInstalled: Finding;
    readonly K3sUpToDate: Finding;
    readonly K3sRunning: Finding;
  };
}

/** What other stages tell this one. */
export interface K3sSurroundings {
  /** What is known of the k3s server, for the words about an agent that waits for it. */
  readonly server: Finding;
  /** flannel is broken, and a restart is due for it. */
  readonly podNetworkBroken: boolean;
}

export function k3sStage(
  input: StageInput,
  links: Readonly<Record<string, LinkState>>,
  { server, podNetworkBroken }: K3sSurroundings,
): K3sResult {
  const { world, config } = input;
  const networkId = k3sNetwork(config);
  const link = links[networkId];
  const wanted = link?.kind === 'ready' ? wantedConfig(input, link) : undefined;
  const epoch =
    link?.kind === 'ready' && wanted !== undefined ? wantedEpoch(input, networkId, link, wanted) : undefined;
  const install = installStep(input);
  const { installed: K3sInstalled, upToDate: K3sUpToDate } = install;
  const open = openFiles(input, wanted);
  const files = open.filter((action) => mayTry(input.memory.attempts[actionKey(action)], input.now.monoMs));
  const written = cleared(install.memory, writtenKeys(open, wanted));
  const noted = noteSeen(written, seenEpoch(input, networkId, link), input.now.monoMs);
  if (world.units.kind === 'unreachable') {
    const finding = isUnknown('SystemdAway', `systemd cannot be asked: ${world.units.error}`);
    const findings = { K3sInstalled, K3sUpToDate, K3sRunning: finding };
    const actions = [...files, ...install.actions];
    return { actions, memory: noted, wakeAtMs: input.now.monoMs + 1_000, findings };
  }
  const unit = world.units.units[k3sUnit];
  const memory = noteBound(noted, unit, input);
  const { waits } = install;
  const situation = { unit, link, epoch, files: open, waits, server, podNetworkBroken };
  const step = decide({ ...input, memory }, situation);
  return {
    actions: [...files, ...install.actions, ...step.actions],
    memory: step.memory,
    wakeAtMs: earliest(
      step.wakeAtMs,
      install.wakeAtMs,
      open.length > 0 ? input.now.monoMs + 1_000 : undefined,
    ),
    findings: { K3sInstalled, K3sUpToDate, K3sRunning: step.finding },
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

interface Situation {
  readonly unit: UnitReading | undefined;
  readonly link: LinkState | undefined;
  readonly epoch: Epoch | undefined;
  /** What is still to be written. */
  readonly files: readonly Action[];
  /** Why what is installed is not started yet. */
  readonly waits: string | undefined;
  readonly server: Finding;
  readonly podNetworkBroken: boolean;
}

interface Step extends StageResult {
  readonly finding: Finding;
}

function decide(input: StageInput, situation: Situation): Step {
  const { unit, link, epoch, files, waits, server, podNetworkBroken } = situation;
  const stay = (finding: Finding, wakeAtMs?: number): Step => ({
    actions: [],
    memory: input.memory,
    wakeAtMs,
    finding,
  });
  if (unit === undefined || unit.loadState === 'not-found') {
    return stay(isFalse('UnitMissing', `${k3sUnit} is not there; reinstall the mooring package`));
  }
  const runs = unit.activeState === 'active' || unit.activeState === 'reloading';
  const starts = unit.activeState === 'activating';
  const state = unitFinding(unit, input.config.k3s.server, server);
  const taken = takenAway(unit);
  if (taken !== undefined) {
    const words = `${k3sUnit} is ${taken.how}, so mooring leaves it alone: ${taken.giveBack} ${k3sUnit}`;
    if (runs || starts) return stay({ ...state, message: `${state.message}; ${words}` });
    return stay(taken.how === 'masked' ? isFalse('UnitMasked', words) : isFalse('UnitDisabled', words));
  }
  if (unit.activeState === 'deactivating') return stay(state, input.now.monoMs + 1_000);
  if (input.world.k3s.token.kind === 'missing' && !runs) {
    return stay(
      isFalse('TokenMissing', `the k3s token cannot be read: ${input.world.k3s.token.error}`),
      input.now.monoMs + 5_000,
    );
  }
  const name = wantedNodeName(input);
  if (!isNodeName(name) && !runs) return stay(isFalse('NodeNameUnusable', nameAdvice(name)));
  if (input.world.k3s.binary === undefined)
    return stay(runs ? state : isFalse('BinaryMissing', 'k3s is not installed'));
  if (waits !== undefined && !runs && !starts) return stay(isFalse('WaitingForInstall', waits));
  if (link?.kind !== 'ready' || epoch === undefined) {
    const waiting = isFalse('WaitingForLink', 'k3s is started once the link carries its address');
    return stay(runs || starts ? state : waiting);
  }
  const reason =
    whyStart(input.memory, unit, epoch) ?? (runs && podNetworkBroken ? 'pod-network' : undefined);
  const settled: Memory = runs
    ? cleared(input.memory, [`unit.start:${k3sUnit}`, `unit.restart:${k3sUnit}`])
    : input.memory;
  if (reason === undefined)
    return { ...stay(state, starts ? input.now.monoMs + 2_000 : undefined), memory: settled };
  if (files.length > 0) return stay(writing(input, files, runs || starts ? state : undefined));
  if (!link.settled)
    return stay(runs || starts ? state : isFalse('Settling', 'the link is ready; waiting for it to settle'));
  const steadyMs = (input.memory.seen.at(-1)?.sinceMs ?? 0) + input.config.k3s.restart.settle;
  if (input.now.monoMs < steadyMs)
    return stay(
      runs || starts ? state : isFalse('Settling', 'what k3s takes over has just changed'),
      steadyMs,
    );
  // Its end wakes the loop.
  if (reason === 'outage' && input.memory.silence.isOutage) return stay(state);
  const outageDueMs = reason === 'outage' ? dueAfterOutageMs(input, link) : 0;
  if (input.now.monoMs < outageDueMs) return stay(state, outageDueMs);
  if (waitsForCloud(input, runs || starts)) {
    return stay(
      isFalse('WaitingForCloud', 'waiting for the cloud to tell the external address and the labels'),
      input.now.monoMs + 500,
    );
  }
  return startOrWait(input, runs || starts ? 'unit.restart' : 'unit.start', reason, state);
}

function nameAdvice(name: string): string {
  const shown = JSON.stringify(name);
  return `the host name ${shown} cannot be a node's name in the cluster: set k3s.nodeName, or hostnamectl set-hostname, then systemctl restart mooring`;
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
      if (memory.bound === undefined) return undefined;
      // Between two starts, the former of which mooring has not seen: what it knows is of a run before that.
      if (unit.mainPid === 0 && memory.bound.invocationId !== unit.invocationId) return undefined;
      return epochDifference(memory.bound.epoch, epoch);
  }
}

function waitsForCloud(input: StageInput, isRunning: boolean): boolean {
  const { cloud } = input.world;
  // Also where the address stands in the config: labels and the provider's id count at a node's first registration.
  if (isRunning || cloud.kind !== 'unavailable') return false;
  return input.now.monoMs - input.memory.startedMs < input.config.node.patience;
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
      return `the server answers: normal for some seconds; if it lasts, is the token right, and this node's name not still an earlier node's ("Node password rejected": kubectl delete node NAME)? journalctl -u ${k3sUnit}`;
    case 'false':
      return message;
    case 'unknown':
      return 'is the server up, and the token right?';
    default:
      return status satisfies never;
  }
}
