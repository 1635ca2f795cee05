/**
 * From mooring.service's start on a node that boots, and that its network lets in already, to Ready: when each stage is
 * done, with k3s in place and with its download. Whole boots, in turn; all stamps are of the node's real-time clock:
 * - the start is PID 1's InactiveExitTimestamp of mooring.service: what it waits for at boot is there by then;
 * - a stage is done at journald's stamp on mooring's last line that its condition is true, up to `Ready=true`;
 * - the download is from mooring's line that it begins to the one that the file is in place. Beside it the same file is
 *   fetched on the same node by curl, written out by sync, and read by sha256sum.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { reload, waitForReason } from '../bed/ask.ts';
import type { Bed } from '../bed/bed.ts';
import { downloads } from '../bed/home.ts';
import { BedError, waitFor } from '../bed/process.ts';
import { type Figure, median, quantile, type Section } from './figures.ts';
import { journalOf, type Message, stampUs, unitStamps } from './stamps.ts';

const mooringUnit = 'mooring.service';
const k3sUnit = 'k3s-node.service';
const binary = 'usr/local/bin/k3s';
const settleMs = 2_000;
/** About what k3s' binary has. */
const megabytes = 70;
/** In the order in which they are shown. */
const stages = [
  'IngressRunning',
  'NetworkAuthorized',
  'LinkReady',
  'DnsConfigured',
  'ZeroTierOnline',
  'K3sInstalled',
  'K3sRunning',
];

/** One boot; times in ms. */
interface Boot {
  /** From the unit's start. */
  readonly doneMs: ReadonlyMap<string, number>;
  /** From k3s-node.service's start until it is active. */
  readonly k3sMs: number;
  readonly downloadMs: number;
  /** The same file by curl, sync and sha256sum. */
  readonly plainMs: number;
  /** The most that the daemon held up to Ready. */
  readonly peakBytes: number;
}

/** Boots the node `boots` times with k3s in place, and as often without. Leaves it with a k3s of its own. */
export async function measureBoot(bed: Bed, boots: number): Promise<readonly Section[]> {
  await pinLargeK3s(bed);
  const inPlace: Boot[] = [];
  const downloading: Boot[] = [];
  for (let boot = 0; boot < boots; boot += 1) {
    await bed.node.powerOff();
    inPlace.push(await bootOnce(bed));
    await bed.node.powerOff();
    await rm(join(bed.node.rootDir, binary));
    downloading.push(await bootOnce(bed));
  }
  return [inPlaceSection(inPlace), downloadSection(downloading, inPlace)];
}

/** Has mooring install the stand-in's program anew, as large as the real one: what stands before a zip archive is not read. */
async function pinLargeK3s(bed: Bed): Promise<void> {
  const program = await readFile(bed.k3s);
  const begin = program.indexOf('\n') + 1;
  const padding = randomBytes(megabytes * 1e6 - program.length);
  const large = Buffer.concat([program.subarray(0, begin), padding, program.subarray(begin)]);
  const sha256 = createHash('sha256').update(large).digest('hex');
  await writeFile(join(bed.dir, 'www/k3s-large'), large);
  const install = `{version: v1.36.3+k3s1, sha256: {amd64: "${sha256}"}, url: "${downloads}/k3s-large"}`;
  await bed.node.writeFile(
    '/etc/mooring/config.d/90-bench.yaml',
    `k3s: {install: ${install}, restart: {settle: ${settleMs}ms}}\n`,
  );
  await reload(bed);
  await waitForReason(bed, 'K3sUpToDate', 'InPlace', 60_000);
  await bed.waitForReady(60_000);
}

async function bootOnce(bed: Bed): Promise<Boot> {
  const { node } = bed;
  await node.boot();
  // journalctl is light: what mooring does meanwhile is what is measured.
  await waitFor(
    'the node to be Ready',
    () => node.run(['journalctl', '-b', '-q', '-o', 'cat', '-u', mooringUnit, '--grep', '^Ready=true']),
    { timeoutMs: 120_000, everyMs: 500, context: () => bed.report() },
  );
  const messages = await journalOf(bed, mooringUnit);
  const mooring = await unitStamps(bed, mooringUnit, ['InactiveExitTimestamp', 'MainPID']);
  const k3s = await unitStamps(bed, k3sUnit, ['InactiveExitTimestamp', 'ActiveEnterTimestamp']);
  const status = await node.run(['cat', `/proc/${mooring.get('MainPID')}/status`]);
  const startUs = stampUs(mooring.get('InactiveExitTimestamp'));
  return {
    doneMs: doneMs(messages, startUs),
    k3sMs: (stampUs(k3s.get('ActiveEnterTimestamp')) - stampUs(k3s.get('InactiveExitTimestamp'))) / 1000,
    downloadMs: downloadMs(messages),
    plainMs: await plainDownloadMs(bed),
    peakBytes: Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024,
  };
}

