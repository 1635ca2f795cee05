/**
 * How soon after the link is ready on a new ifindex k3s is restarted on it, and the node Ready again, beside what it has to
 * wait for: `settle`, and the time that the unit itself takes. All on the node's own real-time clock, in microseconds:
 * - the link is ready: the kernel's last RTM_NEWLINK for the new ifindex, by which the device has come up with its MTU (its
 *   address came before), as `ip -tshort monitor link` reads it in real-time scheduling;
 * - the restart is queued: PID 1's ActiveExitTimestamp of k3s-node.service, when the job began to stop it. The job was
 *   queued a moment before;
 * - the unit's own time: from there to PID 1's ActiveEnterTimestamp, stop and start;
 * - Ready: journald's stamp on mooring's line `Ready=true`.
 */

import { reload } from '../bed/ask.ts';
import type { Bed } from '../bed/bed.ts';
import { waitFor } from '../bed/process.ts';
import { ifindexOf } from './dns-latency.ts';
import { median, quantile, type Section } from './figures.ts';
import { followJournal, followLink, type LinkChange, stampUs, unitStamps } from './stamps.ts';

const unit = 'k3s-node.service';
const settleMs = 2_000;
const mtuBytes = 2800;
const timeoutMs = 60_000;
/** More restarts than the budget of a node that nobody meddles with. */
const dropIn = `k3s: {restart: {settle: ${settleMs}ms, spread: 0s, budget: 1000/10m}}\n`;

/** One restart of zerotier-one, in ms. */
interface Trial {
  /** From the link's being ready to the restart. */
  readonly toJobMs: number;
  readonly ownMs: number;
  readonly toReadyMs: number;
}

/** Restarts zerotier-one `trials` times. */
export async function measureRestartLatency(bed: Bed, device: string, trials: number): Promise<Section> {
  await bed.node.writeFile('/etc/mooring/config.d/90-bench.yaml', dropIn);
  await reload(bed);
  await bed.waitForReady();
  let links: LinkChange[] = [];
  let readyUs: number[] = [];
  const followers = [
    followLink(bed, device, (change) => links.push(change)),
    followJournal(bed, 'mooring.service', (atUs, message) => {
      if (message.startsWith('Ready=true')) readyUs.push(atUs);
    }),
  ];
  const done: Trial[] = [];
  try {
    for (let trial = 0; trial < trials; trial += 1) {
      links = [];
      readyUs = [];
      const ifindex = await ifindexOf(bed, device);
      const run = await bed.node.unitProperty(unit, 'InvocationID');
      await bed.node.run(['systemctl', 'reset-failed', 'zerotier-one.service']);
      await bed.restartZeroTier();
      done.push(
        await waitFor('the restart of k3s, and Ready', () => trialOf(bed, { links, readyUs, ifindex, run }), {
          timeoutMs,
          everyMs: 250,
          context: () => bed.report(),
        }),
      );
    }
  } finally {
    for (const follower of followers) follower.kill();
  }
  return sectionOf(done);
}

interface Seen {
  readonly links: readonly LinkChange[];
  readonly readyUs: readonly number[];
  /** Of before. */
  readonly ifindex: number;
  readonly run: string;
}

/** Undefined while it is not over. */
async function trialOf(bed: Bed, { links, readyUs, ifindex, run }: Seen): Promise<Trial | undefined> {
  const ready = links.find((link) => link.ifindex !== ifindex && link.isUp && link.mtuBytes === mtuBytes);
  const properties = ['InvocationID', 'ActiveState', 'ActiveExitTimestamp', 'ActiveEnterTimestamp'];
  const told = await unitStamps(bed, unit, properties);
  if (ready === undefined || told.get('InvocationID') === run || told.get('ActiveState') !== 'active')
    return undefined;
  const exitUs = stampUs(told.get('ActiveExitTimestamp'));
  const enterUs = stampUs(told.get('ActiveEnterTimestamp'));
  const readyAtUs = readyUs.find((atUs) => atUs > enterUs);
  if (readyAtUs === undefined) return undefined;
  return {
    toJobMs: (exitUs - ready.atUs) / 1000,
    ownMs: (enterUs - exitUs) / 1000,
    toReadyMs: (readyAtUs - ready.atUs) / 1000,
  };
}

function sectionOf(trials: readonly Trial[]): Section {
  const figures = (name: string, values: readonly number[]) => [
    { name: `${name}, median`, unit: 'ms', mooring: median(values) },
    { name: '  p99', unit: 'ms', mooring: quantile(values, 0.99) },
    { name: '  worst', unit: 'ms', mooring: quantile(values, 1) },
  ];
  const toJob = trials.map(({ toJobMs }) => toJobMs - settleMs);
  const toReady = trials.map(({ toReadyMs, ownMs }) => toReadyMs - ownMs - settleMs);
  return {
    title: 'The link ready on a new ifindex until k3s runs on it',
    method: `${trials.length} restarts of zerotier-one; settle is ${settleMs} ms, k3s-node.service itself takes ${median(trials.map(({ ownMs }) => ownMs)).toFixed(0)} ms (median).`,
    figures: [
      ...figures('until the restart begins, beyond settle', toJob),
      ...figures("until Ready, beyond settle and the unit's own time", toReady),
    ],
  };
}
