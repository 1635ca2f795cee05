/** From a schedule that fails to the one that matters. */
import type { Sabotage } from './sabotage.ts';
import { type Result, runSchedule } from './schedule.ts';

/** Drops faults as long as the schedule still fails: what is left is what matters. */
export async function shortened(seed: number, sabotage?: Sabotage): Promise<Result> {
  let worst = await runSchedule(seed, sabotage);
  for (let index = 0; index < worst.drawn.length; ) {
    const fewer = worst.drawn.filter((_, other) => other !== index);
    const result = await runSchedule(seed, sabotage, fewer);
    if (result.violations.length > 0) worst = result;
    else index += 1;
  }
  return worst;
}

/** Everything that a person needs of a failure. */
export async function tellFailure(seed: number): Promise<string> {
  const short = await shortened(seed);
  return [
    `seed ${seed} fails: ${short.violations.join('; ')}`,
    'the shortened schedule:',
    ...short.trail,
    `replay it with: make sim SEED=${seed}`,
  ].join('\n');
}
