/** `mooring wait [--timeout 10m]`: returns when the node is Ready; mooring-online.target hangs on it. */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../systems/error.ts';
import { askMooring } from '../systems/mooring/client.ts';
import { type CliContext, exitCode } from './context.ts';
import { paths } from './paths.ts';

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };
const pollMs = 1_000;

export async function wait(context: CliContext): Promise<number> {
  const timeoutMs = parseTimeout(context.flags['timeout']);
  if (timeoutMs === undefined) {
    context.complain(
      `--timeout: found "${context.flags['timeout']}"; allowed: a duration such as 90s, 10m or 1h`,
    );
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

/** ms; without the flag it waits for ever. */
function parseTimeout(text: string | boolean | undefined): number | undefined {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const match = typeof text === 'string' ? /^(\d{1,6})(s|m|h)$/.exec(text) : null;
  return match?.[1] && match[2] ? Number(match[1]) * (unitsMs[match[2]] ?? 0) : undefined;
}

/** A mooring that is not there yet is waited for as well. */
async function look(): Promise<{ ready: boolean; why: string }> {
  try {
    const { status, text } = await askMooring(paths.socket, '/readyz', pollMs);
    return { ready: status === 200, why: text.trim() };
  } catch (error) {
    return { ready: false, why: messageOf(error) };
  }
}
