/** `mooring wait [--timeout 10m]`: returns when the node is Ready; mooring-online.target hangs on it. */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../systems/error.ts';
import { askMooring } from '../systems/mooring/client.ts';
import { type CliContext, exitCode } from './context.ts';
import { badTimeout, parseTimeout } from './parse-timeout.ts';
import { paths } from './paths.ts';

const pollMs = 1_000;

export async function wait(context: CliContext): Promise<number> {
  const timeoutMs = parseTimeout(context.flags['timeout'], Number.POSITIVE_INFINITY);
  if (timeoutMs === undefined) {
    context.complain(badTimeout(context.flags['timeout']));
    return exitCode.usage;
  }
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen.ready) {
      context.print('the node is moored');
      return exitCode.fine;
    }
    if (performance.now() + pollMs > deadlineMs) {
      context.complain(`not moored after ${Math.round(timeoutMs / 1000)} s: ${seen.why}`);
      return exitCode.notFine;
    }
    await delay(pollMs);
  }
}

async function look(): Promise<{ ready: boolean; why: string }> {
  try {
    const { status, text } = await askMooring(paths.socket, '/readyz', pollMs);
    return { ready: status === 200, why: text.trim() };
  } catch (error) {
    return { ready: false, why: messageOf(error) };
  }
}
