/**
 * What facts from AWS' tags cost the daemon: its memory with them against without, and what the program takes, for the second that it
 * runs, which asks EC2 for them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Bed } from '../bed/bed.ts';
import { waitFor } from '../bed/process.ts';
import type { UnitUsage } from '../bed/usage.ts';
import { type Figure, median, type Section, shown } from './figures.ts';

const mooringUnit = 'mooring.service';
const dropIn = '/etc/mooring/config.d/90-bench-tags.yaml';
const endpoint = 'http://169.254.169.254:8080';
const mib = 1024 * 1024;
/** After the first passes' garbage is gone. */
const settleMs = 15_000;
/** Of each, in turn: one run differs from the next by some MiB. */
const rounds = 3;

/** Leaves the node as it was. */
export async function measureCloudTags(bed: Bed): Promise<Section> {
  const { node } = bed;
  await bed.cloud.change({
    tags: { 'mooring-label-tier': 'bench' },
    role: { accessKeyId: 'ASIABENCH', secretKey: 'bench', token: 'bench' },
  });
  await node.writeFile(
    '/etc/systemd/system/mooring.service.d/90-bench.conf',
    `[Service]\nEnvironment=AWS_ENDPOINT_URL_EC2=${endpoint}\n`,
  );
  await node.run(['systemctl', 'daemon-reload']);
  const without: UnitUsage[] = [];
  const withTags: UnitUsage[] = [];
  for (let round = 0; round < rounds; round += 1) {
    without.push(await memoryWith(bed, '{}\n', false));
    withTags.push(await memoryWith(bed, 'node: {tags: {}}\n', true));
  }
  const childBytes = await peakOfChild(bed);
  await node.run(['rm', dropIn, '/etc/systemd/system/mooring.service.d/90-bench.conf']);
  await node.run(['systemctl', 'daemon-reload']);
  await node.run(['systemctl', 'restart', mooringUnit]);
  await bed.waitForReady(60_000);
  return {
    title: 'Facts from tags at AWS',
    method: `smaps_rollup of the unit ${settleMs / 1000} s after a restart, without node.tags and with, ${rounds} times in turn, medians; the program that asks EC2 had ended.`,
    figures: [
      memoryFigure('RSS without tags', without),
      memoryFigure('RSS with tags from EC2', withTags),
      {
        name: 'peak RSS of the program that asks',
        unit: 'MiB',
        mooring: childBytes / mib,
        note: 'while it runs: every 15 minutes',
      },
    ],
  };
}

function memoryFigure(name: string, runs: readonly UnitUsage[]): Figure {
  const sizes = runs.map(({ rssBytes }) => rssBytes / mib);
  return { name, unit: 'MiB', mooring: median(sizes), note: `${sizes.map(shown).join(', ')}` };
}

/** Of a daemon that was started with this drop-in. */
async function memoryWith(bed: Bed, config: string, hasTags: boolean) {
  const { node } = bed;
  await node.writeFile(dropIn, config);
  await node.run(['systemctl', 'restart', mooringUnit]);
  await bed.waitForReady(60_000);
  await waitFor(
    'the facts of the cloud',
    async () => {
      const status: unknown = JSON.parse(await node.run(['mooring', 'status', '--json']));
      return JSON.stringify(status).includes('mooring-label-tier') === hasTags;
    },
    { timeoutMs: 60_000, context: () => bed.report() },
  );
  await delay(settleMs);
  return node.usage(mooringUnit);
}

/** In bytes; asks EC2 once, as the daemon does. */
async function peakOfChild(bed: Bed): Promise<number> {
  const script = [
    'import os, resource, subprocess',
    'words = ["/usr/lib/mooring/node", "--v8-pool-size=1", "--max-semi-space-size=1", "/usr/lib/mooring/aws-tags.cjs", "eu-central-1", "i-0123456789abcdef0"]',
    `subprocess.run(words, env={"AWS_ENDPOINT_URL_EC2": "${endpoint}"}, check=True, stdout=subprocess.DEVNULL, timeout=30)`,
    'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)',
  ].join('\n');
  return Number(await bed.node.run(['python3', '-c', script]));
}
