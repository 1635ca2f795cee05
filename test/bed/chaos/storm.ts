/**
 * Rounds of faults on one moored node. After each, the node has to be moored again by itself: mooring says Ready, all
 * others agree, and that lasts. What is late counts as not recovered, is told with the journal since the fault, and gets
 * a person's help, so that the next round begins from a moored node again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Bed } from '../bed.ts';
import { waitFor } from '../process.ts';
import type { Round } from './draw.ts';
import type { Fault } from './faults.ts';
import { type Look, Scene } from './scene.ts';

/**
 * Many faults in a row, many more than a node sees in a day, would use up the restarts of ten minutes: the budget is
 * tested elsewhere. The outage stays as it is by default.
 */
export const stormConfig =
  'k3s: {restart: {settle: 1s, spread: 0s, budget: 1000/10m}, probe: {calm: 5s, eager: 1s, deadline: 1s}}\n';
/** Longer than the link takes to settle, and mooring to restart what stood on the former one. */
const staysMs = 1_500;

/** What came of one round. */
export interface Outcome {
  readonly faults: readonly string[];
  readonly lastedMs: number;
  /** From the end of the faults to a node that is moored; undefined where that took too long. */
  readonly recoveredMs: number | undefined;
  /** Starts of k3s that mooring asked for. */
  readonly k3sStarts: number;
  /** What is wrong with it. Empty for a round that went well. */
  readonly wrong: readonly string[];
}

export interface StormOptions {
  /** Each round has to be over this long after its end. */
  readonly boundMs: number;
  readonly tell: (line: string) => void;
}

/** Boots a node, and returns once it is moored. The caller stops it. */
export async function mooredBed(tell: (line: string) => void): Promise<Bed> {
  const bed = await Bed.start({ boot: false, hurry: 12, tell });
  try {
    await bed.node.prepareFile('/etc/mooring/config.d/50-chaos.yaml', stormConfig);
    await bed.node.boot();
    await bed.authorise();
    await bed.waitForReady();
    await bed.node.waitForCloudInit();
    return bed;
  } catch (error) {
    await bed.stop();
    throw error;
  }
}

export class Storm {
  readonly #scene: Scene;
  readonly #options: StormOptions;
  #before: Look;

  private constructor(scene: Scene, options: StormOptions, before: Look) {
    this.#scene = scene;
    this.#options = options;
    this.#before = before;
  }

  /** On a bed whose node is being moored. */
  static async on(bed: Bed, options: StormOptions): Promise<Storm> {
    const scene = await Scene.of(bed);
    const before = await waitFor('a node to begin with', async () => moored(scene), {
      timeoutMs: 60_000,
      context: async () => `${(await scene.amiss(await scene.look())).join('; ')}\n${await bed.report()}`,
    });
    scene.bind(before);
    return new Storm(scene, options, before);
  }

