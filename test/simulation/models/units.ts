/** A unit as PID 1 drives it: jobs, conditions, Restart= with its limit, runs. `test/conformance` holds it to the real one. */
import { SystemError } from '../../../src/systems/error.ts';
import type { UnitReading } from '../../../src/systems/systemd/types.ts';
import type { Random } from '../../support/random.ts';
import type { VirtualClock } from '../clock.ts';
import type { DrivenUnit } from './systemd.ts';

type Active = 'inactive' | 'activating' | 'active' | 'deactivating' | 'failed';
/** Of `activating`: it waits for RestartSec=, ExecCondition= runs, or the program does. */
type Phase = 'auto-restart' | 'condition' | 'start';

/** What its file says. */
export interface UnitSettings {
  /** Type=forking: its main process is known once it is ready. */
  readonly forks?: boolean;
  /** No unit that is loaded refers to it: PID 1 forgets one that is inactive, with its last run and the count of its starts. */
  readonly isForgotten?: boolean;
  readonly restartSecMs: number;
  /** StartLimitBurst=. */
  readonly limit: number;
  /** StartLimitIntervalSec=. */
  readonly limitPeriodMs: number;
}

/** What makes a unit differ from another. */
export interface Program extends UnitSettings {
  /** Condition…=: where it does not hold, a start does nothing at all. */
  readonly condition?: () => boolean;
  /** ExecCondition=: where it does not hold, a start ends at once and is not repeated. */
  readonly execCondition?: () => boolean;
  /** The program begins. */
  readonly begun: () => void;
  /** Whether a program that has begun is ready now; asked every `askMs`. */
  readonly isReady: () => boolean;
  /** ExecReload= of a running program. */
  readonly reloaded?: () => void;
  readonly askMs: number;
  readonly stopMs: readonly [number, number];
}

const noRun = { invocation: 0, startedMs: 0, result: 'success' };

export class UnitModel implements DrivenUnit {
  active: Active = 'inactive';
  /** What a person made of its file. */
  file: 'enabled' | 'disabled' | 'masked' = 'enabled';
  /** Monotonic ms of each time that the program began. */
  readonly begins: number[] = [];
  changed: () => void = () => undefined;
  private readonly clock: VirtualClock;
  private readonly random: Random;
  private readonly program: Program;
  private phase: Phase = 'start';
  private job: 'start' | 'restart' | 'stop' | undefined;
  /** The job waits: for PID 1, or for the former run to end. */
  private isQueued = false;
  /** Told apart from what was under way before. */
  private turn = 0;
  private invocations = 0;
  private newest = noRun;
  /** The window in which starts are counted begins with the first of them, and does not move on. */
  private counted = { sinceMs: Number.NEGATIVE_INFINITY, starts: 0 };

  constructor(clock: VirtualClock, random: Random, program: Program) {
    this.clock = clock;
    this.random = random;
    this.program = program;
  }

  start(): void {
    this.needUnmasked();
    if (this.hasProcess()) return;
    // One that waits for RestartSec= is counted, makes PID 1 restart the unit at once, and that is counted again. Before systemd
    // 257 the restart comes no earlier for it; mooring itself starts no unit that waits.
    const isRefused = this.active === 'activating' && !this.isWithinLimit();
    if (isRefused) this.fail();
    else this.queue('start', () => this.launch());
  }

  restart(): void {
    this.needUnmasked();
    if (this.hasProcess()) this.end('restart', () => this.launch());
    else this.queue('start', () => this.launch());
  }

  reload(): void {
    this.program.reloaded?.();
  }

  stop(): void {
    if (this.active === 'inactive' || this.active === 'failed') return;
    if (this.hasProcess()) this.end('stop', () => this.rest());
    else this.queue('stop', () => this.rest());
  }

  /** Clears the count of starts as well, and what is said of the last end, in any state. */
  resetFailed(): void {
    this.counted = { sinceMs: Number.NEGATIVE_INFINITY, starts: 0 };
    this.newest = { ...this.newest, result: 'success' };
    if (this.active === 'failed') this.rest();
  }

  /** The program ends by itself. */
  crash(result: 'exit-code' | 'signal' | 'success' = 'exit-code'): void {
    if (this.active !== 'active' && !(this.active === 'activating' && this.phase === 'start')) return;
    const turn = ++this.turn;
    this.newest = { ...this.newest, result };
    if (this.isMasked) {
      // Its Restart= went with the file.
      if (result === 'success') this.rest();
      else this.fail();
      return;
    }
    this.phase = 'auto-restart';
    this.job = undefined;
    this.become('activating');
    this.clock.after(this.program.restartSecMs, () => {
      if (this.turn !== turn) return;
      // There is nothing to start any more.
      if (this.isMasked) this.fail('resources');
      else this.launch();
    });
  }

