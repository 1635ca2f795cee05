/**
 * `make chaos`: random faults on a real node, one after the other and sometimes two at a time, and how long each takes
 * until the node is moored again. Prints a table by fault, writes build/results/chaos.json, and ends with 1 where
 * anything did not recover.
 *   MINUTES=10   how long
 *   COUNT=25     this many rounds instead
 *   SEED=7       the same faults again
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { draw } from './chaos/draw.ts';
import { renderReport } from './chaos/report.ts';
import { mooredBed, type Outcome, Storm } from './chaos/storm.ts';

const resultsFile = join(import.meta.dirname, '../../build/results/chaos.json');
const tell = (line: string) => process.stdout.write(`${line}\n`);
const spansMs = [0, 300, 1_000, 3_000, 8_000, 20_000] as const;
/** Protocol waits of the real ZeroTier cannot be hurried: a member may notice after a minute that it was let in. */
const boundMs = { 'stand-in': 60_000, real: 150_000 } as const;

/** A positive whole number from the environment, if there is one. Throws for anything else. */
function asked(name: string): number | undefined {
  const text = process.env[name] ?? '';
  if (text === '') return undefined;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${name} must be a positive number, not "${text}"`);
  return value;
}

const seed = asked('SEED') ?? 1 + Math.floor(Math.random() * 999_999);
const count = asked('COUNT');
const minutes = asked('MINUTES') ?? (count === undefined ? 10 : Number.POSITIVE_INFINITY);

tell(`Faults of seed ${seed}; the same again: make chaos SEED=${seed}`);
const bed = await mooredBed(tell);
const outcomes: Outcome[] = [];
try {
  const variant = bed.home.zerotier.variant.kind;
  const storm = await Storm.on(bed, { boundMs: boundMs[variant], tell });
  tell('Moored. Time to Ready:');
  const rounds = draw({
    seed,
    spansMs,
    isLeftOut: ({ standinOnly }) => standinOnly === true && variant === 'real',
  });
  const endsAtMs = performance.now() + minutes * 60_000;
  let left = count ?? Number.POSITIVE_INFINITY;
  while (left > 0 && performance.now() < endsAtMs) {
    const round = rounds.next().value;
    outcomes.push(await storm.round(round));
    left -= round.faults.length;
  }
} finally {
  await bed.stop();
  if (outcomes.length > 0) tell(`\n${renderReport(outcomes)}\nseed ${seed}`);
  await mkdir(join(resultsFile, '..'), { recursive: true });
  await writeFile(resultsFile, `${JSON.stringify({ seed, outcomes }, undefined, 2)}\n`);
}
process.exitCode = outcomes.every(({ wrong }) => wrong.length === 0) ? 0 : 1;
