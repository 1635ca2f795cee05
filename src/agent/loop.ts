/**
 * The loop: wake -> observe -> plan -> dispatch -> publish.
 *
 * What always holds:
 * - Edges only wake it; while a pass runs, any number of them cause one more pass.
 * - A stage has one lane. While its actions run, nothing new is dispatched for it; other stages go on.
 * - A device that came back under another ifindex gets its DNS at once, even while a pass waits for a slow system.
 * - Memory is saved before an action begins, so that a crash in the middle does not forget the budget.
 * - A failing action is an outcome in memory, never an exception that stops the loop.
 * It does no I/O itself: everything outside comes in through `Shell`, so the simulation runs this very code.
 */
import type { Config } from '../config/schema.ts';
import type { Now } from '../systems/clock.ts';
import type { Log } from '../systems/log.ts';
import type { LinksReading } from '../systems/netlink/types.ts';
import { type Action, describeAction, type Outcome, type StageName, stageNames } from './actions.ts';
import { budgetOf } from './budget.ts';
import type { Condition } from './conditions.ts';
import { begun, ended, type Memory } from './memory.ts';
import { type Plan, plan } from './plan.ts';
import { newDeviceDns } from './stages/new-device-dns.ts';
import type { World } from './world.ts';

/** The outside as the loop sees it. */
export interface Shell {
  readonly now: () => Now;
  /** In [0, 1), from a seeded source. */
  readonly random: () => number;
  readonly config: () => Config;
  readonly observe: (memory: Memory) => Promise<World>;
  /** The interfaces alone, from the kernel. Without it DNS of a new device waits for its turn in a pass. */
  readonly glance?: () => Promise<LinksReading>;
  /** Carries out one action. Never rejects. */
  readonly apply: (action: Action) => Promise<Outcome>;
  readonly saveMemory: (memory: Memory) => Promise<void>;
  /** Told after every pass. Never rejects. */
  readonly publish: (result: Plan, world: World, pass: PassFacts) => Promise<void>;
  /** Resolves at `monoMs`, or at once when `signal` is aborted. */
  readonly sleepUntil: (monoMs: number, signal: AbortSignal) => Promise<void>;
  readonly log: Log;
}

/** About one pass, for the metrics. */
export interface PassFacts {
  readonly number: number;
  readonly durationMs: number;
  readonly reasons: readonly string[];
}

/** One event of the node's history. */
export interface LoopObserver {
  readonly actionEnded?: (stage: StageName, action: Action, outcome: Outcome, durationMs: number) => void;
}

/** Waiting this long before the next try after a pass that threw, since that is a fault of the program. */
const faultPauseMs = 2_000;

export class Loop {
  private readonly shell: Shell;
  private readonly observer: LoopObserver;
  private readonly lanes = new Map<StageName, Promise<void>>();
  private memory: Memory;
  private reasons: string[] = ['start'];
  private wakeUp: AbortController = new AbortController();
  private passes = 0;
  private passStartedMs: number | undefined;
  private lastPassMs: number | undefined;
  private isAsked = false;
  /** Aborted outside `run`. */
  private life: AbortSignal = AbortSignal.abort();
  /** Stages that acted at any time since the newest observation began. */
  private busy = new Set<StageName>();
  private hastening: Promise<void> | undefined;
  private saving: Promise<void> = Promise.resolve();

  constructor(shell: Shell, memory: Memory, observer: LoopObserver = {}) {
    this.shell = shell;
    this.memory = memory;
    this.observer = observer;
  }

  /** Tells the loop that something may have changed. */
  wake(reason: string): void {
    if (this.reasons.length < 32 && !this.reasons.includes(reason)) this.reasons.push(reason);
    this.wakeUp.abort(reason);
    this.hasten();
  }

  /**
   * As wake, because a person asks: what waits for its next try is tried in the next pass. Restarts of units stay within
   * their budget all the same.
   */
  retryNow(reason: string): void {
    this.isAsked = true;
    this.wake(reason);
  }

  /** Whether the loop turns: no pass has been running, or overdue, for longer than `limitMs`. */
  isTurning(limitMs: number): boolean {
    const nowMs = this.shell.now().monoMs;
    if (this.passStartedMs !== undefined) return nowMs - this.passStartedMs < limitMs;
    return this.lastPassMs === undefined || nowMs - this.lastPassMs < limitMs;
  }