/** When each stage was done. */
function doneMs(messages: readonly Message[], startUs: number): ReadonlyMap<string, number> {
  const end = messages.findIndex(({ text }) => text.startsWith('Ready=true'));
  return new Map(
    messages.slice(0, end + 1).flatMap(({ atUs, text }) => {
      const [, stage] = /^(\w+)=true /.exec(text) ?? [];
      return stage === undefined ? [] : [[stage, (atUs - startUs) / 1000] as const];
    }),
  );
}

/** 0 where there was none. */
function downloadMs(messages: readonly Message[]): number {
  const begin = messages.find(({ text }) => text.startsWith('download k3s '));
  const end = messages.find(({ text }) => text.includes(' now, its SHA-256 checked'));
  return begin === undefined || end === undefined ? 0 : (end.atUs - begin.atUs) / 1000;
}

async function plainDownloadMs(bed: Bed): Promise<number> {
  const script = [
    'set -e',
    'begin=$(date +%s%N)',
    `curl -sSf -o /usr/local/bin/.bench ${downloads}/k3s-large`,
    'sync /usr/local/bin/.bench',
    'sha256sum /usr/local/bin/.bench >/dev/null',
    'echo $(($(date +%s%N) - begin))',
    'rm /usr/local/bin/.bench',
  ].join('\n');
  return Number(await bed.node.run(script)) / 1e6;
}

function stageFigures(boots: readonly Boot[]): readonly Figure[] {
  return stages.map((stage) => ({ name: stage, unit: 'ms', mooring: median(doneOf(boots, stage)) }));
}

function doneOf(boots: readonly Boot[], stage: string): readonly number[] {
  return boots.map((boot) => {
    const ms = boot.doneMs.get(stage);
    if (ms === undefined) throw new BedError(`mooring became Ready without a word about ${stage}`);
    return ms;
  });
}

const readyOf = (boots: readonly Boot[]) => doneOf(boots, 'Ready');

function inPlaceSection(boots: readonly Boot[]): Section {
  const ready = readyOf(boots);
  const k3s = median(boots.map(({ k3sMs }) => k3sMs));
  return {
    title: 'From boot to Ready, k3s in place',
    method: `${boots.length} boots of an authorised node; ms from mooring.service's start, medians; settle is ${settleMs} ms.`,
    figures: [
      ...stageFigures(boots),
      {
        name: 'Ready',
        unit: 'ms',
        mooring: median(ready),
        bare: settleMs + k3s,
        note: `bare: settle, and ${k3s.toFixed(0)} ms that k3s-node.service itself takes`,
      },
      { name: '  slowest', unit: 'ms', mooring: quantile(ready, 1) },
    ],
  };
}

function downloadSection(boots: readonly Boot[], inPlace: readonly Boot[]): Section {
  const ready = readyOf(boots);
  const mib = 1024 * 1024;
  const peak = (of: readonly Boot[]) =>
    quantile(
      of.map(({ peakBytes }) => peakBytes / mib),
      1,
    );
  return {
    title: `From boot to Ready, k3s downloaded (${megabytes} MB)`,
    method: `${boots.length} boots, in turn with those above, from a web server beside the node.`,
    figures: [
      ...stageFigures(boots),
      {
        name: 'Ready',
        unit: 'ms',
        mooring: median(ready),
        bare: median(readyOf(inPlace)),
        note: 'bare: with k3s in place',
      },
      { name: '  slowest', unit: 'ms', mooring: quantile(ready, 1), bare: quantile(readyOf(inPlace), 1) },
      {
        name: 'download, check, put in place',
        unit: 'ms',
        mooring: median(boots.map((boot) => boot.downloadMs)),
        bare: median([...inPlace, ...boots].map(({ plainMs }) => plainMs)),
        note: 'bare: curl, sync, sha256sum',
      },
      {
        name: 'peak RSS of the daemon up to Ready, highest',
        unit: 'MiB',
        mooring: peak(boots),
        bare: peak(inPlace),
        note: 'bare: with k3s in place',
      },
    ],
  };
}
