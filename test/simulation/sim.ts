/** `make sim`: COUNT schedules from SEED on (`SEED=7 COUNT=1` replays one). Prints what fails, shortened; 0 if nothing does. */
import { faults } from './faults.ts';
import { runSchedule, shortened } from './schedule.ts';

const asked = (name: string): number | undefined => {
  const text = process.env[name] ?? '';
  return text === '' ? undefined : Number(text);
};
const first = asked('SEED') ?? 1;
const count = asked('COUNT') ?? (asked('SEED') === undefined ? 10_000 : 1);

const startedMs = performance.now();
const recoveries: number[] = [];
for (let seed = first; seed < first + count; seed += 1) {
  const result = await runSchedule(seed);
  if (result.recoveredAfterMs !== undefined) recoveries.push(result.recoveredAfterMs / 1000);
  if (count === 1) console.log(result.trail.join('\n'));
  if (result.violations.length === 0) continue;
  const short = await shortened(seed);
  console.log(
    `seed ${seed} fails: ${short.violations.join('; ')}\nthe shortened schedule:\n${short.trail.join('\n')}`,
  );
  console.log(`replay it with: make sim SEED=${seed}`);
  process.exit(1);
}
recoveries.sort((left, right) => left - right);
const at = (share: number) => (recoveries[Math.floor((recoveries.length - 1) * share)] ?? 0).toFixed(1);
console.log(
  `${count} schedules of ${faults.length} faults held, in ${((performance.now() - startedMs) / 1000).toFixed(0)} s`,
);
console.log(
  `moored after the last fault (virtual): median ${at(0.5)} s, p99 ${at(0.99)} s, worst ${at(1)} s`,
);
