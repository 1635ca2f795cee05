/**
 * What a moored node's daemon costs while nothing happens: memory after some minutes, and CPU time and wake-ups of the
 * whole cgroup over the last part of them. Nobody scrapes, nobody asks; the figures are read from the host.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Bed } from '../bed/bed.ts';
import { homeNetwork } from '../bed/zerotier.ts';
import { bareUnit } from './bare.ts';
import type { Section } from './figures.ts';
import { readPasses } from './passes.ts';

const mooringUnit = 'mooring.service';
const mib = 1024 * 1024;

export interface IdleOptions {
  /** From the daemon's last start to the reading of its memory. */
  readonly mooredMs: number;
  /** The last part of it, over which CPU time and switches are counted. */
  readonly windowMs: number;
}

/** Restarts both, so that both have the same age, and leaves them alone. */
export async function measureIdle(bed: Bed, options: IdleOptions): Promise<Section[]> {
  const { node, home } = bed;
  // Prometheus asks every second in the bed. A target that refuses keeps it off the node.
  await home.scrape('127.0.0.1');
  await node.run(['systemctl', 'restart', mooringUnit, bareUnit]);
  await bed.waitForReady(60_000);
  await delay(options.mooredMs - options.windowMs);
  const both = () => Promise.all([node.usage(mooringUnit), node.usage(bareUnit)]);
  const passesBefore = await readPasses(node);
  const [mooringBefore, bareBefore] = await both();
  const beganMs = performance.now();
  await delay(options.windowMs);
  const [mooring, bare] = await both();
  const seconds = (performance.now() - beganMs) / 1000;
  const passes = (await readPasses(node)).count - passesBefore.count;
  await home.scrape(homeNetwork.node);
  const perSecond = (after: number, before: number) => (after - before) / seconds;
  return [
    {
      title: 'Memory',
      method: `smaps_rollup of all processes of the unit, ${shownMinutes(options.mooredMs)} after their start; mooring: ${mooring.processes} processes (itself, ip monitor), bare: ${bare.processes}.`,
      figures: [
        { name: 'RSS', unit: 'MiB', mooring: mooring.rssBytes / mib, bare: bare.rssBytes / mib },
        {
          name: 'PSS',
          unit: 'MiB',
          mooring: mooring.pssBytes / mib,
          bare: bare.pssBytes / mib,
          note: 'both run at once and share what they map of the runtime',
        },
        { name: 'private', unit: 'MiB', mooring: mooring.privateBytes / mib, bare: bare.privateBytes / mib },
      ],
    },
    {
      title: 'Idle',
      method: `the unit's whole cgroup over ${Math.round(seconds)} s in which nothing happened; ${passes} passes.`,
      figures: [
        {
          name: 'CPU time per second',
          unit: 'ms/s',
          mooring: perSecond(mooring.cpuUsec, mooringBefore.cpuUsec) / 1000,
          bare: perSecond(bare.cpuUsec, bareBefore.cpuUsec) / 1000,
          note: 'children that ended included',
        },
        {
          name: 'voluntary context switches per second',
          unit: '1/s',
          mooring: perSecond(mooring.voluntarySwitches, mooringBefore.voluntarySwitches),
          bare: perSecond(bare.voluntarySwitches, bareBefore.voluntarySwitches),
          note: 'threads that live on; a systemd-notify each 30 s adds its own few',
        },
      ],
    },
  ];
}

function shownMinutes(ms: number): string {
  return `${Math.round(ms / 6_000) / 10} min`;
}
