/** systemd with the two units, k3s and nginx behind them: jobs, ExecCondition, Restart= with its limit, invocation ids. */
import { SystemError } from '../../../src/systems/error.ts';
import type { UnitReading } from '../../../src/systems/systemd/types.ts';
import type { Random } from '../../support/random.ts';
import type { VirtualClock } from '../clock.ts';
import type { DrivenUnit } from './systemd.ts';

type Active = 'inactive' | 'activating' | 'active' | 'deactivating' | 'failed';

/** What makes a unit differ from another. */
export interface Program {
  /** ExecCondition=: whether the start may go on. */
  readonly mayStart: () => boolean;
  /** The program begins. */
  readonly begun: () => void;
  /** Whether a program that has begun is ready now; asked every `askMs`. */
  readonly isReady: () => boolean;
  /** ExecReload= of a running program. */
  readonly reloaded?: () => void;
  readonly askMs: number;
  readonly stopMs: readonly [number, number];
  readonly restartSecMs: number;
  /** StartLimitBurst=. */
  readonly limit: number;
}

const limitPeriodMs = 600_000;

export class UnitModel implements DrivenUnit {
  active: Active = 'inactive';
  result = 'success';
  /** Jobs that somebody asked for and that have not ended. */
  jobs = 0;
  /** Monotonic ms of each time that the program began. */
  readonly begins: number[] = [];
  changed: () => void = () => undefined;
  private readonly clock: VirtualClock;
  private readonly random: Random;
  private readonly program: Program;
  private run = 0;
  private invocation = 0;
  private autoRestart = false;
  private counted: number[] = [];

  constructor(clock: VirtualClock, random: Random, program: Program) {
    this.clock = clock;
    this.random = random;
    this.program = program;
  }

  start(): void {
    if (this.active === 'active' || (this.active === 'activating' && !this.autoRestart)) return;
    this.job(() => this.launch());
  }

  restart(): void {
    if (this.active === 'inactive' || this.active === 'failed') {
      this.start();
      return;
    }
    this.run += 1;
    const [low, high] = this.program.stopMs;
    this.become('deactivating');
    this.job(() => this.launch(), this.random.between(low, high));
  }

  reload(): void {
    this.program.reloaded?.();
  }

  stop(): void {
    this.run += 1;
    this.become('inactive');
  }

  resetFailed(): void {
    this.counted = [];
    if (this.active === 'failed') this.become('inactive');
  }

  /** The program ends by itself, with an error. */
  crash(): void {
    if (this.active !== 'active' && this.active !== 'activating') return;
    const run = ++this.run;
    this.result = 'exit-code';
    this.autoRestart = true;
    this.become('activating');
    this.clock.after(this.program.restartSecMs, () => {
      if (this.run === run) this.launch();
    });
  }

  read(): UnitReading {
    return {
      loadState: 'loaded',
      activeState: this.active,
      subState: this.autoRestart ? 'auto-restart' : this.active,
      unitFileState: 'static',
      result: this.result,
      invocationId: this.invocation === 0 ? '' : this.invocation.toString(16).padStart(32, '0'),
      mainPid: this.isRunning() ? 1000 + this.invocation : 0,
      startedMs: this.begins.at(-1) ?? 0,
      statusText: '',
      job: this.jobs > 0 ? 'start' : undefined,
    };
  }

  /** Whether the program runs, ready or not. */
  private isRunning(): boolean {
    return this.active === 'active' || (this.active === 'activating' && !this.autoRestart);
  }

  private job(then: () => void, delayMs = this.random.between(1, 20)): void {
    if (this.jobs > 0) throw new SystemError('two-jobs', 'a second job was queued beside the first');
    this.jobs += 1;
    const run = ++this.run;
    this.clock.after(delayMs, () => {
      this.jobs -= 1;
      if (run === this.run) then();
    });
  }

  private launch(): void {
    const run = ++this.run;
    this.autoRestart = false;
    const now = this.clock.nowMs;
    this.counted = this.counted.filter((at) => now - at < limitPeriodMs);
    if (this.counted.length >= this.program.limit) {
      this.result = 'start-limit-hit';
      this.become('failed');
      return;
    }
    this.counted.push(now);
    if (!this.program.mayStart()) {
      this.result = 'exec-condition';
      this.become('inactive');
      return;
    }
    this.result = 'success';
    this.invocation += 1;
    this.begins.push(now);
    this.program.begun();
    this.become('activating');
    this.wait(run);
  }

  private wait(run: number): void {
    this.clock.after(this.program.askMs, () => {
      if (run !== this.run) return;
      if (this.program.isReady()) this.become('active');
      else this.wait(run);
    });
  }

  private become(active: Active): void {
    this.active = active;
    if (active !== 'activating') this.autoRestart = false;
    this.changed();
  }
}
