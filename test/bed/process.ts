/**
 * How the bed runs programs of the host: every command has a deadline, every failure says what ran and what it printed.
 * Nothing here waits blindly; `waitFor` looks again and again until a bound.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';

/** Something the bed could not do. The message is for the person who runs the tests. */
export class BedError extends Error {
  override readonly name = 'BedError';
}

/** What a finished command left. `exitCode` is 128+n for a signal, 124 for the deadline. */
export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run one command. */
export interface CommandOptions {
  /** Given on standard input; without it the command reads nothing. */
  readonly input?: string | Buffer | undefined;
  /** 30 s unless told. */
  readonly timeoutMs?: number | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
}

const defaultTimeoutMs = 30_000;

/** Runs a command to its end. Never throws for a command that failed, only for one that cannot be started. */
export async function tryRun(
  command: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const [program, ...args] = command;
  if (program === undefined) throw new BedError('an empty command');
  const result = await execa(program, args, {
    input: options.input ?? '',
    timeout: options.timeoutMs ?? defaultTimeoutMs,
    forceKillAfterDelay: 1000,
    reject: false,
    stripFinalNewline: true,
    maxBuffer: 32 * 1024 * 1024,
    env: { LC_ALL: 'C.UTF-8', ...options.env },
  });
  if (result.timedOut) {
    return {
      exitCode: 124,
      stdout: result.stdout,
      stderr: `${result.stderr}\n(no end after ${options.timeoutMs ?? defaultTimeoutMs} ms)`,
    };
  }
  if (result.exitCode === undefined && result.signal === undefined) {
    throw new BedError(
      `cannot run ${program}: ${result.originalMessage ?? result.shortMessage ?? 'unknown'}`,
    );
  }
  return { exitCode: result.exitCode ?? 128, stdout: result.stdout, stderr: result.stderr };
}

/** Runs a command and returns what it printed; throws BedError with its output where it failed. */
export async function run(command: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await tryRun(command, options);
  if (result.exitCode === 0) return result.stdout;
  throw failed(command, result);
}

/** The error that tells which command failed and the last it said. */
export function failed(command: readonly string[], result: CommandResult): BedError {
  const said = [result.stderr, result.stdout].filter((text) => text !== '').join('\n');
  return new BedError(`\`${command.join(' ')}\` ended with ${result.exitCode}:\n${tail(said, 40)}`);
}

/** A file's SHA-256, in hex. */
export async function sha256(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}

/** The last `lines` lines of a text. */
export function tail(text: string, lines: number): string {
  return text.split('\n').slice(-lines).join('\n');
}

/** How long and how often `waitFor` looks. */
export interface WaitOptions {
  readonly timeoutMs: number;
  /** 100 ms unless told. */
  readonly everyMs?: number;
  /** More to say when the time is up, such as a log. */
  readonly context?: () => Promise<string>;
}

/**
 * Looks until `probe` returns something else than undefined or false. An error of the probe means "not yet" and is told
 * when the time is up. `what` completes the sentence "waited … s for …".
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  options: WaitOptions,
): Promise<T> {
  const startedAt = performance.now();
  let lastError: unknown;
  while (true) {
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() - startedAt > options.timeoutMs) break;
    await delay(options.everyMs ?? 100);
  }
  const why = lastError instanceof Error ? `\nlast error: ${lastError.message}` : '';
  const context = options.context === undefined ? '' : `\n${await options.context()}`;
  throw new BedError(`waited ${options.timeoutMs / 1000} s for ${what}${why}${context}`);
}
