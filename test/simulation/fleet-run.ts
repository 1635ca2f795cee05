/**
 * A fleet in a common outage: each node once as people run it today and once with mooring, from the same chance. Nodes do not
 * meet each other here (the server takes whatever comes), so a part of the fleet can be simulated for itself and added up.
 */
import { seeded } from '../support/random.ts';
import { type AgentLife, runningAgent, startingAgent, until } from './fleet-k3s.ts';
import { aftermathMs, mooredLife } from './fleet-node.ts';
import { outageOf, type Scenario } from './fleet-outage.ts';

/** Which nodes of a fleet: every `step`th from `first` to before `end`. */
export interface Part {
  readonly seed: number;
  readonly first: number;
  readonly end: number;
  readonly step: number;
}

/** Attempts that the server sees, by second since home's return, and when nodes are back, in ms since then. */
export interface Tally {
  readonly nodes: number;
  readonly today: { readonly k3s: readonly number[]; readonly backMs: readonly number[] };
  readonly moored: {
    readonly k3s: readonly number[];
    readonly restarts: readonly number[];
    readonly probes: readonly number[];
    /** Begins of k3s that mooring asked for, by second. */
    readonly restartBegins: readonly number[];
    readonly backMs: readonly number[];
    /** When mooring itself says so; at the latest one calm round of probes later. */
    readonly toldMs: readonly number[];
  };
  readonly passes: number;
}

export const seconds = aftermathMs / 1_000;
/** Stands for a node that was not back when the simulation ended. */
export const never = Number.MAX_SAFE_INTEGER;

/** Two nodes, or two purposes of one node, get different streams of chance. */
const streamOf = (seed: number, node: number, purpose: number) =>
  seeded(Math.imul(seed * 7_919 + node * 4 + purpose, 0x9e3779b1));

export async function simulateFleet(scenario: Scenario, part: Part): Promise<Tally> {
  const series = () => new Array<number>(seconds).fill(0);
  const today = { k3s: series(), backMs: [] as number[] };
  const moored = {
    k3s: series(),
    restarts: series(),
    probes: series(),
    restartBegins: series(),
    backMs: [] as number[],
    toldMs: [] as number[],
  };
  let nodes = 0;
  let passes = 0;
  for (let node = part.first; node < part.end; node += part.step) {
    nodes += 1;
    const chance = streamOf(part.seed, node, 0);
    const outage = outageOf(scenario, chance);
    const isStarting = chance.next() * 100 < scenario.startingPercent;
    // The worst case: whatever ran before the outage began at the same moment, so only jitter sets the nodes apart.
    const bootMs = isStarting ? chance.between(outage.cutMs, outage.homeMs) : 0;
    const count = (into: number[], timesMs: readonly number[]) => {
      for (const timeMs of timesMs) {
        const second = Math.floor((timeMs - outage.homeMs) / 1_000);
        if (second >= 0 && second < seconds) into[second] = (into[second] ?? 0) + 1;
      }
    };
    const sinceHome = (timeMs: number | undefined) =>
      timeMs === undefined || timeMs >= outage.homeMs + aftermathMs ? never : timeMs - outage.homeMs;

    // Of the plain unit nothing but the order of a boot is assumed; it does not wait for anything.
    const plain = isStarting
      ? startingAgent(outage, streamOf(part.seed, node, 1), bootMs + chance.between(1_000, 5_000))
      : runningAgent(outage, streamOf(part.seed, node, 1));
    count(today.k3s, plain.attemptsMs);
    today.backMs.push(sinceHome(plain.backMs));

    const life = await mooredLife(outage, streamOf(part.seed, node, 2), bootMs);
    passes += life.passes;
    count(moored.probes, life.probesMs);
    const [firstMs, ...restartsMs] = life.beginsMs;
    const restartChance = streamOf(part.seed, node, 3);
    let agent: AgentLife | undefined;
    if (firstMs !== undefined)
      agent = isStarting
        ? startingAgent(outage, streamOf(part.seed, node, 1), firstMs)
        : runningAgent(outage, streamOf(part.seed, node, 1));
    let into = moored.k3s;
    for (const restartMs of restartsMs) {
      if (agent !== undefined) count(into, until(agent, restartMs));
      agent = startingAgent(outage, restartChance, restartMs);
      into = moored.restarts;
    }
    if (agent !== undefined) count(into, agent.attemptsMs);
    count(moored.restartBegins, restartsMs);
    moored.backMs.push(sinceHome(agent?.backMs));
    moored.toldMs.push(sinceHome(life.toldMs));
  }
  return { nodes, today, moored, passes };
}

/** Parts of one fleet, added up. */
export function together(parts: readonly Tally[]): Tally {
  const add = (of: (tally: Tally) => readonly number[]) =>
    Array.from({ length: seconds }, (_, second) =>
      parts.reduce((sum, part) => sum + (of(part)[second] ?? 0), 0),
    );
  const all = (of: (tally: Tally) => readonly number[]) => parts.flatMap(of);
  return {
    nodes: parts.reduce((sum, part) => sum + part.nodes, 0),
    today: { k3s: add((part) => part.today.k3s), backMs: all((part) => part.today.backMs) },
    moored: {
      k3s: add((part) => part.moored.k3s),
      restarts: add((part) => part.moored.restarts),
      probes: add((part) => part.moored.probes),
      restartBegins: add((part) => part.moored.restartBegins),
      backMs: all((part) => part.moored.backMs),
      toldMs: all((part) => part.moored.toldMs),
    },
    passes: parts.reduce((sum, part) => sum + part.passes, 0),
  };
}

export interface Peak {
  readonly count: number;
  readonly second: number;
}

/** The fullest second. */
export function peakOf(perSecond: readonly number[]): Peak {
  const count = Math.max(0, ...perSecond);
  return { count, second: Math.max(0, perSecond.indexOf(count)) };
}

export const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

/** Second by second. */
export function added(...series: readonly (readonly number[])[]): readonly number[] {
  return Array.from({ length: seconds }, (_, second) => sumOf(series.map((one) => one[second] ?? 0)));
}

/** After how long this share of all nodes is back; `never` if it is not. */
export function shareBackMs(backMs: readonly number[], share: number): number {
  const sorted = backMs.toSorted((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? never;
}
