/**
 * Stage `ingress`: nginx runs the wanted, tested L4 config. A config is in force when the running workers answer with
 * its generation; "reload returned 0" proves nothing, since a reload that could not bind a port keeps the old config.
 * What was served last is kept: a config that cannot be taken over does not stay on disk, or nginx' next start would fail on it.
 */
import type { DoorsAim, Listen } from '../../systems/doors/types.ts';
import type { UnitReading } from '../../systems/systemd/types.ts';
import { type Action, actionKey } from '../actions.ts';
import { type Attempt, mayTry } from '../attempts.ts';
import { budgetPolicy, fullBudget, nextAllowedMs } from '../budget.ts';
import type { Finding } from '../conditions.ts';
import { cleared, type Memory, takeOverRefused, without } from '../memory.ts';
import type { NginxConf } from '../render/nginx-conf.ts';
import { listensOf } from '../render/nginx-listens.ts';
import { ingressUnit } from '../world.ts';
import { servedInWords, wantedConf } from './ingress-conf.ts';
import { lostPorts, servedListens, takenPorts } from './ingress-ports.ts';
import { isFalse, isTrue, isUnknown, type StageInput, type StageResult, takenAway } from './stage.ts';
import { type UpstreamsResult, whatIsLeftOut } from './upstreams.ts';

type Result = StageResult & {
  readonly findings: { readonly IngressRunning: Finding };
  /** What is to be known of the ports. */
  readonly doors: DoorsAim;
};

/** Of a node whose ports nobody needs to look at. */
export const nothingToLookAt: DoorsAim = { holdersOf: [], tried: [], servedBy: undefined };

/** How long the new workers may take to answer before a reload counts as refused, and before another one is asked for. */
const reloadPatienceMs = 5_000;

/** What was found in the cluster: the entries to serve, and those that are left out. */
type Found = Pick<UpstreamsResult, 'entries' | 'found'>;

export function ingressStage(seen: StageInput, upstreams: Found): Result {
  const { world, config, now } = seen;
  const memory = noteProgram(seen.memory, world.ingress.program, now.monoMs);
  const input = { ...seen, memory };
  let wantedListens: readonly Listen[] = [];
  let servedBy: string | undefined;
  const answer = (
    finding: Finding,
    wakeAtMs?: number,
    actions: readonly Action[] = [],
    next: Memory = memory,
  ): Result => ({
    actions,
    memory: next,
    wakeAtMs,
    findings: { IngressRunning: finding },
    doors: { holdersOf: wantedListens, tried: wantedListens, servedBy },
  });
  const attemptOf = (action: Action) => memory.attempts[actionKey(action)];
  const due = (action: Action): readonly Action[] => (mayTry(attemptOf(action), now.monoMs) ? [action] : []);

  if (world.units.kind === 'unreachable') {
    return answer(
      isUnknown('SystemdAway', `systemd cannot be asked: ${world.units.error}`),
      now.monoMs + 1_000,
    );
  }
  const unit = world.units.units[ingressUnit];
  if (unit === undefined || unit.loadState === 'not-found') {
    return answer(isFalse('UnitMissing', `${ingressUnit} is not there; reinstall the mooring package`));
  }
  if (config.ingress.length === 0) {
    const stop: Action = { do: 'unit.stop', unit: ingressUnit };
    return answer(
      isTrue('NotWanted', 'no ingress is configured'),
      undefined,
      unit.activeState === 'active' ? due(stop) : [],
    );
  }
  const taken = takenAway(unit);
  if (taken !== undefined) {
    const words = `${ingressUnit} is ${taken.how}, so mooring leaves it alone: ${taken.giveBack} ${ingressUnit}`;
    if (unit.activeState === 'active') return answer(isTrue('LeftAlone', `nginx runs; ${words}`));
    return answer(taken.how === 'masked' ? isFalse('UnitMasked', words) : isFalse('UnitDisabled', words));
  }
  if (!world.ingress.installed) {
    const message = 'nginx or its stream module is missing: apt install nginx-light libnginx-mod-stream';
    return answer(isFalse('NginxMissing', message), now.monoMs + 10_000);
  }
  const wanted = wantedConf(input, upstreams.entries);
  wantedListens = listensOf(wanted.text);
  if (unit.activeState === 'active' && world.ingress.servingGeneration === wanted.generation)
    servedBy = wanted.generation;
  const isInstalled = world.ingress.config.kind === 'present' && world.ingress.config.text === wanted.text;
  const replace: Action = { do: 'ingress.replace', text: wanted.text, generation: wanted.generation };
  if (!isInstalled) {
    const still = unit.activeState === 'active' ? '; the former config stays in force' : '';
    const served = unit.activeState === 'active' ? servedListens(input) : [];
    const taken = takenPorts(wantedListens, served, world.doors);
    const finding = notInPlace(attemptOf(replace), taken, still);
    // Whatever is in place has to run until the new one does.
    const start = unit.activeState === 'active' ? [] : startActions(input, unit);
    const actions = [...start, ...due(replace)];
    return answer(finding, now.monoMs + 2_000, actions, forgetOtherCandidates(memory, replace));
  }
  return serving(input, upstreams, unit, wanted, answer, due);
}

