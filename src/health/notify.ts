/**
 * sd_notify: READY, STATUS, WATCHDOG, RELOADING and STOPPING to the systemd that started the daemon. Without
 * NOTIFY_SOCKET nothing is sent. A message that fails is told once in the log and never stops the daemon: each is a short
 * process (systemd-notify). What systemd acts upon is not lost with it: READY and STATUS are sent again with the next pass.
 */
import { execa } from 'execa';
import systemdNotify from 'systemd-notify';

export interface Notifier {
  ready(status: string): Promise<void>;
  /** Sent only when the sentence is another than the last one that got through; as READY while that did not. */
  status(sentence: string): Promise<void>;
  reloading(): Promise<void>;
  stopping(): Promise<void>;
  watchdog(): Promise<void>;
  /** How often the watchdog wants to hear, ms; undefined where it is off. */
  readonly watchdogIntervalMs: number | undefined;
}

const deadlineMs = 5_000;

export function createNotifier(environment: NodeJS.ProcessEnv, warn: (message: string) => void): Notifier {
  const isOn = (environment['NOTIFY_SOCKET'] ?? '') !== '';
  const watchdogUs = Number(environment['WATCHDOG_USEC'] ?? '0');
  let last = '';
  let isReadyOwed = false;
  let warned = false;

  /** Whether it got through. */
  async function guarded(send: () => Promise<unknown>): Promise<boolean> {
    if (!isOn) return false;
    try {
      await send();
      warned = false;
      return true;
    } catch (error) {
      if (!warned)
        warn(`systemd could not be notified: ${error instanceof Error ? error.message : String(error)}`);
      warned = true;
      return false;
    }
  }
  async function raw(...words: string[]): Promise<void> {
    await guarded(() => execa('systemd-notify', words, { stdio: 'ignore', timeout: deadlineMs }));
  }
  async function ready(sentence: string): Promise<void> {
    isReadyOwed = !(await guarded(() => systemdNotify({ ready: true, status: oneLine(sentence) })));
    if (!isReadyOwed) last = sentence;
  }

  return {
    watchdogIntervalMs: isOn && watchdogUs > 0 ? Math.floor(watchdogUs / 2000) : undefined,
    ready,
    async status(sentence) {
      if (isReadyOwed) return ready(sentence);
      if (sentence === last) return;
      if (await guarded(() => systemdNotify({ status: oneLine(sentence) }))) last = sentence;
    },
    reloading: () => raw('RELOADING=1', 'STATUS=Reading the config'),
    stopping: () => raw('STOPPING=1', 'STATUS=Stopping; DNS, k3s and ingress stay as they are'),
    watchdog: () => raw('WATCHDOG=1'),
  };
}

/** A status is one line, and of a sensible length. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ').slice(0, 400);
}
