/** Each stage fails on its own: a fault in one, which is a bug, is told and takes no other stage with it. */
import type { StageName } from '../actions.ts';
import type { Finding } from '../conditions.ts';
import type { Memory } from '../memory.ts';
import { isUnknown, type StageInput, type StageResult } from './stage.ts';

/** How long a stage with a fault is left alone. */
const faultPauseMs = 10_000;

/** Runs a stage; `otherwise` makes what it tells of one finding, which names the fault. */
export function contained<Told extends object>(
  name: StageName,
  memory: Memory,
  { now }: StageInput,
  otherwise: (found: Finding) => Told,
  run: () => StageResult & Told,
): StageResult & Told {
  try {
    return run();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const found = isUnknown('Fault', `a fault in mooring's stage ${name}, please report it: ${why}`);
    return { actions: [], memory, wakeAtMs: now.monoMs + faultPauseMs, ...otherwise(found) };
  }
}
