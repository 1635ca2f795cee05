/**
 * How soon after a device with a new ifindex appears systemd-resolved has its DNS. The device is made anew by restarting
 * zerotier-one, as it happens on a real node. Both ends are stamped on the node's own real-time clock, in microseconds:
 * the beginning by `ip -tshort monitor link` when it reads the kernel's RTM_NEWLINK (in real-time
 * scheduling, so that nothing makes it wait), the end by resolved's journal line on the last of the three settings
 * (servers, domains, default route) that are wanted.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Bed } from '../bed/bed.ts';
import { waitFor } from '../bed/process.ts';
import { median, quantile, type Section } from './figures.ts';
import { followJournal, followLink, type LinkChange } from './stamps.ts';

/** Something seen inside the node: when, in µs of real time, and what. */
interface Seen {
  readonly atUs: number;
  readonly what: string;
}

/** Waits between two trials until mooring calls the link ready, so that each begins like the first. */
const readyTimeoutMs = 60_000;
const dnsTimeoutMs = 20_000;
const settings = ['DNS server list', 'search domain list', 'default route setting'];

/** Restarts zerotier-one `trials` times. Also returns each trial's ms. */
export async function measureDnsLatency(
  bed: Bed,
  device: string,
  trials: number,
  tell: (line: string) => void,
): Promise<{ section: Section; latenciesMs: readonly number[] }> {
  const watch = watchNode(bed, device);
  const latenciesMs: number[] = [];
  try {
    await delay(500);
    let ifindex = await ifindexOf(bed, device);
    for (let trial = 1; trial <= trials; trial += 1) {
      watch.forget();
      // More restarts than a unit's start limit allows.
      await bed.node.run(['systemctl', 'reset-failed', 'zerotier-one.service']);
      await bed.restartZeroTier();
      const fresh = await waitFor('a new ifindex', () => otherIfindex(bed, device, ifindex), {
        timeoutMs: dnsTimeoutMs,
      });
      const latencyUs = await waitFor('resolved to get the DNS', async () => watch.latencyUs(fresh), {
        timeoutMs: dnsTimeoutMs,
        everyMs: 20,
        context: async () => watch.told(),
      });
      latenciesMs.push(latencyUs / 1000);
      ifindex = fresh;
      await bed.waitForCondition('LinkReady', 'true', readyTimeoutMs);
      if (trial % 10 === 0)
        tell(`  ${trial} of ${trials} restarts, median ${median(latenciesMs).toFixed(1)} ms`);
    }
  } finally {
    watch.end();
  }
  const section = {
    title: 'A device with a new ifindex until resolved has its DNS',
    method: `${trials} restarts of zerotier-one; from the kernel's RTM_NEWLINK to resolved's journal line, µs stamps of one clock.`,
    figures: [
      { name: 'median', unit: 'ms', mooring: median(latenciesMs) },
      { name: 'p90', unit: 'ms', mooring: quantile(latenciesMs, 0.9) },
      { name: 'p99', unit: 'ms', mooring: quantile(latenciesMs, 0.99) },
      { name: 'worst', unit: 'ms', mooring: quantile(latenciesMs, 1) },
    ],
  };
  return { section, latenciesMs };
}

export async function ifindexOf(bed: Bed, device: string): Promise<number> {
  return Number(await bed.node.run(['cat', `/sys/class/net/${device}/ifindex`]));
}

async function otherIfindex(bed: Bed, device: string, former: number): Promise<number | undefined> {
  const ifindex = await ifindexOf(bed, device);
  return ifindex === former ? undefined : ifindex;
}

/** Collects what the kernel and resolved tell of the device. */
function watchNode(bed: Bed, device: string) {
  let links: LinkChange[] = [];
  let changes: Seen[] = [];
  const kernel = followLink(bed, device, (change) => links.push(change));
  const resolved = followJournal(bed, 'systemd-resolved.service', (atUs, what) => {
    if (what.startsWith(`${device}: Bus client set`)) changes.push({ atUs, what });
  });
  return {
    forget() {
      links = [];
      changes = [];
    },
    /** µs from the device's first mention to the last of its settings; undefined while one is missing. */
    latencyUs(ifindex: number): number | undefined {
      const appeared = links.find((link) => link.ifindex === ifindex);
      if (appeared === undefined) return undefined;
      const ends = settings.map((setting) => changes.find(({ what }) => what.includes(setting)));
      const stamps = ends.flatMap((end) => end?.atUs ?? []);
      return stamps.length === settings.length ? Math.max(...stamps) - appeared.atUs : undefined;
    },
    told: () => JSON.stringify({ links, changes }, undefined, 2),
    end() {
      for (const child of [kernel, resolved]) child.kill();
    },
  };
}
