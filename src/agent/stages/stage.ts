/** What every stage gets and gives. A stage is a pure function of (config, world, memory, now). */
import type { Config } from '../../config/schema.ts';
import type { Now } from '../../systems/clock.ts';
import type { UnitReading } from '../../systems/systemd/types.ts';
import type { Action } from '../actions.ts';
import type { Finding } from '../conditions.ts';
import type { Memory } from '../memory.ts';
import type { World } from '../world.ts';

export interface StageInput {
  readonly config: Config;
  readonly world: World;
  readonly memory: Memory;
  readonly now: Now;
}

/** A stage's answer, beside its own findings. */
export interface StageResult {
  readonly actions: readonly Action[];
  readonly memory: Memory;
  /** Monotonic ms at which the stage wants to be asked again at the latest; undefined: any calm time. */
  readonly wakeAtMs: number | undefined;
}

export const isTrue = (reason: string, message: string): Finding => ({ status: 'true', reason, message });
export const isFalse = (reason: string, message: string): Finding => ({ status: 'false', reason, message });
export const isUnknown = (reason: string, message: string): Finding => ({
  status: 'unknown',
  reason,
  message,
});

/** The earliest of some times. */
export function earliest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** Whether a person has taken the unit out of mooring's hands, and how it is given back. */
export function takenAway(
  unit: UnitReading,
): { readonly how: 'masked' | 'disabled'; readonly giveBack: string } | undefined {
  if (unit.loadState === 'masked') return { how: 'masked', giveBack: 'systemctl unmask' };
  if (unit.unitFileState === 'disabled') return { how: 'disabled', giveBack: 'systemctl enable' };
  return undefined;
}
