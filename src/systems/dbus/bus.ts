/**
 * The one D-Bus connection of the daemon, made again whenever it ends.
 *
 * What must hold: at most one connection at a time; the same fixed set of match rules on each, added once; after a
 * reconnect the loop is woken, since signals were missed; nothing ticks while the bus is idle.
 */
import { messageOf, SystemError } from '../error.ts';
import type { Log } from '../log.ts';
import type { Wake } from '../wake.ts';
import { type Connection, openConnection } from './connection.ts';
import type { Bus, BusSignal } from './types.ts';

/** Where systemd's dbus.socket listens. */
export const systemBusAddress = 'unix:path=/run/dbus/system_bus_socket';

const defaultDeadlineMs = 2_000;
const firstDelayMs = 100;
const maxDelayMs = 30_000;

/** What the bus is made of. */
export interface BusOptions {
  /** `unix:path=…`; the system bus by default. */
  readonly address?: string;
  /** All match rules that anyone will need; repeated ones are sent once. */
  readonly matches: readonly string[];
  readonly wake: Wake;
  readonly log: Log;
  /** Default deadline of a call, ms. */
  readonly deadlineMs?: number;
  /** In [0, 1); for jitter. */
  readonly random?: () => number;
}

/** Starts to connect at once and keeps at it until `close`. */
export function createBus(options: BusOptions): Bus {
  const {
    address = systemBusAddress,
    wake,
    log,
    deadlineMs = defaultDeadlineMs,
    random = Math.random,
  } = options;
  const matches = [...new Set(options.matches)];
  const signalHandlers: ((signal: BusSignal) => void)[] = [];
  const disconnectHandlers: ((reason: string) => void)[] = [];
  let connection: Connection | undefined;
  let retry: NodeJS.Timeout | undefined;
  let connected = false;
  let connections = 0;
  let openedAtMs = 0;
  /** Tries since the last connection that lasted. */
  let tries = 0;
  let lastReason = 'not connected yet';
  let complained = false;

  function tell<Value>(handlers: readonly ((value: Value) => void)[], value: Value): void {
    for (const handler of handlers) {
      try {
        handler(value);
      } catch (error) {
        log('error', `A D-Bus handler failed: ${messageOf(error)}`);
      }
    }
  }

  function opened(): void {
    connected = true;
    connections += 1;
    openedAtMs = performance.now();
    complained = false;
    if (connections > 1) log('info', 'D-Bus connection is back');
    if (connections > 1 || tries > 0) wake('dbus reconnected');
  }

  /** The longest pause before the next try. */
  function ceilingMs(): number {
    return Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(tries, 20));
  }

  function ended(reason: string): void {
    const wasConnected = connected;
    connected = false;
    connection = undefined;
    lastReason = reason;
    // A connection that lasted longer than the pause before it shows that the bus is well again.
    if (wasConnected && performance.now() - openedAtMs >= ceilingMs()) tries = 0;
    const delayMs = random() * ceilingMs();
    tries += 1;
    if (!complained) log('warning', `No D-Bus connection (${address}): ${reason}. Trying again.`);
    complained = true;
    retry = setTimeout(open, delayMs);
    if (!wasConnected) return;
    tell(disconnectHandlers, reason);
    wake('dbus disconnected');
  }

  function open(): void {
    connection = openConnection({
      address,
      matches,
      deadlineMs,
      onOpen: opened,
      onSignal: (signal) => tell(signalHandlers, signal),
      onRefusedMatch: (rule, error) => log('error', `D-Bus refused a match rule (${rule}): ${error}`),
      onEnd: ended,
    });
  }

  open();

  return {
    get connected() {
      return connected;
    },
    get connections() {
      return connections;
    },
    call(request) {
      if (connection !== undefined) return connection.call(request);
      return Promise.reject(
        new SystemError('dbus-disconnected', `${request.member}: no D-Bus connection: ${lastReason}`),
      );
    },
    onSignal(handler) {
      signalHandlers.push(handler);
    },
    onDisconnect(handler) {
      disconnectHandlers.push(handler);
    },
    close() {
      clearTimeout(retry);
      connected = false;
      lastReason = 'closed by mooring';
      connection?.close();
      connection = undefined;
    },
  };
}
