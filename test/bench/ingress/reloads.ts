/** Reloads of mooring's nginx while new connections come all the time and others stay open: whether anybody notices. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generationSocket } from '../../../src/agent/render/nginx-conf.ts';
import { readGeneration } from '../../../src/systems/nginx/generation.ts';
import { waitFor } from '../../bed/process.ts';
import type { ComparedSection } from './compare.ts';
import { ask } from './loads.ts';
import type { Rig } from './rig.ts';
import { mooringConf } from './rivals.ts';
import { Tally } from './rounds.ts';

/** Reloads as often as told, one as soon as the one before it serves. */
export async function measureReloads(rig: Rig, reloads: number): Promise<ComparedSection> {
  const tally = new Tally();
  let [done, errors, requests] = [0, 0, 0];
  const tookMs: number[] = [];
  while (done < reloads) {
    const load = Promise.all([
      ask(rig, 'mooring', { connections: 16, fresh: true, seconds: 4 }),
      ask(rig, 'mooring', { connections: 16, fresh: false, seconds: 4 }),
    ]);
    let isOver = false;
    const end = load.finally(() => {
      isOver = true;
    });
    // Else a failure of both would be one that nobody awaits.
    end.catch(() => {});
    while (!isOver && done < reloads) {
      const startedAt = performance.now();
      await reload(rig, done);
      tookMs.push(performance.now() - startedAt);
      done += 1;
    }
    for (const found of await end) {
      errors += found.errors;
      requests += found.done;
    }
  }
  tally.add('failed or reset', 'mooring', errors);
  tally.add('requests meanwhile', 'mooring', requests);
  for (const ms of tookMs) tally.add('until the new workers serve', 'mooring', ms);
  return {
    title: `Ingress: ${reloads} reloads under load`,
    method:
      "mooring's nginx, each reload as soon as the one before it serves; wrk with 16 new connections at once, and 16 that stay open.",
    figures: [
      tally.figure('failed or reset', '', 'less'),
      tally.figure('requests meanwhile', '', 'more'),
      tally.figure('until the new workers serve', 'ms', 'less'),
    ],
  };
}

async function reload(rig: Rig, count: number): Promise<void> {
  const { text, generation } = mooringConf(rig.upstream('mooring'), 1 + (count % 2));
  await rig.writeMooringConf(text);
  const pid = (await readFile(rig.inRoot('/run/mooring-ingress/nginx.pid'), 'utf8')).trim();
  process.kill(Number(pid), 'SIGHUP');
  await waitFor(
    'the new workers to serve',
    async () => (await readGeneration(rig.inRoot(generationSocket), 1_000)) === generation,
    { timeoutMs: 20_000, everyMs: 5, context: () => readFile(join(rig.run.dir, 'mooring.log'), 'utf8') },
  );
}