function notInPlace(attempt: Attempt | undefined, taken: string | undefined, still: string): Finding {
  if (attempt?.error === undefined) return isFalse('TestingConfig', 'a new ingress config is being tested');
  const message = `${attempt.error}${still}`;
  if (attempt.code !== takeOverRefused) return isFalse('ConfigRefused', message);
  return taken === undefined ? isFalse('ReloadRefused', message) : isFalse('PortTaken', `${taken}${still}`);
}

/** The config is in place; is it served? */
function serving(
  input: StageInput,
  { entries, found }: Found,
  unit: UnitReading,
  conf: NginxConf,
  answer: (finding: Finding, wakeAtMs?: number, actions?: readonly Action[], next?: Memory) => Result,
  due: (action: Action) => readonly Action[],
): Result {
  const { memory, now, world } = input;
  const { generation, text } = conf;
  const start: Action = {
    do: 'unit.start',
    unit: ingressUnit,
    reason: unit.activeState === 'failed' ? 'failed' : 'start',
  };
  const reload: Action = { do: 'unit.reload', unit: ingressUnit };
  switch (unit.activeState) {
    case 'active':
    case 'reloading': {
      const silentSinceMs = world.ingress.servingGeneration === undefined ? silentSince(input) : undefined;
      const known: Memory = { ...memory, ingressSilentSinceMs: silentSinceMs };
      const served = servedListens(input);
      if (silentSinceMs !== undefined && now.monoMs - silentSinceMs < reloadPatienceMs) {
        const finding = isUnknown('Silent', 'nginx runs and has not told yet which config it serves');
        return answer(finding, now.monoMs + 250, [], known);
      }
      if (world.ingress.servingGeneration === generation) {
        const replace = `ingress.replace:${generation}`;
        const keep: Action = { do: 'ingress.keep', generation };
        const isKept = world.ingress.keptGeneration === generation;
        const done = [actionKey(start), actionKey(reload), replace, 'ingress.restore'];
        const next = cleared(known, isKept ? [...done, actionKey(keep)] : done);
        const trouble = lostPorts(input, listensOf(text));
        const { sharedSinceMs } = trouble;
        const noted = { ...next, ingressListens: served, ingressSharedSinceMs: sharedSinceMs };
        const renewal = renewalOf(noted, unit, now.monoMs);
        const serves = `nginx serves ${servedInWords(entries, conf)}${renewal.words}`;
        const finding = trouble.finding ?? inForce(serves, { entries, found });
        const actions = isKept ? renewal.actions : due(keep);
        return answer(finding, renewal.wakeAtMs, actions, renewal.memory);
      }
      const attempt = memory.attempts[actionKey(reload)];
      const isUnderWay = attempt !== undefined && now.monoMs - attempt.lastMs < reloadPatienceMs;
      // One that was refused stays refused while the next try is under way.
      const isFirst = attempt === undefined || (attempt.count === 1 && isUnderWay);
      const finding = isFirst
        ? isFalse('Reloading', 'nginx is taking over the new config')
        : refusedReload(takenPorts(listensOf(text), served, world.doors));
      const isHopeless = attempt !== undefined && !isUnderWay;
      const actions = isUnderWay ? [] : isHopeless ? fallBack(input, generation, due(reload)) : due(reload);
      return answer(finding, now.monoMs + (isFirst ? 250 : 2_000), actions, known);
    }
    case 'inactive':
    case 'failed': {
      const state = unit.activeState === 'failed' ? 'failed' : 'not running';
      const isAllowed = startAllowed(input);
      const when = isAllowed ? '' : '; the restart budget is used up, it is tried again later';
      const taken = takenPorts(listensOf(text), [], world.doors);
      const finding =
        taken === undefined
          ? isFalse(
              'NotRunning',
              `nginx is ${state} (${unit.result}); see journalctl -u ${ingressUnit}${when}`,
            )
          : isFalse('PortTaken', `${taken}; nginx does not run${when}`);
      // One start that came to nothing is enough to know that this config does not work now.
      const before = memory.attempts[actionKey(start)] === undefined ? [] : fallBack(input, generation, []);
      return answer(finding, now.monoMs + 1_000, [...before, ...startActions(input, unit)]);
    }
    default: {
      // Between two of systemd's tries there is no nginx, whose sockets could be taken for somebody else's.
      const taken =
        unit.subState === 'auto-restart' ? takenPorts(listensOf(text), [], world.doors) : undefined;
      const finding =
        taken === undefined
          ? isFalse('Starting', `${ingressUnit} is ${unit.activeState}`)
          : isFalse('PortTaken', `${taken}; nginx does not run`);
      return answer(finding, now.monoMs + 500);
    }
  }
}

