/**
 * A service that runs, as PID 1 says, and is not to be reached on the bus. systemd-resolved and systemd-networkd connect to it
 * once, at their start: after a restart of the D-Bus daemon they run on, and never come back (systemd 252 and 257,
 * resolved-bus.c and networkd-manager.c). Restarting them is harmless: both keep what their links have.
 * What always holds: only a unit that is active is restarted, only after it was silent for the whole patience, and only
 * within the units' budget.
 */
import { type Action, actionKey } from '../actions.ts';
import { budgetPolicy, fullBudget, nextAllowedMs } from '../budget.ts';
import { cleared, type Memory } from '../memory.ts';
import { earliest, type StageInput } from './stage.ts';

/** Beside a due restart, in case that nothing tells of its end. */
const afterRestartMs = 1_000;
const lookMs = 5_000;

const restartOf = (unit: string): Action => ({ do: 'unit.restart', unit, reason: 'silent' });

/** What is to be done about it now. */
export interface SilentService {
  readonly actions: readonly Action[];
  readonly memory: Memory;
  readonly wakeAtMs: number | undefined;
}

/** Plans the restart of `unit` once it has been silent for `patienceMs`. To be asked in every pass in which it is. */
export function restartSilent(input: StageInput, unit: string, patienceMs: number): SilentService {
  const { config, memory, now, world } = input;
  const reading = world.units.kind === 'answered' ? world.units.units[unit] : undefined;
  if (reading?.activeState !== 'active' || reading.job !== undefined || !config.dns.repair.restart)
    return { actions: [], memory: noLongerSilent(memory, unit), wakeAtMs: now.monoMs + lookMs };
  const action = restartOf(unit);
  const key = actionKey(action);
  const attempt = memory.attempts[key] ?? {
    count: 0,
    lastMs: now.monoMs,
    notBeforeMs: now.monoMs,
    error: undefined,
  };
  const ripeMs = attempt.count === 0 ? attempt.lastMs + patienceMs : attempt.notBeforeMs;
  const policy = budgetPolicy(input);
  const budget = memory.budgets[unit] ?? fullBudget(policy, now.monoMs);
  const atMs = Math.max(ripeMs, nextAllowedMs(budget, policy, now.monoMs));
  const next = { ...memory, attempts: { ...memory.attempts, [key]: attempt } };
  if (atMs <= now.monoMs) return { actions: [action], memory: next, wakeAtMs: now.monoMs + afterRestartMs };
  return { actions: [], memory: next, wakeAtMs: earliest(atMs, now.monoMs + lookMs) };
}

/** It answers, or does not run: the patience begins anew the next time. */
export function noLongerSilent(memory: Memory, unit: string): Memory {
  return cleared(memory, [actionKey(restartOf(unit))]);
}
