/**
 * One connection to a message bus, from the socket to its end.
 *
 * What must hold: every call settles, by its answer, its deadline or the end of the connection, and leaves nothing
 * behind; `onEnd` comes once and only after everything pending has failed; no error of the library escapes as an
 * 'error' event, an exception in an event handler or an unhandled rejection.
 */
import createTransport, { type Transport } from 'dbus-next/lib/connection.js';
import messageType, { type Message } from 'dbus-next/lib/message-type.js';
import { messageOf, SystemError } from '../error.ts';
import type { BusRequest, BusSignal } from './types.ts';

const typeMethodReturn = 2;
const typeSignal = 4;
const flagNoAutoStart = 2;

const busItself = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;

/** What a connection needs and whom it tells. */
export interface ConnectionOptions {
  readonly address: string;
  /** Match rules, sent once, right after Hello. */
  readonly matches: readonly string[];
  /** The default deadline of a call, and that of the way to an open connection. */
  readonly deadlineMs: number;
  readonly onOpen: () => void;
  readonly onSignal: (signal: BusSignal) => void;
  /** A match rule that the bus refused: signals will be missing. */
  readonly onRefusedMatch: (rule: string, error: string) => void;
  /** The connection is over, or never came about. Not called after `close`. */
  readonly onEnd: (reason: string) => void;
}

/** An opening, open or ended connection. */
export interface Connection {
  call(request: BusRequest): Promise<readonly unknown[]>;
  close(): void;
}

interface Pending {
  readonly request: BusRequest;
  readonly resolve: (body: readonly unknown[]) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** The same address without dbus-next's optional native socket, which it would prefer for `unix:path=`. */
function plainSocketAddress(address: string): string {
  return address.replaceAll('unix:path=', 'unix:socket=');
}

/** Starts to connect. Failures come through `onEnd`, also at once, but never before this function has returned. */
export function openConnection(options: ConnectionOptions): Connection {
  const pending = new Map<number, Pending>();
  let held: number[] = [];
  let state: 'opening' | 'open' | 'ended' = 'opening';
  let lastSerial = 0;
  let probing = false;
  let transport: Transport | undefined;

  const opening = setTimeout(() => end('no connection within the deadline'), options.deadlineMs);

  function end(reason: string, tell = true): void {
    if (state === 'ended') return;
    state = 'ended';
    clearTimeout(opening);
    held = [];
    const lost = [...pending.values()];
    pending.clear();
    for (const { request, reject, timer } of lost) {
      clearTimeout(timer);
      reject(new SystemError('dbus-disconnected', `${request.member}: D-Bus connection lost: ${reason}`));
    }
    transport?.stream.destroy();
    if (tell) options.onEnd(reason);
  }

  function send(serial: number): void {
    const entry = pending.get(serial);
    if (entry === undefined || transport === undefined) return;
    if (!transport.stream.writable) {
      end('the socket is closed');
      return;
    }
    try {
      const { deadlineMs: _, autoStart, ...fields } = entry.request;
      transport.message(
        new messageType.Message({ ...fields, serial, flags: autoStart === false ? flagNoAutoStart : 0 }),
      );
    } catch (error) {
      // The socket was writable, so the request itself is malformed: the caller's fault, not the connection's.
      pending.delete(serial);
      clearTimeout(entry.timer);
      entry.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  function enqueue(request: BusRequest, hold: boolean): Promise<readonly unknown[]> {
    return new Promise((resolve, reject) => {
      if (state === 'ended') {
        return reject(new SystemError('dbus-disconnected', `${request.member}: no D-Bus connection`));
      }
      lastSerial += 1;
      const serial = lastSerial;
      const deadlineMs = request.deadlineMs ?? options.deadlineMs;
      const timer = setTimeout(() => {
        pending.delete(serial);
        reject(
          new SystemError(
            'dbus-deadline',
            `${request.destination} did not answer ${request.member} in ${deadlineMs} ms`,
          ),
        );
        probe();
      }, deadlineMs);
      pending.set(serial, { request, resolve, reject, timer });
      if (hold) held.push(serial);
      else send(serial);
    });
  }

  /** A missed deadline may mean a dead connection that nobody told us of: then the bus itself is silent as well. */
  function probe(): void {
    if (probing || state !== 'open') return;
    probing = true;
    enqueue({ ...busItself, member: 'GetId', deadlineMs: options.deadlineMs }, false)
      .catch((error: unknown) => end(`the bus is silent: ${messageOf(error)}`))
      .finally(() => {
        probing = false;
      });
  }

  function greet(): void {
    enqueue({ ...busItself, member: 'Hello' }, false)
      .then(() => {
        if (state !== 'opening') return;
        state = 'open';
        clearTimeout(opening);
        // The bus handles a connection's messages in order: whatever is called from here on is called with the matches set.
        for (const rule of options.matches) {
          enqueue({ ...busItself, member: 'AddMatch', signature: 's', body: [rule] }, false).catch(
            (error: unknown) => {
              if (state === 'open') options.onRefusedMatch(rule, messageOf(error));
            },
          );
        }
        const waiting = held;
        held = [];
        for (const serial of waiting) send(serial);
        options.onOpen();
      })
      .catch((error: unknown) => end(messageOf(error)));
  }

  function receive(message: Message): void {
    if (message.type === typeSignal) {
      // What is addressed to us alone bypassed the match rules, and with them the check of who sent it.
      if (message.destination !== undefined) return;
      const { sender = '', path = '', interface: iface = '', member = '', body } = message;
      options.onSignal({ sender, path, interface: iface, member, body });
      return;
    }
    if (message.replySerial === undefined) return;
    const entry = pending.get(message.replySerial);
    if (entry === undefined) return;
    pending.delete(message.replySerial);
    clearTimeout(entry.timer);
    if (message.type === typeMethodReturn) {
      entry.resolve(message.body);
      return;
    }
    const text = message.body[0];
    const code = message.errorName ?? 'org.freedesktop.DBus.Error.Failed';
    entry.reject(new SystemError(code, typeof text === 'string' && text !== '' ? text : code));
  }

  try {
    transport = createTransport({
      busAddress: plainSocketAddress(options.address),
      // The others fall back to cookies in $HOME and turn a refusal into a puzzle.
      authMethods: ['EXTERNAL'],
    });
    transport.on('error', (error: unknown) => end(messageOf(error)));
    transport.on('end', () => end('closed by the bus'));
    transport.stream.once('close', () => end('socket closed'));
    transport.once('connect', greet);
    transport.on('message', receive);
  } catch (error) {
    const reason = messageOf(error);
    setImmediate(() => end(reason));
  }

  return {
    call: (request) => enqueue(request, state === 'opening'),
    close: () => end('closed by mooring', false),
  };
}
