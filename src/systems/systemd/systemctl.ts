/**
 * `systemctl` for verbs that root runs by hand: it waits until what was asked for has happened, and knows how units are enabled.
 * The daemon asks PID 1 over D-Bus instead.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { SystemError } from '../error.ts';

const execute = promisify(execFile);

/** Whether the unit runs, or is about to. A unit that is not there does not. */
export async function isActive(unit: string): Promise<boolean> {
  const answer = await execute('systemctl', ['show', unit, '-p', 'ActiveState', '--value'], {
    timeout: 10_000,
    maxBuffer: 64 * 1024,
  }).catch((error: unknown) => {
    throw new SystemError('systemctl-failed', `systemctl show ${unit} did not answer`, { cause: error });
  });
  return !['inactive', 'failed', ''].includes(answer.stdout.trim());
}

/** Runs it. Throws SystemError `systemctl-failed` with what it said, also where it takes longer than `deadlineMs`. */
export async function systemctl(args: readonly string[], deadlineMs: number): Promise<void> {
  try {
    await execute('systemctl', ['--no-pager', '--quiet', '--no-ask-password', ...args], {
      timeout: deadlineMs,
      maxBuffer: 256 * 1024,
    });
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const why = said.split('\n')[0] || `it did not end well within ${deadlineMs / 1000} s`;
    throw new SystemError('systemctl-failed', `systemctl ${args.join(' ')}: ${why}`, { cause: error });
  }
}