const formerConfig = 'nginx keeps serving its former config';

function refusedReload(taken: string | undefined): Finding {
  return taken === undefined
    ? isFalse('ReloadRefused', `${formerConfig}; see journalctl -u ${ingressUnit}`)
    : isFalse('PortTaken', `${taken}; ${formerConfig}`);
}

/** What is wanted is served; is it all that is configured? */
function inForce(serves: string, { entries, found }: Found): Finding {
  const leftOut = whatIsLeftOut(found);
  if (leftOut === undefined) return isTrue('Serving', serves);
  const message = `${leftOut.words}; ${serves}`;
  return leftOut.isTheirs && entries.length > 0
    ? isTrue('ServingPartly', message)
    : isFalse('NoUpstream', message);
}

/** Puts the kept config back in place of one that nginx cannot take over; `otherwise` where none is kept. */
function fallBack(
  { world, memory, now }: StageInput,
  refused: string,
  otherwise: readonly Action[],
): readonly Action[] {
  const { keptGeneration } = world.ingress;
  const restore: Action = { do: 'ingress.restore', refused };
  if (keptGeneration === undefined || keptGeneration === refused) return otherwise;
  return mayTry(memory.attempts[actionKey(restore)], now.monoMs) ? [restore] : [];
}

function startAllowed({ config, memory, now }: StageInput): boolean {
  const policy = budgetPolicy({ config });
  const budget = memory.budgets[ingressUnit] ?? fullBudget(policy, now.monoMs);
  return nextAllowedMs(budget, policy, now.monoMs) <= now.monoMs;
}

/** Starts a unit that does not run, within the budget. */
function startActions(input: StageInput, unit: UnitReading): readonly Action[] {
  const isIdle = unit.activeState === 'inactive' || unit.activeState === 'failed';
  if (!isIdle || unit.job !== undefined || input.world.ingress.config.kind !== 'present') return [];
  const reason = unit.activeState === 'failed' ? 'failed' : 'start';
  const start: Action = { do: 'unit.start', unit: ingressUnit, reason };
  const isDue = mayTry(input.memory.attempts[actionKey(start)], input.now.monoMs);
  return isDue && startAllowed(input) ? [start] : [];
}

/** An update replaces several files: what is installed has to stand still for this long before nginx is renewed to it. */
const installedForMs = 10_000;

/** Notes which program is installed, and since when. */
function noteProgram(memory: Memory, installed: string | undefined, nowMs: number): Memory {
  const known = memory.ingressProgram;
  if (installed === undefined || known?.installed === installed) return memory;
  const program =
    known === undefined
      ? { installed, sinceMs: 0, before: undefined, run: '', running: installed }
      : { ...known, installed, sinceMs: nowMs, before: known.installed };
  return { ...memory, ingressProgram: program };
}

/** Has the running nginx renewed once another program has been installed for a while. */
function renewalOf(
  memory: Memory,
  unit: UnitReading,
  nowMs: number,
): { memory: Memory; actions: readonly Action[]; wakeAtMs: number | undefined; words: string } {
  const none = { memory, actions: [], wakeAtMs: undefined, words: '' };
  const known = memory.ingressProgram;
  if (known === undefined) return none;
  const { installed, sinceMs } = known;
  // Started anew, it is what was installed then.
  const started = sinceMs <= unit.startedMs ? installed : (known.before ?? installed);
  const running = known.run === unit.invocationId ? known.running : started;
  const noted = { ...memory, ingressProgram: { ...known, run: unit.invocationId, running } };
  if (running === installed) return { ...none, memory: noted };
  const renew: Action = { do: 'ingress.renew', program: installed };
  const attempt = memory.attempts[actionKey(renew)];
  const atMs = sinceMs + installedForMs;
  const isDue = nowMs >= atMs && mayTry(attempt, nowMs);
  const why = attempt?.error === undefined ? '' : ` (${attempt.error})`;
  const words = `; another nginx is installed than the one that runs, which is renewed without closing a door${why}`;
  return { memory: noted, actions: isDue ? [renew] : [], wakeAtMs: nowMs < atMs ? atMs : undefined, words };
}

/** A lost answer, as of a busy machine or of workers that are just starting, is no reason to reload: only a lasting silence is. */
function silentSince({ memory, now }: StageInput): number {
  return memory.ingressSilentSinceMs ?? now.monoMs;
}

/** A candidate that was given up is not remembered: the same text may come again under better circumstances. */
function forgetOtherCandidates(memory: Memory, replace: Action): Memory {
  const stale = Object.keys(memory.attempts).filter(
    (key) => key.startsWith('ingress.replace:') && key !== actionKey(replace),
  );
  return stale.length === 0 ? memory : { ...memory, attempts: without(memory.attempts, ...stale) };
}
