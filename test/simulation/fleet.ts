/**
 * `make fleet`: NODES nodes lose home for OUTAGE, and find it again. Counts what then arrives at the k3s server, with mooring and
 * as people run it today, and says how far the figures are from the aims.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { aConfig } from '../support/world.ts';
import type { Scenario } from './fleet-outage.ts';
import { added, never, peakOf, shareBackMs, sumOf, type Tally, together } from './fleet-run.ts';
import type { Task } from './fleet-worker.ts';

const asked = (name: string, otherwise: string) => process.env[name] || otherwise;
const nodes = Number(asked('NODES', '10000'));
const seed = Number(asked('SEED', '1'));
const outageMs = milliseconds(asked('OUTAGE', '10m'));
const startingPercent = Number(asked('STARTING', '5'));
/** Aims: what mooring may add to the peak, and when 99 of 100 nodes are to be back. */
const maxAdded = 0.1;
const maxBackMs = 60_000;
/** The dearer scenarios simulate one node for so many. */
const thinned = 4;

function milliseconds(text: string): number {
  const [, count, unit] = /^(\d+)(s|m|h)$/.exec(text) ?? [];
  if (count === undefined) throw new Error(`OUTAGE is a number with s, m or h, not ${text}`);
  return Number(count) * (unit === 'h' ? 3_600_000 : unit === 'm' ? 60_000 : 1_000);
}

const common = { outageMs, startingPercent };
const scenarios: readonly { readonly scenario: Scenario; readonly step: number; readonly about: string }[] = [
  {
    scenario: { ...common, name: 'home is cut off', link: 'unnoticed', dialing: 'on-link' },
    step: 1,
    about:
      'ZeroTier says OK from its cache; the server is in the ZeroTier network, so dialing it fails after 3 s',
  },
  {
    scenario: { ...common, name: 'home is cut off, behind a router', link: 'unnoticed', dialing: 'silent' },
    step: thinned,
    about: 'as above, but a router at home leads to the server, so dialing it is silent for up to 127 s',
  },
  {
    scenario: { ...common, name: 'the link is lost', link: 'refused', dialing: 'on-link' },
    step: thinned,
    about:
      'the controller refuses every member and lets all in again, in 5 s; longer than k3s.restart.outage',
  },
];

const { probe, restart } = aConfig().k3s;
console.log(`${nodes} nodes, ${outageMs / 1_000} s of outage, seed ${seed}; virtual time; each second counted from home's return.
With mooring: its real loop and brain on each node, probes at its own pace (calm ${probe.calm / 1_000} s, eager ${probe.eager / 1_000} s, deadline ${probe.deadline / 1_000} s,
  each with its jitter), restarts as it asks for them (outage ${restart.outage / 1_000} s, settle ${restart.settle / 1_000} s, budget ${restart.budget.count} in ${restart.budget.periodMs / 60_000} min).
Today: the plain unit (Restart=always, RestartSec=5s, no jitter, nothing else); k3s does not exit when its server goes, so it never fires.
${startingPercent} of 100 nodes boot during the outage, so that their agents are starting; the daemons of all others began at the same moment, 90 s before it.
Taken for true of k3s (from its sources, and those of remotedialer, component-helpers and Linux; see fleet-k3s.ts and fleet-outage.ts):
  running: the tunnel breaks 55-60 s into the outage, then dials with a pause of 1 s; the kubelet's connection is closed with it, and its
  lease is tried 5 times, then with pauses up to 7 s. starting: two dials, a pause of 2 s; once through, 17 connections in 3 s, back after 5 s.
  on-link dialing asks for the neighbour 3 times, 1 s apart; otherwise requests are repeated after 1, 3, 7, 15, 31, 63 s. No jitter in any of it.
Left out: kube-proxy, flannel and others, which reconnect too; a server that gives way. Where ZeroTier notices nothing, packets pass for all nodes from the same moment on.
`);

const startedMs = performance.now();
for (const { scenario, step, about } of scenarios) {
  const scenarioMs = performance.now();
  const tally = await spread(scenario, step);
  console.log(`${scenario.name}: ${about}`);
  const tookS = ((performance.now() - scenarioMs) / 1_000).toFixed(0);
  const of = step === 1 ? '' : `, each standing for ${step}`;
  console.log(`  ${tally.nodes} nodes simulated${of}, ${tally.passes} passes of the brain, ${tookS} s\n`);
  print(tally, step);
}
console.log(`all in ${((performance.now() - startedMs) / 1_000).toFixed(0)} s`);

async function spread(scenario: Scenario, step: number): Promise<Tally> {
  const threads = Math.min(availableParallelism(), 4);
  const parts = Array.from({ length: threads }, (_, thread) => ({
    seed,
    first: thread * step,
    end: nodes,
    step: threads * step,
  }));
  return together(await Promise.all(parts.map((part) => inThread({ scenario, part }))));
}

function inThread(task: Task): Promise<Tally> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./fleet-worker.ts', import.meta.url), { workerData: task });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`a thread ended with ${code} and without a tally`)));
  });
}

function print({ today, moored }: Tally, step: number): void {
  const own = added(moored.restarts, moored.probes);
  const all = added(moored.k3s, own);
  const line = (label: string, perSecond: readonly number[]) => {
    const peak = peakOf(perSecond);
    const total = sumOf(perSecond);
    const share = total === 0 ? '' : percent(peak.count / total);
    return [
      label,
      `${peak.count * step}/s`,
      total === 0 ? '' : `second ${peak.second}`,
      `${total * step}`,
      share,
    ];
  };
  table([
    ['attempts at the server', 'peak', 'when', 'in 180 s', 'of its own'],
    line('today', today.k3s),
    line('with mooring', all),
    line("  k3s' own", moored.k3s),
    line('  restarts by mooring', moored.restarts),
    line('  probes of mooring', moored.probes),
    line('  (restarts, as such)', moored.restartBegins),
  ]);
  table([
    ['nodes back after', '50 %', '90 %', '99 %', '100 %'],
    ['today', ...backAfter(today.backMs)],
    ['with mooring', ...backAfter(moored.backMs)],
    ['  and mooring says so', ...backAfter(moored.toldMs)],
  ]);
  const before = peakOf(today.k3s).count;
  const more = (peakOf(all).count - before) / before;
  const atPeak = (own[peakOf(all).second] ?? 0) / peakOf(all).count;
  const backMs = shareBackMs(moored.backMs, 0.99);
  console.log(
    `  mooring adds to the peak   ${percent(more)} (aim: at most ${percent(maxAdded)}) ${verdict(more <= maxAdded)}`,
  );
  console.log(
    `  its share at that second   ${percent(atPeak)}; its own fullest second against today's peak ${percent(peakOf(own).count / before)}`,
  );
  console.log(
    `  99 of 100 nodes are back   ${after(backMs)} (aim: within ${after(maxBackMs)}) ${verdict(backMs <= maxBackMs)}\n`,
  );
}

function backAfter(timesMs: readonly number[]): readonly string[] {
  return [0.5, 0.9, 0.99, 1].map((share) => after(shareBackMs(timesMs, share)));
}

function after(timeMs: number): string {
  return timeMs === never ? 'never' : `${(timeMs / 1_000).toFixed(1)} s`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function verdict(isReached: boolean): string {
  return isReached ? 'reached' : 'MISSED';
}

function table(rows: readonly (readonly string[])[]): void {
  for (const [label = '', ...cells] of rows)
    console.log(`  ${label.padEnd(26)}${cells.map((cell) => cell.padStart(14)).join('')}`);
  console.log();
}
