/**
 * A laboratory for the stand-in: network namespaces, one instance in each, and a way to talk to them from inside.
 * Must always hold: `close` ends every process and namespace that was made, whatever happened before; every wait
 * has a bound and says what it waited for.
 */
import { type ChildProcess, execFile, execFileSync, fork, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { AgentAnswer, AgentRequest } from './agent.ts';

const run = promisify(execFile);
const here = import.meta.dirname;
const standin = path.resolve(here, '../../bed/standins/zerotier');
const program = path.join(standin, 'zerotier-one');

export const HOME_ADDRESS = '8056c2e21c';
export const NETWORK = `${HOME_ADDRESS}000001`;
export const DEVICE = 'ztmjfmfyq5';

/** The part of a network object that the tests look at. */
export interface NetworkObject {
  readonly status: string;
  readonly portDeviceName: string;
  readonly mac: string;
  readonly assignedAddresses: readonly string[];
  readonly name: string;
  readonly netconfRevision: number;
  readonly dns: { readonly domain: string; readonly servers: readonly string[] };
}

export interface Options {
  readonly speed?: number;
  readonly control?: number;
  readonly networkWindowMs?: number;
}

/** One namespace with one home folder, and at most one running instance. */
export class Instance {
  readonly namespace: string;
  readonly folder: string;
  process: ChildProcess | undefined;
  stderr = '';
  readonly #agent: ChildProcess;
  readonly #waiting = new Map<number, (answer: AgentAnswer) => void>();
  #nextId = 0;

  constructor(namespace: string, options: Options) {
    this.namespace = namespace;
    this.folder = mkdtempSync(path.join(tmpdir(), 'zerotier-standin-'));
    writeFileSync(path.join(this.folder, 'standin.json'), JSON.stringify(options));
    this.#agent = fork(path.join(here, 'agent.ts'), [], {
      execPath: '/bin/sh',
      execArgv: ['-c', `exec ip netns exec ${namespace} "$NODE" "$0"`],
      env: { ...process.env, NODE: process.execPath },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#agent.on('message', (message: { id: number; answer: AgentAnswer }) => {
      this.#waiting.get(message.id)?.(message.answer);
      this.#waiting.delete(message.id);
    });
  }

  /** Starts the program and waits until its API answers. `wrapper` is a command to run it under. */
  async start(wrapper: readonly string[] = []): Promise<void> {
    this.launch(wrapper);
    await until('the API answers', 5000, async () => (await this.call('GET', '/health')).status === 200);
  }

  /** Starts the program and does not wait. */
  launch(wrapper: readonly string[] = []): ChildProcess {
    const command = [...wrapper, program, '-U', this.folder];
    const child = spawn('ip', ['netns', 'exec', this.namespace, ...command], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.on('data', (part: Buffer) => {
      this.stderr += part.toString();
    });
    this.process = child;
    return child;
  }

  /** Sends a signal and waits for the end; the exit code, or null where the signal ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.process;
    if (child === undefined) return null;
    child.kill(signal);
    return ended(child);
  }

  token(): string {
    return readFileSync(path.join(this.folder, 'authtoken.secret'), 'utf8');
  }

  /** One call of the local API with the token; `body` undefined sends none and no length. */
  call(method: string, target: string, body?: unknown): Promise<AgentAnswer> {
    const token = existsSync(path.join(this.folder, 'authtoken.secret')) ? this.token() : '';
    const text = body === undefined ? undefined : JSON.stringify(body);
    return this.http({ method, path: target, headers: { 'X-ZT1-Auth': token }, body: text });
  }

  /** One HTTP request from inside the namespace. */
  http(request: Partial<AgentRequest & { kind: 'http' }>): Promise<AgentAnswer> {
    const defaults = { host: '127.0.0.1', port: 9993, method: 'GET', path: '/', headers: {} };
    return this.ask({ kind: 'http', ...defaults, body: undefined, timeoutMs: 3000, ...request });
  }

  ask(request: AgentRequest): Promise<AgentAnswer> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#agent.send({ id, request });
    });
  }

  async network(id = NETWORK): Promise<NetworkObject | undefined> {
    const answer = await this.call('GET', `/network/${id}`);
    return answer.status === 200 ? (JSON.parse(answer.body) as NetworkObject) : undefined;
  }

  /** The network object once its status is the wanted one. */
  async status(wanted: string, boundMs: number): Promise<NetworkObject> {
    return until(`status ${wanted}`, boundMs, async () => {
      const network = await this.network();
      return network?.status === wanted ? network : undefined;
    });
  }

  async statusDocument(): Promise<Record<string, unknown>> {
    return JSON.parse((await this.call('GET', '/status')).body) as Record<string, unknown>;
  }

  /** Output of an `ip` command inside the namespace; empty where it fails. */
  async ip(...args: string[]): Promise<string> {
    try {
      return (await run('ip', ['-n', this.namespace, ...args])).stdout;
    } catch {
      return '';
    }
  }

  close(): void {
    this.process?.kill('SIGKILL');
    this.#agent.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
  }
}

