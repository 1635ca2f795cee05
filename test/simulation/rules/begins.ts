/** A unit's program begins only so often in any window, whoever starts it: mooring's budget and systemd's own Restart= together. */
import type { UnitModel } from '../models/units.ts';

export interface BeginsLimit {
  readonly unit: UnitModel;
  readonly name: string;
  readonly most: number;
  readonly periodMs: number;
}

export class BeginsRule {
  private readonly limit: BeginsLimit;
  private seen = 0;

  constructor(limit: BeginsLimit) {
    this.limit = limit;
  }

  /** Asked after every event; what is violated, if anything. The window that ends with the newest begin is the one to look at. */
  check(): string | undefined {
    const { unit, name, most, periodMs } = this.limit;
    if (unit.begins.length === this.seen) return undefined;
    this.seen = unit.begins.length;
    const count = within(unit.begins, periodMs);
    return count > most ? `${name} began ${count} times within ${periodMs / 1_000} s` : undefined;
  }
}

/** How many of these times are less than `periodMs` before the newest. */
export function within(times: readonly number[], periodMs: number): number {
  const fromMs = (times.at(-1) ?? 0) - periodMs;
  let count = 0;
  for (let index = times.length - 1; index >= 0 && (times[index] ?? 0) > fromMs; index -= 1) count += 1;
  return count;
}
