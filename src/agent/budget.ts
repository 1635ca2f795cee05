/**
 * The restart budget of a unit: a token bucket, and once it is empty exponential backoff with full jitter on top.
 * In any window of `periodMs` at most `count` restarts come from the full bucket plus `count` from its refill.
 */

import type { Config } from '../config/schema.ts';
import type { Now } from '../systems/clock.ts';
import { type Action, actionKey } from './actions.ts';
import { zerotierUnit } from './world.ts';

/** Limits, from the config. */
export interface BudgetPolicy {
  readonly count: number;
  readonly periodMs: number;
  readonly maxDelayMs: number;
}

/** The budget of every unit that mooring starts, from the config. */
export function budgetPolicy({ config }: { readonly config: Config }): BudgetPolicy {
  const { budget, maxDelay } = config.k3s.restart;
  return { count: budget.count, periodMs: budget.periodMs, maxDelayMs: maxDelay };
}

/** The limits that hold for an action. */
export function budgetOf(action: Action, config: Config): BudgetPolicy {
  return policyOf(budgetKey(action), config);
}

/** The limits of a budget by its name: repairs of ZeroTier have their own. */
function policyOf(key: string | undefined, config: Config): BudgetPolicy {
  const isRepair = key === zerotierUnit || key?.startsWith('zerotier.rejoin:');
  if (!isRepair) return budgetPolicy({ config });
  const { budget, maxDelay } = config.zerotier.repair;
  return { count: budget.count, periodMs: budget.periodMs, maxDelayMs: maxDelay };
}

/** Under which name the action's budget is kept; undefined where it draws from none. */
export function budgetKey(action: Action): string | undefined {
  switch (action.do) {
    case 'unit.start':
    case 'unit.restart':
      return action.unit;
    case 'zerotier.rejoin':
      return actionKey(action);
    default:
      return undefined;
  }
}

/** What is remembered. */
export interface Budget {
  /** Tokens left at `atMs`; fractions accrue. */
  readonly tokens: number;
  readonly atMs: number;
  /** How often in a row the bucket was found empty; grows the backoff, cleared when the bucket is full again. */
  readonly dry: number;
  /** No restart before this monotonic ms. */
  readonly notBeforeMs: number;
}

const firstDelayMs = 5_000;

/** A full bucket. */
export function fullBudget(policy: BudgetPolicy, nowMs: number): Budget {
  return { tokens: policy.count, atMs: nowMs, dry: 0, notBeforeMs: nowMs };
}

/** The bucket at `nowMs`, refilled evenly over the period. */
export function refilled(budget: Budget, policy: BudgetPolicy, nowMs: number): Budget {
  const earned = (Math.max(0, nowMs - budget.atMs) / policy.periodMs) * policy.count;
  const tokens = Math.min(policy.count, budget.tokens + earned);
  return { ...budget, tokens, atMs: nowMs, dry: tokens >= policy.count ? 0 : budget.dry };
}

/** When a restart is next allowed: `nowMs` or earlier means now. */
export function nextAllowedMs(budget: Budget, policy: BudgetPolicy, nowMs: number): number {
  const bucket = refilled(budget, policy, nowMs);
  const tokenAtMs =
    bucket.tokens >= 1 ? nowMs : nowMs + ((1 - bucket.tokens) / policy.count) * policy.periodMs;
  return Math.max(Math.ceil(tokenAtMs), bucket.notBeforeMs);
}

/**
 * Takes one token for a restart that mooring did not ask for (systemd's own `Restart=`), so that both together stay within
 * the budget. The bucket may go into debt by its size.
 */
export function spent(budget: Budget, policy: BudgetPolicy, nowMs: number): Budget {
  const bucket = refilled(budget, policy, nowMs);
  return { ...bucket, tokens: Math.max(-policy.count, bucket.tokens - 1) };
}

/** Takes one token for a restart begun at `nowMs`; `random` in [0, 1) spreads the next one once the bucket is dry. */
export function drawn(budget: Budget, policy: BudgetPolicy, nowMs: number, random: number): Budget {
  const bucket = refilled(budget, policy, nowMs);
  const tokens = bucket.tokens - 1;
  if (tokens >= 1) return { ...bucket, tokens, notBeforeMs: nowMs };
  const dry = bucket.dry + 1;
  const ceiling = Math.min(policy.maxDelayMs, firstDelayMs * 2 ** Math.min(dry, 20));
  return { tokens, atMs: nowMs, dry, notBeforeMs: nowMs + Math.round(random * ceiling) };
}

/** What is left of a budget, for people and metrics. */
export interface Allowance {
  /** A unit, or `zerotier.rejoin:` and a network. */
  readonly name: string;
  /** Restarts that may happen at once. */
  readonly left: number;
  readonly of: number;
  /** Unix ms, of a whole second since the two clocks drift, before which a restart is withheld; undefined where none is. */
  readonly withheldUntilMs: number | undefined;
}

/** All budgets that were ever drawn from, by name. */
export function allowances(
  budgets: Readonly<Record<string, Budget>>,
  config: Config,
  { monoMs, wallMs }: Now,
): readonly Allowance[] {
  return Object.entries(budgets)
    .map(([name, budget]) => {
      const policy = policyOf(name, config);
      const waitMs = nextAllowedMs(budget, policy, monoMs) - monoMs;
      const isWithheld = waitMs > 0;
      return {
        name,
        left: isWithheld ? 0 : Math.floor(refilled(budget, policy, monoMs).tokens),
        of: policy.count,
        withheldUntilMs: isWithheld ? Math.ceil((wallMs + waitMs) / 1_000) * 1_000 : undefined,
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