  /** Passes until `signal` is aborted; then waits for the actions under way. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.wakeUp.abort();
    signal.addEventListener('abort', stop);
    this.life = signal;
    try {
      while (!signal.aborted) {
        this.wakeUp = new AbortController();
        const wakeAtMs = await this.guardedPass();
        if (signal.aborted) break;
        if (this.reasons.length > 0) continue;
        await this.shell.sleepUntil(wakeAtMs, this.wakeUp.signal);
        if (this.reasons.length === 0) this.reasons.push('timer');
      }
      await this.hastening;
      await Promise.all(this.lanes.values());
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  private async guardedPass(): Promise<number> {
    this.passStartedMs = this.shell.now().monoMs;
    try {
      return await this.pass();
    } catch (error) {
      const told = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.shell.log('error', `a pass failed, which is a fault in mooring: ${told}`);
      return this.shell.now().monoMs + faultPauseMs;
    } finally {
      this.passStartedMs = undefined;
      this.lastPassMs = this.shell.now().monoMs;
    }
  }

  /** One pass. Returns the monotonic ms of the next one if nothing wakes the loop earlier. */
  private async pass(): Promise<number> {
    const startedMs = this.shell.now().monoMs;
    const reasons = this.reasons;
    this.reasons = [];
    this.busy = new Set(this.lanes.keys());
    const world = await this.shell.observe(this.memory);
    const now = this.shell.now();
    const config = this.shell.config();
    const before = this.isAsked ? withoutBackoff(this.memory) : this.memory;
    this.isAsked = false;
    const result = plan({ config, world, memory: before, now }, this.shell.random());
    this.tellChanges(before.conditions, result.conditions);
    const { memory, starts } = this.admit(result, now);
    this.memory = memory;
    const saved = this.save();
    for (const { stage, actions } of starts) this.dispatch(stage, actions, saved);
    await saved;
    this.passes += 1;
    const durationMs = this.shell.now().monoMs - startedMs;
    await this.shell.publish({ ...result, memory }, world, { number: this.passes, durationMs, reasons });
    return result.wakeAtMs;
  }

  /**
   * Picks the actions of idle lanes and marks them as begun. A lane that was busy when the world was read counts as
   * busy still: what was read may be older than what its action did.
   */
  private admit(
    result: Plan,
    now: Now,
  ): { memory: Memory; starts: { stage: StageName; actions: readonly Action[] }[] } {
    const starts: { stage: StageName; actions: readonly Action[] }[] = [];
    let next = result.memory;
    for (const stage of stageNames) {
      const actions = result.actions[stage];
      if (actions.length === 0 || this.busy.has(stage) || this.lanes.has(stage)) continue;
      starts.push({ stage, actions });
      next = this.begun(next, actions, now);
    }
    return { memory: next, starts };
  }

  private begun(memory: Memory, actions: readonly Action[], { monoMs: nowMs }: Now): Memory {
    const config = this.shell.config();
    return actions.reduce(
      (next, action) =>
        begun(next, action, { nowMs, random: this.shell.random(), budget: budgetOf(action, config) }),
      memory,
    );
  }

  /** Looks, beside whatever pass is under way, for devices that came back, and serves them. */
  private hasten(): void {
    const { glance } = this.shell;
    if (glance === undefined || this.hastening !== undefined || this.life.aborted) return;
    this.hastening = glance()
      .then((links) => {
        if (this.lanes.has('dns') || this.life.aborted) return;
        const actions = newDeviceDns(this.shell.config(), this.memory, links);
        if (actions.length === 0) return;
        this.memory = this.begun(this.memory, actions, this.shell.now());
        this.dispatch('dns', actions, this.save());
      })
      // The pass reads the same, and tells.
      .catch(() => undefined)
      .finally(() => {
        this.hastening = undefined;
      });
  }

  private dispatch(stage: StageName, actions: readonly Action[], saved: Promise<void>): void {
    this.busy.add(stage);
    this.lanes.set(stage, this.runLane(stage, actions, saved));
  }

  private async runLane(stage: StageName, actions: readonly Action[], saved: Promise<void>): Promise<void> {
    await saved;
    try {
      await this.carryOut(stage, actions);
    } finally {
      this.lanes.delete(stage);
      this.wake(`${stage} acted`);
    }
  }

  /** The actions of one stage in order, once the memory is saved; the first failure ends them, since later ones build on it. */
  private async carryOut(stage: StageName, actions: readonly Action[]): Promise<void> {
    for (const action of actions) {
      const startedMs = this.shell.now().monoMs;
      this.shell.log('info', describeAction(action));
      const outcome = await this.shell.apply(action);
      this.memory = ended(this.memory, action, outcome);
      this.observer.actionEnded?.(stage, action, outcome, this.shell.now().monoMs - startedMs);
      if (outcome.ok) continue;
      this.shell.log('warning', `could not ${describeAction(action)}: ${outcome.message}`);
      return;
    }
  }

  /** One save after the other, each of the newest memory, so that an older one never replaces it. Never rejects. */
  private save(): Promise<void> {
    this.saving = this.saving
      .then(() => this.shell.saveMemory(this.memory))
      .catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        this.shell.log('warning', `could not save the memory: ${why}`);
      });
    return this.saving;
  }

  private tellChanges(before: readonly Condition[], after: readonly Condition[]): void {
    for (const condition of after) {
      const old = before.find((candidate) => candidate.type === condition.type);
      if (old?.status === condition.status && old.reason === condition.reason) continue;
      const level = condition.status === 'false' && condition.cause === undefined ? 'warning' : 'info';
      this.shell.log(
        level,
        `${condition.type}=${condition.status} (${condition.reason}): ${condition.message}`,
      );
    }
  }
}

/** Every next try is due. What is known of the former ones stays, and so do starts and restarts of units. */
function withoutBackoff(memory: Memory): Memory {
  const attempts = Object.entries(memory.attempts).map(([key, attempt]) => {
    const isStart = key.startsWith('unit.start:') || key.startsWith('unit.restart:');
    return [key, isStart ? attempt : { ...attempt, count: 0, notBeforeMs: 0 }];
  });
  return { ...memory, attempts: Object.fromEntries(attempts) };
}
