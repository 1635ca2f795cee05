/**
 * What counting the sessions costs: mooring's nginx with the config as it is, and with the lines taken out that have it write
 * sessions down; the same master all the time, one after the other in each round. What is written is read as the daemon does.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { generationSocket } from '../../src/agent/render/nginx-conf.ts';
import { readGeneration } from '../../src/systems/nginx/generation.ts';
import { waitFor } from '../bed/process.ts';
import { median, type Section } from './figures.ts';
import { ask, startUpstreams } from './ingress/loads.ts';
import { Rig } from './ingress/rig.ts';
import { mooringConf } from './ingress/rivals.ts';

const variants = ['counted', 'uncounted'] as const;
type Variant = (typeof variants)[number];

/** One load, by what it took of whom. */
interface Taken {
  readonly perSecond: number;
  readonly nginxUs: number;
  readonly readerUs: number;
}

const connections = 32;
const warmUpRounds = 4;
/** Until nginx has written down everything: it gathers lines for a second. */
const writtenAfterMs = 1_200;

/** New connections, in `rounds` rounds of `seconds` for each of both. Throws where they are not counted right. */
export async function measureCounting(
  rounds: number,
  seconds: number,
  tell: (line: string) => void,
): Promise<Section> {
  const rig = await Rig.start(tell);
  try {
    await startUpstreams(rig);
    await rig.open('mooring');
    const taken: Record<Variant, Taken[]> = { counted: [], uncounted: [] };
    // The reader's first reads are slow, until it has been compiled: not what a daemon costs.
    for (let round = 0; round < warmUpRounds; round += 1) await load(rig, 'counted', 1);
    for (let round = 0; round < rounds; round += 1) {
      // Each is first in half of the rounds.
      for (const variant of round % 2 === 0 ? variants : [...variants].reverse()) {
        await serve(rig, variant);
        taken[variant].push(await load(rig, variant, seconds));
      }
      if (round % 5 === 4) tell(`  ${round + 1} of ${rounds} rounds`);
    }
    return section(taken, rounds, seconds);
  } catch (error) {
    tell(await rig.logs());
    throw error;
  } finally {
    rig.stop();
  }
}

/** Has nginx serve one of both. */
async function serve(rig: Rig, variant: Variant): Promise<void> {
  const { text, generation } = mooringConf(rig.upstream('mooring'));
  const [counting, other] = [/^ +(log_format|access_log) .*\n/gm, 'f'.repeat(16)];
  const wanted = variant === 'counted' ? generation : other;
  const served = variant === 'counted' ? text : text.replace(counting, '').replace(generation, other);
  await rig.writeMooringConf(served);
  const pid = (await readFile(rig.inRoot('/run/mooring-ingress/nginx.pid'), 'utf8')).trim();
  process.kill(Number(pid), 'SIGHUP');
  await waitFor(
    'the new workers to serve',
    async () => (await readGeneration(rig.inRoot(generationSocket), 1_000)) === wanted,
    { timeoutMs: 20_000, everyMs: 20, context: () => rig.logs() },
  );
  // The former workers end.
  await delay(300);
}

/** How many sessions of the door were counted so far. */
async function counted(rig: Rig): Promise<number> {
  const sessions = (await rig.sessions.read()).find(({ name }) => name === 'http')?.sessions;
  return sessions?.ok ?? 0;
}

async function load(rig: Rig, variant: Variant, seconds: number): Promise<Taken> {
  const before = await counted(rig);
  const found = await ask(rig, 'mooring', { connections, fresh: true, seconds });
  await delay(writtenAfterMs);
  const cpuBefore = process.cpuUsage();
  const number = (await counted(rig)) - before;
  const { user, system } = process.cpuUsage(cpuBefore);
  // What was under way at the end is no answered request, but a session; wrk also opens one before it begins.
  const [least, most] = variant === 'counted' ? [found.done, found.done + connections + 1] : [0, 0];
  if (number < least || number > most)
    throw new Error(`${variant}: ${found.done} connections, and ${number} of them counted`);
  return { perSecond: found.perSecond, nginxUs: found.cpuUs, readerUs: (user + system) / found.done };
}

function section(
  taken: Readonly<Record<Variant, readonly Taken[]>>,
  rounds: number,
  seconds: number,
): Section {
  const middle = (variant: Variant, of: (one: Taken) => number) => median(taken[variant].map(of));
  /** What changes from round to round on a busy machine changes less within one. */
  const paired = (of: (one: Taken) => number) =>
    median(
      taken.counted.flatMap((one, round) => {
        const other = taken.uncounted[round];
        return other === undefined ? [] : [of(one) / of(other)];
      }),
    );
  const cpu = ({ nginxUs, readerUs }: Taken) => nginxUs + readerUs;
  const figure = (name: string, unit: string, of: (one: Taken) => number, note: string) => ({
    name,
    unit,
    mooring: middle('counted', of),
    bare: middle('uncounted', of),
    note,
  });
  return {
    title: "Counting the ingress' sessions",
    method: `${rounds} rounds of ${seconds} s each way, ${connections} new connections at once through the same nginx; bare: without writing them down. Medians.`,
    figures: [
      figure('new connections a second', '1/s', ({ perSecond }) => perSecond, ''),
      figure("nginx' CPU time for one", 'µs', ({ nginxUs }) => nginxUs, ''),
      figure('with the reader of what is written', 'µs', cpu, 'the whole price'),
      {
        name: 'connections a second, of the uncounted',
        unit: '%',
        mooring: 100 * paired(({ perSecond }) => perSecond),
        note: 'median of the rounds',
      },
      {
        name: 'CPU time for one, of the uncounted',
        unit: '%',
        mooring: 100 * paired(cpu),
        note: 'median of the rounds',
      },
    ],
  };
}
