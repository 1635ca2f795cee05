/**
 * A message bus of one's own: a real dbus-daemon on a socket in a temporary folder, and services on it that do what a
 * test tells them. Nothing of it reaches the machine's own buses.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import createTransport from 'dbus-next/lib/connection.js';
import messageType from 'dbus-next/lib/message-type.js';
import variantType from 'dbus-next/lib/variant.js';

const boundMs = 5_000;

/** The bus. `close` ends the daemon and removes its folder, whatever happened before. */
export interface PrivateBus {
  readonly address: string;
  /** Kills the daemon outright; its socket is gone afterwards. */
  kill(): Promise<void>;
  /** Starts the daemon again on the same address. */
  restart(): Promise<void>;
  /** Stops the daemon's process without closing anything, as a machine out of memory would. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

function config(address: string): string {
  return `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>${address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
`;
}

/** Starts a daemon and waits until it listens. */
export async function startPrivateBus(): Promise<PrivateBus> {
  const folder = await mkdtemp(join(tmpdir(), 'mooring-bus-'));
  const address = `unix:path=${join(folder, 'bus')}`;
  const configFile = join(folder, 'bus.conf');
  await writeFile(configFile, config(address));
  let daemon: ChildProcess | undefined;

  async function start(): Promise<void> {
    const child = spawn('dbus-daemon', [`--config-file=${configFile}`, '--nofork', '--print-address'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    daemon = child;
    await once(child.stdout, 'data', { signal: AbortSignal.timeout(boundMs) });
  }

  async function kill(): Promise<void> {
    const child = daemon;
    daemon = undefined;
    if (child === undefined) return;
    const exited = once(child, 'exit', { signal: AbortSignal.timeout(boundMs) });
    child.kill('SIGKILL');
    await exited;
    await rm(join(folder, 'bus'), { force: true });
  }

  await start();
  return {
    address,
    kill,
    restart: start,
    freeze: () => {
      daemon?.kill('SIGSTOP');
    },
    thaw: () => {
      daemon?.kill('SIGCONT');
    },
    async close() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A call that a fake received. */
export interface ReceivedCall {
  readonly sender: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly unknown[];
}

/** What a fake does with a call. */
export type Answer =
  | { readonly kind: 'return'; readonly signature: string; readonly body: readonly unknown[] }
  | { readonly kind: 'error'; readonly name: string; readonly text: string }
  /** Never answers. */
  | { readonly kind: 'silence' };

/** The empty answer. */
export const done: Answer = { kind: 'return', signature: '', body: [] };

/** An error answer. */
export function failure(name: string, text: string): Answer {
  return { kind: 'error', name, text };
}

/** A member of the bus that answers calls. */
export interface FakeService {
  /** Its unique name. */
  readonly unique: string;
  readonly calls: readonly ReceivedCall[];
  /** Sends a signal, to everyone or to one unique name. */
  emit(
    path: string,
    iface: string,
    member: string,
    signature: string,
    body: readonly unknown[],
    to?: string,
  ): void;
  /** Calls another member and gives the body of its answer. */
  call(fields: {
    readonly destination: string;
    readonly path: string;
    readonly interface: string;
    readonly member: string;
    readonly signature?: string;
    readonly body?: readonly unknown[];
  }): Promise<readonly unknown[]>;
  /** Leaves the bus, and with it gives up its name. */
  leave(): Promise<void>;
}

/** Wraps a value as `v`. */
export function variant(signature: string, value: unknown): unknown {
  return new variantType.Variant(signature, value);
}

/** Joins a bus, takes `name` if one is given, and has `handler` answer. Failures of the handler fail the process: they are the test's. */
export async function joinBus(
  address: string,
  name: string | undefined,
  handler: (call: ReceivedCall) => Answer,
): Promise<FakeService> {
  const transport = createTransport({
    busAddress: address.replace('unix:path=', 'unix:socket='),
    authMethods: ['EXTERNAL'],
  });
  const calls: ReceivedCall[] = [];
  const answers = new Map<number, PromiseWithResolvers<readonly unknown[]>>();
  let serial = 0;
  const nextSerial = () => {
    serial += 1;
    return serial;
  };
  transport.on('error', () => {});
  transport.on('message', (message: InstanceType<typeof messageType.Message>) => {
    if (message.replySerial !== undefined) {
      const waiting = answers.get(message.replySerial);
      answers.delete(message.replySerial);
      if (message.type === 2) waiting?.resolve(message.body);
      else waiting?.reject(new Error(`${message.errorName}: ${message.body[0]}`));
      return;
    }
    if (message.type !== 1) return;
    const { sender = '', path = '', interface: iface = '', member = '', body } = message;
    const received = { sender, path, interface: iface, member, body };
    calls.push(received);
    const answer = handler(received);
    if (answer.kind === 'silence') return;
    const reply = { serial: nextSerial(), replySerial: message.serial, destination: sender };
    transport.message(
      answer.kind === 'return'
        ? new messageType.Message({ ...reply, type: 2, signature: answer.signature, body: answer.body })
        : new messageType.Message({
            ...reply,
            type: 3,
            errorName: answer.name,
            signature: 's',
            body: [answer.text],
          }),
    );
  });

  const call: FakeService['call'] = (fields) => {
    const waiting = Promise.withResolvers<readonly unknown[]>();
    const own = nextSerial();
    answers.set(own, waiting);
    transport.message(new messageType.Message({ ...fields, serial: own }));
    return waiting.promise;
  };
  const toBus = {
    destination: 'org.freedesktop.DBus',
    path: '/org/freedesktop/DBus',
    interface: 'org.freedesktop.DBus',
  };

  await once(transport, 'connect', { signal: AbortSignal.timeout(boundMs) });
  const [unique] = await call({ ...toBus, member: 'Hello' });
  if (name !== undefined) await call({ ...toBus, member: 'RequestName', signature: 'su', body: [name, 4] });

  return {
    unique: String(unique),
    calls,
    call,
    emit(path, iface, member, signature, body, to) {
      transport.message(
        new messageType.Message({
          type: 4,
          serial: nextSerial(),
          path,
          interface: iface,
          member,
          signature,
          body,
          ...(to === undefined ? {} : { destination: to }),
        }),
      );
    },
    async leave() {
      if (transport.stream.destroyed) return;
      const closed = once(transport.stream, 'close', { signal: AbortSignal.timeout(boundMs) });
      transport.stream.destroy();
      await closed;
    },
  };
}

/** Collects words and lets a test wait for one. */
export interface Recorder {
  readonly words: string[];
  readonly record: (word: string) => void;
  /** Resolves once a word that matches was recorded at or after position `from`, 0 by default. Rejects after some seconds. */
  saw(pattern: RegExp, from?: number): Promise<void>;
}

/** A recorder, for wakes and the like. */
export function createRecorder(): Recorder {
  const words: string[] = [];
  const checks = new Set<() => void>();
  return {
    words,
    record(word) {
      words.push(word);
      for (const check of [...checks]) check();
    },
    saw(pattern, from = 0) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          checks.delete(check);
          reject(new Error(`never saw ${pattern}, only: ${words.slice(from).join(' | ')}`));
        }, boundMs);
        const check = () => {
          if (!words.slice(from).some((word) => pattern.test(word))) return;
          clearTimeout(timer);
          checks.delete(check);
          resolve();
        };
        checks.add(check);
        check();
      });
    },
  };
}