  read(): UnitReading {
    const { invocation, startedMs, result } = this.newest;
    return {
      loadState: this.isMasked ? 'masked' : 'loaded',
      activeState: this.active,
      subState: this.subState(),
      unitFileState: this.file,
      result,
      invocationId: invocation === 0 ? '' : invocation.toString(16).padStart(32, '0'),
      mainPid: this.hasMainProcess() ? 1000 + invocation : 0,
      startedMs,
      statusText: '',
      job: this.job,
    };
  }

  private subState(): string {
    const names = { inactive: 'dead', active: 'running', deactivating: 'stop-sigterm', failed: 'failed' };
    return this.active === 'activating' ? this.phase : names[this.active];
  }

  /** Something runs that has to end before the next run. */
  hasProcess(): boolean {
    return this.active === 'active' || (this.active === 'activating' && this.phase !== 'auto-restart');
  }

  private hasMainProcess(): boolean {
    if (this.active === 'activating') return this.phase === 'start' && this.program.forks !== true;
    return this.active === 'active' || this.active === 'deactivating';
  }

  private get isMasked(): boolean {
    return this.file === 'masked';
  }

  private needUnmasked(): void {
    if (this.isMasked) throw new SystemError('unit-masked', 'it is masked');
  }

  private queue(
    job: 'start' | 'restart' | 'stop',
    then: () => void,
    delayMs = this.random.between(1, 20),
  ): void {
    if (this.isQueued) throw new SystemError('two-jobs', 'a second job was queued beside the first');
    this.isQueued = true;
    this.job = job;
    const turn = ++this.turn;
    this.clock.after(delayMs, () => {
      this.isQueued = false;
      if (turn === this.turn) then();
    });
  }

  private end(job: 'restart' | 'stop', then: () => void): void {
    const [low, high] = this.program.stopMs;
    this.queue(job, then, this.random.between(low, high));
    this.become('deactivating');
  }

  private launch(): void {
    const turn = ++this.turn;
    this.job = undefined;
    if (this.program.condition?.() === false) {
      this.rest();
      return;
    }
    if (!this.isWithinLimit()) {
      this.fail();
      return;
    }
    this.job = 'start';
    this.invocations += 1;
    this.newest = { ...noRun, invocation: this.invocations };
    const { execCondition } = this.program;
    if (execCondition === undefined) {
      this.begin();
      return;
    }
    this.phase = 'condition';
    this.become('activating');
    this.clock.after(this.random.between(10, 40), () => {
      if (turn !== this.turn) return;
      if (execCondition()) {
        this.begin();
        return;
      }
      this.newest = { ...this.newest, result: 'exec-condition' };
      this.rest();
    });
  }

  private isWithinLimit(): boolean {
    const { limit, limitPeriodMs } = this.program;
    const { nowMs } = this.clock;
    const { sinceMs, starts } = this.counted;
    this.counted =
      nowMs - sinceMs > limitPeriodMs ? { sinceMs: nowMs, starts: 1 } : { sinceMs, starts: starts + 1 };
    return this.counted.starts <= limit;
  }

  private begin(): void {
    const turn = this.turn;
    if (this.program.forks !== true) this.noteStart();
    this.begins.push(this.clock.nowMs);
    this.phase = 'start';
    this.program.begun();
    this.become('activating');
    this.wait(turn);
  }

  private noteStart(): void {
    this.newest = { ...this.newest, startedMs: this.clock.nowMs };
  }

  private wait(turn: number): void {
    this.clock.after(this.program.askMs, () => {
      if (turn !== this.turn) return;
      if (!this.program.isReady()) {
        this.wait(turn);
        return;
      }
      if (this.program.forks === true) this.noteStart();
      this.job = undefined;
      this.become('active');
    });
  }

  /** Not started again. What is known of the last end is kept. */
  private fail(why: 'start-limit-hit' | 'resources' = 'start-limit-hit'): void {
    this.turn += 1;
    this.job = undefined;
    if (this.newest.result === 'success') this.newest = { ...this.newest, result: why };
    this.become('failed');
  }

  /** Inactive, by whatever way. */
  private rest(): void {
    this.turn += 1;
    this.job = undefined;
    if (this.program.isForgotten === true) {
      this.newest = noRun;
      this.counted = { sinceMs: Number.NEGATIVE_INFINITY, starts: 0 };
    }
    this.become('inactive');
  }

  private become(active: Active): void {
    this.active = active;
    this.changed();
  }
}
