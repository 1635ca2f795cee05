/** `make sim`: COUNT schedules from SEED on (`SEED=7` replays one, with its trail). Prints what fails, shortened; 0 if nothing does. */
import { runCampaign } from './campaign.ts';
import { faults } from './faults.ts';
import { runSchedule } from './schedule.ts';
import { tellFailure } from './shorten.ts';

/** A whole number from the environment, undefined where it is not set. */
function asked(name: string): number | undefined {
  const text = process.env[name] ?? '';
  if (text === '') return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  console.error(`${name} is ${JSON.stringify(text)}; it must be a whole number from 1 to 999999999`);
  process.exit(2);
}

const seed = asked('SEED');
const first = seed ?? 1;
const count = asked('COUNT') ?? (seed === undefined ? 10_000 : 1);
const startedMs = performance.now();
if (count === 1) console.log((await runSchedule(first)).trail.join('\n'));
const { failedSeed, recoveriesMs, livedMs, faults: drawn } = await runCampaign({ first, count });
if (failedSeed !== undefined) {
  console.log(await tellFailure(failedSeed));
  process.exit(1);
}
const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
const at = (share: number) =>
  ((recoveriesMs[Math.floor((recoveriesMs.length - 1) * share)] ?? 0) / 1000).toFixed(1);
console.log(
  `${count} schedules held, of ${drawn} faults out of ${faults.length} kinds: ${(livedMs / 3_600_000).toFixed(0)} virtual hours in ${seconds} s`,
);
console.log(
  `moored after the last fault (virtual): median ${at(0.5)} s, p99 ${at(0.99)} s, worst ${at(1)} s`,
);
