/**
 * `make bench`: what mooring costs and how fast it answers, on one booted and moored node, against the bare runtime
 * started in the same run; and its nginx against rivals, which needs no node. Prints a table, writes build/results/bench.json, and ends with 0 when everything could be
 * measured: no figure is too slow to pass.
 *   MINUTES=5    how long mooring is left alone before its memory is read
 *   TRIALS=50    how often the device gets a new ifindex
 *   TURNS=7     how often each load comes to each rival at the door
 *   PARTS=…      only some of start,idle,tags,pass,dns,restart,boot,ingress,counting
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Bed } from '../bed/bed.ts';
import { waitFor } from '../bed/process.ts';
import { bareUnit, installBare } from './bare.ts';
import { measureBoot } from './boot.ts';
import { measureCloudTags } from './cloud-tags.ts';
import { measureCounting } from './counting.ts';
import { measureDnsLatency } from './dns-latency.ts';
import { ratioOf, renderTable, type Section } from './figures.ts';
import { measureIdle } from './idle.ts';
import { comparisonAsJson, renderComparison } from './ingress/compare.ts';
import { measureIngress } from './ingress/ingress.ts';
import { measurePasses } from './passes.ts';
import { measureReadiness } from './readiness.ts';
import { measureRestartLatency } from './restart-latency.ts';

const resultsFile = join(import.meta.dirname, '../../build/results/bench.json');
const tell = (line: string) => process.stdout.write(`${line}\n`);

/** What is measured on a booted node, in this order. */
const nodeParts = ['start', 'idle', 'tags', 'pass', 'dns', 'restart', 'boot'];

interface OnNode {
  readonly sections: readonly Section[];
  readonly latenciesMs: readonly number[];
}

/** A positive number from the environment. Throws for anything else. */
function setting(name: string, otherwise: number): number {
  const value = Number(process.env[name] ?? otherwise);
  if (!(value > 0)) throw new Error(`${name} must be a positive number, not "${process.env[name]}"`);
  return value;
}

async function main(): Promise<void> {
  const mooredMs = setting('MINUTES', 5) * 60_000;
  const trials = Math.round(setting('TRIALS', 50));
  const rounds = Math.round(setting('TURNS', 7));
  const parts = (process.env['PARTS'] ?? [...nodeParts, 'ingress', 'counting'].join(',')).split(',');
  const onNode = nodeParts.some((part) => parts.includes(part))
    ? await measureNode(parts, mooredMs, trials)
    : { sections: [], latenciesMs: [] };
  if (parts.includes('ingress')) tell('The ingress:');
  const ingress = parts.includes('ingress') ? await measureIngress(rounds, tell) : [];
  if (parts.includes('counting')) tell('Counting:');
  // As many as even out what a busy machine does to each: the cost is some hundredths.
  const counting = parts.includes('counting') ? [await measureCounting(4 * rounds, 2, tell)] : [];
  const sections = [...onNode.sections, ...counting];
  const tables = [renderTable(sections), renderComparison(ingress)].filter((table) => table !== '');
  tell(`\n${tables.join('\n\n')}\n`);
  await mkdir(join(resultsFile, '..'), { recursive: true });
  const results = { ...asJson(sections, onNode.latenciesMs), ingress: comparisonAsJson(ingress) };
  await writeFile(resultsFile, `${JSON.stringify(results, undefined, 2)}\n`);
  tell(`Also in build/results/bench.json.`);
}

/** What is measured on a booted node. */
async function measureNode(parts: readonly string[], mooredMs: number, trials: number): Promise<OnNode> {
  const bed = await Bed.start({ cloud: 'aws', tell });
  const sections: Section[] = [];
  let latenciesMs: readonly number[] = [];
  try {
    await bed.nodeMember(180_000);
    await bed.authorise();
    await bed.waitForReady();
    await bed.node.waitForCloudInit();
    const device = await deviceOf(bed);
    await installBare(bed.node);
    tell('Moored. Measuring:');
    if (parts.includes('start')) {
      tell('- starts');
      sections.push(await measureReadiness(bed.node, 9));
    }
    if (parts.includes('idle')) {
      tell(`- ${mooredMs / 60_000} min in which nothing happens`);
      const windowMs = Math.min(mooredMs / 2, 120_000);
      sections.push(...(await measureIdle(bed, { mooredMs, windowMs })));
    }
    if (parts.includes('tags')) {
      tell('- memory with facts from tags');
      sections.push(await measureCloudTags(bed));
    }
    if (parts.includes('pass')) {
      tell('- passes');
      sections.push(await measurePasses(bed, device, 100));
    }
    await bed.node.run(['systemctl', 'stop', bareUnit]);
    if (parts.includes('dns')) {
      tell(`- ${trials} restarts of zerotier-one`);
      const measured = await measureDnsLatency(bed, device, trials, tell);
      sections.push(measured.section);
      latenciesMs = measured.latenciesMs;
    }
    if (parts.includes('restart')) {
      const restarts = Math.max(3, Math.round(trials / 2));
      tell(`- ${restarts} restarts of k3s`);
      sections.push(await measureRestartLatency(bed, device, restarts));
    }
    if (parts.includes('boot')) {
      const boots = Math.min(5, Math.max(3, Math.round(trials / 10)));
      tell(`- ${2 * boots} boots`);
      sections.push(...(await measureBoot(bed, boots)));
    }
  } catch (error) {
    tell(await bed.report());
    throw error;
  } finally {
    await bed.stop();
  }
  return { sections, latenciesMs };
}

/** ZeroTier's device on the node, by the network's route. */
function deviceOf(bed: Bed): Promise<string> {
  return waitFor(
    "ZeroTier's device",
    async () => {
      const names = (await bed.node.run('ls /sys/class/net')).split('\n');
      return names.find((name) => name.startsWith('zt'));
    },
    { timeoutMs: 10_000 },
  );
}

function asJson(sections: readonly Section[], dnsLatenciesMs: readonly number[]) {
  return {
    sections: sections.map(({ title, method, figures }) => ({
      title,
      method,
      figures: figures.map((figure) => ({ ...figure, ratio: ratioOf(figure) })),
    })),
    dnsLatenciesMs,
  };
}

await main();
