/**
 * One run of the bed: it owns what it starts and ends all of it, whether the tests finish, throw, or are interrupted.
 * A run that is kept (KEEP=1) is left alone at exit and swept by the next one.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { claimRun, inRun, killCgroup, newRunId, removeRun, runDir, sweepDeadRuns } from './host.ts';
import { BedError, type CommandOptions, type CommandResult, failed, tail, tryRun } from './process.ts';

/** A program the run keeps going in the background. */
export interface Background {
  readonly pid: number;
  /** Exit code, or 128 where a signal ended it. Never rejects. */
  readonly ended: Promise<number>;
  /** What it printed so far, both streams. */
  log(): Promise<string>;
}

/** Where a program runs. */
export interface Place {
  /** Network namespace; the host's own where absent. */
  readonly netns?: string | undefined;
  /** Which part of the run's cgroup it belongs to. */
  readonly part: string;
  readonly env?: Readonly<Record<string, string>> | undefined;
}

const live = new Set<Run>();
let hooked = false;

/** Ends all live runs; the last resort for exits that nobody foresaw. */
function endAll(): void {
  for (const run of live) run.end();
}

function hookExit(): void {
  if (hooked) return;
  hooked = true;
  process.on('exit', endAll);
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.on(signal, () => process.exit(128 + number));
  }
}

export class Run {
  readonly id: string;
  /** Folder of this run, gone when it ends. */
  readonly dir: string;
  /** Left up when this process exits. */
  #kept = false;
  readonly #mayOutlive: boolean;
  readonly #children: ChildProcess[] = [];

  private constructor(id: string, mayOutlive: boolean) {
    this.id = id;
    this.dir = runDir(id);
    this.#mayOutlive = mayOutlive;
  }

  /** Sweeps what earlier runs left, then starts a new one. `mayOutlive` is for a run that may be kept later. */
  static open(options: { mayOutlive?: boolean } = {}): Run {
    if (process.getuid?.() !== 0) throw new BedError('the bed makes namespaces and mounts: run it as root');
    sweepDeadRuns();
    const run = new Run(newRunId(), options.mayOutlive ?? false);
    claimRun(run.id);
    live.add(run);
    hookExit();
    return run;
  }

  /** Runs a command to its end inside the run, so that it cannot outlive it. */
  tryRun(command: readonly string[], place: Place, options: CommandOptions = {}): Promise<CommandResult> {
    return tryRun(this.#placed(command, place), { ...options, env: { ...place.env, ...options.env } });
  }

  /** As tryRun, but a failure throws BedError with the output. */
  async run(command: readonly string[], place: Place, options: CommandOptions = {}): Promise<string> {
    const result = await this.tryRun(command, place, options);
    if (result.exitCode === 0) return result.stdout;
    throw failed(command, result);
  }

  /** Starts a program in the background; its output goes to `NAME.log` in the run's folder. */
  start(name: string, command: readonly string[], place: Place): Background {
    const logFile = join(this.dir, `${name}.log`);
    const [program = '', ...args] = this.#placed(command, place);
    const out = openSync(logFile, 'a');
    try {
      const child = spawn(program, args, {
        stdio: ['ignore', out, out],
        detached: true,
        env: { ...process.env, LC_ALL: 'C.UTF-8', ...place.env },
      });
      const ended = new Promise<number>((resolve) => {
        child.once('exit', (code) => resolve(code ?? 128));
        child.once('error', () => resolve(127));
      });
      this.#children.push(child);
      if (child.pid === undefined) throw new BedError(`cannot start ${name}: ${command.join(' ')}`);
      return { pid: child.pid, ended, log: async () => tail(await readFile(logFile, 'utf8'), 200) };
    } finally {
      closeSync(out);
    }
  }

  /** Kills every process of one part. */
  killPart(part: string): void {
    killCgroup(this.id, part);
  }

  /** Leaves everything up when this process exits. The next run ends it. */
  keep(): void {
    if (!this.#mayOutlive) throw new BedError('only a run opened with mayOutlive can be kept');
    this.#kept = true;
    for (const child of this.#children) child.unref();
    live.delete(this);
  }

  /** Ends everything. Safe to repeat. */
  end(): void {
    if (this.#kept || !live.has(this)) return;
    live.delete(this);
    removeRun(this.id);
  }

  #placed(command: readonly string[], place: Place): string[] {
    const netns = place.netns;
    const there = netns === undefined ? command : ['ip', 'netns', 'exec', netns, ...command];
    return inRun(this.id, place.part, there, this.#mayOutlive);
  }
}
