/** What one pass of the loop takes: its duration as mooring's own metrics tell it, its CPU time as the cgroup does. */
import type { Bed } from '../bed/bed.ts';
import type { BedNode } from '../bed/node.ts';
import { BedError } from '../bed/process.ts';
import type { Section } from './figures.ts';

const mooringUnit = 'mooring.service';
const histogram = 'mooring_pass_duration_seconds';

/** The histogram of passes since the daemon's start. */
export interface Passes {
  readonly count: number;
  readonly seconds: number;
  /** Passes that took up to `le` seconds, in order. */
  readonly buckets: readonly { readonly le: number; readonly count: number }[];
}

/** Asks the daemon. */
export async function readPasses(node: BedNode): Promise<Passes> {
  const text = await node.run(['curl', '-sS', '--fail', '--max-time', '5', 'http://127.0.0.1:9810/metrics']);
  const value = (name: string) => {
    const found = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
    if (found === undefined) throw new BedError(`mooring has no metric ${name}`);
    return Number(found);
  };
  const buckets = [...text.matchAll(new RegExp(`^${histogram}_bucket\\{le="([^"+]+)"\\} (\\S+)$`, 'gm'))];
  return {
    count: value(`${histogram}_count`),
    seconds: value(`${histogram}_sum`),
    buckets: buckets.map(([, le, count]) => ({ le: Number(le), count: Number(count) })),
  };
}

/**
 * Wakes the loop by a change of the link that means nothing, its alias, many times, and looks what the passes took.
 * Throws where the changes did not cause about as many passes.
 */
export async function measurePasses(bed: Bed, device: string, wakes: number): Promise<Section> {
  const { node } = bed;
  const [before, usageBefore] = [await readPasses(node), await node.usage(mooringUnit)];
  const loop = `for i in $(seq ${wakes}); do ip link set dev ${device} alias bench-$i; sleep 0.1; done; ip link set dev ${device} alias ''`;
  await node.run(loop, { timeoutMs: wakes * 1000 });
  const [after, usage] = [await readPasses(node), await node.usage(mooringUnit)];
  const count = after.count - before.count;
  if (count < wakes / 2)
    throw new BedError(`${wakes} changes of ${device} woke the loop only ${count} times`);
  const within = (le: number) => {
    const inBucket = (passes: Passes) => passes.buckets.find((bucket) => bucket.le === le)?.count ?? 0;
    return ((inBucket(after) - inBucket(before)) / count) * 100;
  };
  return {
    title: 'One pass',
    method: `${wakes} harmless changes of the link, 0.1 s apart, made ${count} passes (${histogram}).`,
    figures: [
      { name: 'time, mean', unit: 'ms', mooring: ((after.seconds - before.seconds) / count) * 1000 },
      { name: 'share within 10 ms', unit: '%', mooring: within(0.01) },
      { name: 'share within 25 ms', unit: '%', mooring: within(0.025) },
      {
        name: 'CPU time, whole cgroup',
        unit: 'ms',
        mooring: (usage.cpuUsec - usageBefore.cpuUsec) / count / 1000,
        note: 'with what it takes ip monitor to tell of it',
      },
    ],
  };
}
