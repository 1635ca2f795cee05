/**
 * `make soak`: thousands of new interfaces and hundreds of new D-Bus daemons at speed, on a real node, and whether mooring
 * keeps anything of each. Prints the figures with their slopes, writes build/results/soak.json, and ends with 1 where a
 * count grows or memory after collection grows beyond its bound.
 *   COUNT=2000     how often the link is made anew
 *   RESTARTS=200   how often the D-Bus daemon is restarted
 *   ROUNDS=25      how often mooring is looked at
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mooredBed } from './chaos/storm.ts';
import { courses, heapSlopeBound, renderCourses } from './soak/judge.ts';
import { soak } from './soak/soak.ts';

const resultsFile = join(import.meta.dirname, '../../build/results/soak.json');
const tell = (line: string) => process.stdout.write(`${line}\n`);

/** A positive whole number from the environment. Throws for anything else. */
function asked(name: string, otherwise: number): number {
  const value = Number(process.env[name] || otherwise);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${name} must be a positive whole number, not "${process.env[name]}"`);
  return value;
}

const renewals = asked('COUNT', 2_000);
const busRestarts = asked('RESTARTS', Math.max(1, Math.round(renewals / 10)));
const rounds = asked('ROUNDS', 25);
const bed = await mooredBed(tell);
try {
  tell(`Moored. ${renewals} new interfaces and ${busRestarts} new D-Bus daemons:`);
  const startedMs = performance.now();
  const samples = await soak(bed, { renewals, busRestarts, rounds, tell });
  const all = courses(samples);
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  tell(`\n${renderCourses(all)}`);
  tell(
    `\n${samples.length} looks in ${seconds} s, the first quarter not judged; heap may grow by ${heapSlopeBound} KiB.`,
  );
  await mkdir(join(resultsFile, '..'), { recursive: true });
  await writeFile(resultsFile, `${JSON.stringify({ seconds, courses: all, samples }, undefined, 2)}\n`);
  if (all.some(({ wrong }) => wrong !== undefined)) process.exitCode = 1;
} catch (error) {
  tell(await bed.report());
  throw error;
} finally {
  await bed.stop();
}