  /** One round. Leaves a moored node, or throws where not even a person's help brought it back. */
  async round(round: Round, boundMs: number = this.#options.boundMs): Promise<Outcome> {
    const startedMs = Date.now();
    const names = round.faults.map(({ name }) => name);
    const failures: string[] = [];
    const endings: (() => Promise<void>)[] = [];
    for (const fault of round.faults) {
      const end = await fault.begin(this.#scene).catch((error: unknown) => {
        failures.push(firstLine(error));
        return undefined;
      });
      if (end !== undefined) endings.push(end);
    }
    if (endings.length > 0) await delay(round.lastsMs);
    for (const end of endings) await end().catch((error: unknown) => failures.push(firstLine(error)));
    const endedMs = endings.length > 0 ? performance.now() : this.#scene.struckAtMs;
    const lastedMs = Date.now() - startedMs;
    const found = await this.#recovery(boundMs);
    const recoveredMs = found.look === undefined ? undefined : found.atMs - endedMs;
    const k3sStarts = this.#startsSince(found.look);
    const wrong = [...failures, ...found.amiss, ...tooMany(round.faults, k3sStarts)];
    const outcome = { faults: names, lastedMs, recoveredMs, k3sStarts, wrong };
    this.#options.tell(lineOf(outcome));
    if (wrong.length > 0) await this.#explain(startedMs);
    this.#keep(found.look ?? (await this.#rescue()));
    return outcome;
  }

  /** Waits for a node that is moored and stays so, restarts of k3s included. */
  async #recovery(
    boundMs: number,
  ): Promise<{ look: Look | undefined; atMs: number; amiss: readonly string[] }> {
    const deadlineMs = performance.now() + boundMs;
    let amiss: readonly string[] = [];
    while (performance.now() < deadlineMs) {
      const look = await this.#scene.look();
      const atMs = performance.now();
      amiss = await this.#scene.amiss(look);
      if (amiss.length > 0) {
        await delay(100);
        continue;
      }
      await delay(staysMs);
      const later = await this.#scene.look();
      amiss = await this.#scene.amiss(later);
      const isSame =
        later.k3sRun === look.k3sRun && later.k3sStarts === look.k3sStarts && later.ifindex === look.ifindex;
      if (amiss.length === 0 && isSame) return { look: later, atMs, amiss };
      if (amiss.length === 0) amiss = ['it was moored, but k3s was restarted after that'];
    }
    return { look: undefined, atMs: deadlineMs, amiss };
  }

  /** What a person would do who knows no better: restart everything. */
  async #rescue(): Promise<Look> {
    const { bed } = this.#scene;
    await bed.heal();
    await bed.home.k3sMode('ok');
    await bed.authorise(this.#scene.address);
    for (const unit of ['zerotier-one', 'systemd-resolved', 'mooring', 'k3s-node', 'mooring-ingress'])
      await bed.node.tryRun(['systemctl', 'restart', '--no-block', unit]);
    return waitFor('a node that a person restarted', async () => moored(this.#scene), {
      timeoutMs: 90_000,
      everyMs: 500,
      context: () => bed.report(),
    });
  }

  async #explain(sinceMs: number): Promise<void> {
    const { bed } = this.#scene;
    const since = `@${Math.floor(sinceMs / 1000)}`;
    const journal = ['journalctl', '--no-pager', '-o', 'short-precise', '--since', since];
    this.#options.tell(`---- status\n${(await bed.node.tryRun(['mooring', 'status'])).stdout}`);
    this.#options.tell(`---- the journal since the fault\n${(await bed.node.tryRun(journal)).stdout}\n----`);
  }

  #startsSince(look: Look | undefined): number {
    return look === undefined ? 0 : Number(look.k3sStarts) - Number(this.#before.k3sStarts);
  }

  #keep(look: Look): void {
    this.#before = look;
    this.#scene.bind(look);
  }
}

async function moored(scene: Scene): Promise<Look | undefined> {
  const look = await scene.look();
  return (await scene.amiss(look)).length === 0 ? look : undefined;
}

function tooMany(faults: readonly Fault[], k3sStarts: number): string[] {
  const most = faults.reduce((sum, fault) => sum + fault.k3sStarts, 0);
  return k3sStarts <= most ? [] : [`mooring started k3s ${k3sStarts} times, with a reason for ${most}`];
}

/** One line for the person who watches. */
function lineOf(outcome: Outcome): string {
  const time = outcome.recoveredMs === undefined ? 'not recovered' : `${seconds(outcome.recoveredMs)} s`;
  const wrong = outcome.wrong.length === 0 ? '' : `  WRONG: ${outcome.wrong.join('; ')}`;
  const faults = outcome.faults.join(' + ');
  return `${time.padStart(13)}  ${outcome.k3sStarts} starts of k3s  ${faults}${wrong}`;
}

/** Milliseconds as seconds with one decimal. */
export function seconds(ms: number): string {
  return (Math.max(0, ms) / 1000).toFixed(1);
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n').slice(0, 2).join(' ');
}
