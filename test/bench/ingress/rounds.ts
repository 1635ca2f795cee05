/**
 * Loads that last a second each, in rounds: in each round every load comes to every rival, one right after the other, and
 * each round begins with another rival.
 */
import type { Compared, ComparedSection } from './compare.ts';
import { ask, datagrams, stream } from './loads.ts';
import type { Rig } from './rig.ts';
import { type Rival, rivals } from './rivals.ts';

const seconds = 1;
const mb = 1e6;
/** Datagrams a second. */
const datagramRates = [5_000, 20_000, 50_000, 100_000];
/** Nobody passes on datagrams here but nginx: HAProxy does not, and by hand nobody wrote it. */
const datagramRivals: readonly Rival[] = ['mooring', 'direct'];

/** Values by figure and rival, one a round. */
export class Tally {
  readonly #values = new Map<string, Partial<Record<Rival, number[]>>>();

  add(figure: string, rival: Rival, value: number): void {
    const known = this.#values.get(figure) ?? {};
    this.#values.set(figure, { ...known, [rival]: [...(known[rival] ?? []), value] });
  }

  /** The figure of that name, with its values. */
  figure(name: string, unit: string, better: 'more' | 'less', note?: string): Compared {
    const values = this.#values.get(name);
    if (values === undefined) throw new Error(`nothing was measured as "${name}"`);
    return { name, unit, better, values, ...(note === undefined ? {} : { note }) };
  }
}

/** New connections, requests and bytes, of all rivals. */
export async function measureTraffic(
  rig: Rig,
  rounds: number,
  tell: (line: string) => void,
): Promise<readonly ComparedSection[]> {
  const tally = new Tally();
  const loads = [
    async (rival: Rival) => {
      const found = await ask(rig, rival, { connections: 32, fresh: true, seconds });
      tally.add('new connections', rival, found.perSecond);
      if (rival !== 'direct') tally.add("proxy's CPU time for one", rival, found.cpuUs);
      tally.add('failed', rival, found.errors);
    },
    async (rival: Rival) => {
      const found = await ask(rig, rival, { connections: 1, fresh: true, seconds });
      tally.add('on a new connection, p50', rival, found.p50Us);
      tally.add('on a new connection, p99', rival, found.p99Us);
    },
    async (rival: Rival) => {
      const found = await ask(rig, rival, { connections: 1, fresh: false, seconds });
      tally.add('on an open connection, p50', rival, found.p50Us);
      tally.add('on an open connection, p99', rival, found.p99Us);
    },
    async (rival: Rival) => {
      const found = await ask(rig, rival, { connections: 64, fresh: false, seconds });
      tally.add('requests on 64 open connections', rival, found.perSecond);
    },
    async (rival: Rival) => {
      const found = await stream(rig, rival, { direction: 'up', seconds });
      tally.add('to the upstream', rival, found.bytesPerSecond / mb);
      if (rival !== 'direct') tally.add("proxy's CPU time, up", rival, found.cpuUsPerMb);
    },
    async (rival: Rival) => {
      const found = await stream(rig, rival, { direction: 'down', seconds });
      tally.add('from the upstream', rival, found.bytesPerSecond / mb);
      if (rival !== 'direct') tally.add("proxy's CPU time, down", rival, found.cpuUsPerMb);
    },
  ];
  for (let round = 0; round < rounds; round += 1) {
    for (const load of loads) for (const rival of turned(rivals, round)) await load(rival);
    tell(`  round ${round + 1} of ${rounds}`);
  }
  return [
    {
      title: 'Ingress: connections and requests',
      method: `${rounds} rounds of ${seconds} s with wrk; HTTP/1.1, an answer of some 180 bytes. Client, proxy and upstream share this machine's processors.`,
      figures: [
        tally.figure('new connections', '1/s', 'more', '32 at once, one request on each'),
        tally.figure("proxy's CPU time for one", 'µs', 'less'),
        tally.figure('failed', '', 'less'),
        tally.figure('requests on 64 open connections', '1/s', 'more'),
      ],
    },
    {
      title: 'Ingress: until the answer is there',
      method:
        'the same rounds, one request after the other and nothing else; what a proxy adds is its figure less the direct one.',
      figures: [
        tally.figure('on an open connection, p50', 'µs', 'less'),
        tally.figure('on an open connection, p99', 'µs', 'less'),
        tally.figure('on a new connection, p50', 'µs', 'less'),
        tally.figure('on a new connection, p99', 'µs', 'less'),
      ],
    },
    {
      title: 'Ingress: bytes',
      method: 'the same rounds, with iperf3 on two connections.',
      figures: [
        tally.figure('to the upstream', 'MB/s', 'more'),
        tally.figure("proxy's CPU time, up", 'µs/MB', 'less'),
        tally.figure('from the upstream', 'MB/s', 'more'),
        tally.figure("proxy's CPU time, down", 'µs/MB', 'less'),
      ],
    },
  ];
}

/** Datagrams at rising rates: how many arrive. */
export async function measureDatagrams(rig: Rig, rounds: number): Promise<ComparedSection> {
  const tally = new Tally();
  for (let round = 0; round < rounds; round += 1) {
    for (const perSecond of datagramRates) {
      for (const rival of turned(datagramRivals, round)) {
        const found = await datagrams(rig, rival, { perSecond, seconds });
        tally.add(`arrived of ${perSecond} a second`, rival, found.perSecond);
        tally.add(`lost of ${perSecond} a second`, rival, found.lostShare * 100);
      }
    }
  }
  return {
    title: 'Ingress: datagrams',
    method: `${rounds} rounds of ${seconds} s with iperf3; UDP towards the upstream, 1200 bytes each.`,
    figures: datagramRates.flatMap((perSecond) => [
      tally.figure(`arrived of ${perSecond} a second`, '1/s', 'more'),
      tally.figure(`lost of ${perSecond} a second`, '%', 'less'),
    ]),
  };
}

/** The same, beginning with another one. */
function turned(all: readonly Rival[], by: number): readonly Rival[] {
  const start = by % all.length;
  return [...all.slice(start), ...all.slice(0, start)];
}