/** What is left to take away should the process end before its tests have. */
const open = new Set<Lab>();
process.on('exit', () => {
  for (const lab of open) lab.close();
});
// `on`, not `once`: a second signal must not break off the cleaning.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

/** `home` (root and controller, 10.99.0.1) and `node` (10.99.0.2) on one link. */
export class Lab {
  readonly home: Instance;
  readonly node: Instance;
  static #count = 0;

  private constructor(home: Instance, node: Instance) {
    this.home = home;
    this.node = node;
  }

  static open(options: Options = {}): Lab {
    const base = `ztc${process.pid}-${Lab.#count++}`;
    const names = [`${base}h`, `${base}n`] as const;
    for (const name of names) {
      execFileSync('ip', ['netns', 'add', name]);
      execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    }
    const [h, n] = names;
    execFileSync('ip', `link add eth0 netns ${h} type veth peer name eth0 netns ${n}`.split(' '));
    for (const [index, name] of names.entries()) {
      execFileSync('ip', ['-n', name, 'addr', 'add', `10.99.0.${index + 1}/24`, 'dev', 'eth0']);
      execFileSync('ip', ['-n', name, 'link', 'set', 'eth0', 'up']);
    }
    const lab = new Lab(new Instance(h, options), new Instance(n, options));
    open.add(lab);
    return lab;
  }

  /** Starts both, with the network made and home itself a member at 10.45.0.1. */
  async startWithNetwork(): Promise<void> {
    for (const kind of ['secret', 'public']) {
      const name = `identity.${kind}`;
      await copyFile(path.join(standin, 'home', name), path.join(this.home.folder, name));
    }
    await this.home.start();
    await this.node.start();
    await this.home.call('POST', `/controller/network/${NETWORK}`, {
      name: 'home',
      routes: [{ target: '10.45.0.0/24' }],
      dns: { domain: 'home.example', servers: ['10.45.0.1'] },
    });
    await this.member(HOME_ADDRESS, { authorized: true, ipAssignments: ['10.45.0.1'] });
    await this.home.call('POST', `/network/${NETWORK}`, {});
  }

  async member(address: string, body: unknown): Promise<void> {
    await this.home.call('POST', `/controller/network/${NETWORK}/member/${address}`, body);
  }

  async nodeAddress(): Promise<string> {
    return String((await this.node.statusDocument())['address']);
  }

  /** The node joined, authorised before at `ip`, and OK. */
  async moor(ip: string): Promise<string> {
    const address = await this.nodeAddress();
    await this.member(address, { authorized: true, ipAssignments: [ip] });
    await this.node.call('POST', `/network/${NETWORK}`, {});
    await this.node.status('OK', 8000);
    await this.home.status('OK', 8000);
    return address;
  }

  close(): void {
    if (!open.delete(this)) return;
    for (const instance of [this.home, this.node]) {
      instance.close();
      execFileSync('ip', ['netns', 'del', instance.namespace]);
    }
  }
}

/** Exit code of a child, waited for at most 10 s. */
export async function ended(child: ChildProcess): Promise<number | null> {
  await until('the process ends', 10_000, () =>
    Promise.resolve(child.exitCode !== null || child.signalCode !== null),
  );
  return child.exitCode;
}

/** Asks again until `probe` gives something true, at most `boundMs`; fails with `what`. */
export async function until<T>(
  what: string,
  boundMs: number,
  probe: () => Promise<T | undefined | false>,
): Promise<T> {
  const endMs = performance.now() + boundMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > endMs) throw new Error(`waited ${boundMs} ms in vain until ${what}`);
    await delay(20);
  }
}
