/**
 * Stage `ingress`: nginx runs the wanted, tested L4 config. A config is in force when the running workers answer with
 * its generation; "reload returned 0" proves nothing, since a reload that could not bind a port keeps the old config.
 */
import type { UnitReading } from '../../systems/systemd/types.ts';
import { type Action, actionKey } from '../actions.ts';
import { mayTry } from '../attempts.ts';
import { fullBudget, nextAllowedMs } from '../budget.ts';
import type { Finding } from '../conditions.ts';
import { cleared, type Memory, without } from '../memory.ts';
import { renderNginxConf } from '../render/nginx-conf.ts';
import { ingressUnit } from '../world.ts';
import { budgetPolicy } from './k3s.ts';
import { isFalse, isTrue, isUnknown, type StageInput, type StageResult } from './stage.ts';

type Result = StageResult & { readonly findings: { readonly IngressRunning: Finding } };

/** How long the new workers may take to answer before a reload counts as refused, and before another one is asked for. */
const reloadPatienceMs = 5_000;

export function ingressStage(input: StageInput): Result {
  const { world, config, memory, now } = input;
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
  if (unit.loadState === 'masked') {
    return answer(
      isFalse(
        'UnitMasked',
        `${ingressUnit} is masked, so mooring leaves it alone: systemctl unmask ${ingressUnit}`,
      ),
    );
  }
  if (!world.ingress.installed) {
    const message = 'nginx or its stream module is missing: apt install nginx-light libnginx-mod-stream';
    return answer(isFalse('NginxMissing', message), now.monoMs + 10_000);
  }
  const wanted = renderNginxConf(config.ingress, { ipv6: world.ingress.ipv6 });
  const isInstalled = world.ingress.config.kind === 'present' && world.ingress.config.text === wanted.text;
  const replace: Action = { do: 'ingress.replace', text: wanted.text, generation: wanted.generation };
  if (!isInstalled) {
    const error = attemptOf(replace)?.error;
    const still = unit.activeState === 'active' ? '; the former config stays in force' : '';
    const finding =
      error === undefined
        ? isFalse('TestingConfig', 'a new ingress config is being tested')
        : isFalse('ConfigRefused', `${error}${still}`);
    return answer(finding, now.monoMs + 2_000, due(replace), forgetOtherCandidates(memory, replace));
  }
  return serving(input, unit, wanted.generation, answer, due);
}

/** The config is in place; is it served? */
function serving(
  input: StageInput,
  unit: UnitReading,
  generation: string,
  answer: (finding: Finding, wakeAtMs?: number, actions?: readonly Action[], next?: Memory) => Result,
  due: (action: Action) => readonly Action[],
): Result {
  const { memory, now, world } = input;
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
      if (silentSinceMs !== undefined && now.monoMs - silentSinceMs < reloadPatienceMs) {
        const finding = isUnknown('Silent', 'nginx runs and has not told yet which config it serves');
        return answer(finding, now.monoMs + 250, [], known);
      }
      if (world.ingress.servingGeneration === generation) {
        const ports = input.config.ingress
          .map((entry) => `${entry.name} on ${entry.listen}/${entry.protocol}`)
          .join(', ');
        const replace = `ingress.replace:${generation}`;
        const next = cleared(known, [actionKey(start), actionKey(reload), replace]);
        return answer(isTrue('Serving', `nginx serves ${ports}`), undefined, [], next);
      }
      const attempt = memory.attempts[actionKey(reload)];
      const isUnderWay = attempt !== undefined && now.monoMs - attempt.lastMs < reloadPatienceMs;
      // One that was refused stays refused while the next try is under way.
      const isFirst = attempt === undefined || (attempt.count === 1 && isUnderWay);
      const finding = isFirst
        ? isFalse('Reloading', 'nginx is taking over the new config')
        : isFalse(
            'ReloadRefused',
            `nginx keeps serving its former config; see journalctl -u ${ingressUnit} (a port in use?)`,
          );
      return answer(finding, now.monoMs + (isFirst ? 250 : 2_000), isUnderWay ? [] : due(reload), known);
    }
    case 'inactive':
    case 'failed': {
      const state = unit.activeState === 'failed' ? 'failed' : 'not running';
      const policy = budgetPolicy(input);
      const budget = memory.budgets[ingressUnit] ?? fullBudget(policy, now.monoMs);
      const isAllowed = nextAllowedMs(budget, policy, now.monoMs) <= now.monoMs;
      const when = isAllowed ? '' : '; the restart budget is used up, it is tried again later';
      const finding = isFalse(
        'NotRunning',
        `nginx is ${state} (${unit.result}); see journalctl -u ${ingressUnit}${when}`,
      );
      return answer(finding, now.monoMs + 1_000, unit.job === undefined && isAllowed ? due(start) : []);
    }
    default:
      return answer(isFalse('Starting', `${ingressUnit} is ${unit.activeState}`), now.monoMs + 500);
  }
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
