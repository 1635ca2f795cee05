/**
 * A node and a home in two network namespaces with one link between them, the k3s stand-in at both ends, and a datagram
 * socket that plays systemd. Everything lives below one temporary folder; `close` ends and removes all of it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const program = join(import.meta.dirname, '../../bed/standins/k3s/k3s');
const commandTimeoutMs = 10_000;

/** Prints every datagram that comes, one a line; the first line says that it listens. */
const notifyReader = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("listening", flush=True)
while True:
    print(s.recv(4096).decode().replace("\\n", ";"), flush=True)
`;

/** A started process and all it has said. */
export class Said {
  readonly child: ChildProcess;
  readonly #exit: Promise<number | null>;
  #text = '';

  constructor(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.#exit = once(this.child, 'exit').then(([code]: number[]) => code ?? null);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        this.#text += chunk;
      });
    }
  }

  get text(): string {
    return this.#text;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Waits until `pattern` was said `times` times; throws with all that was said where it is not. */
  async says(pattern: RegExp, times = 1, timeoutMs = 10_000): Promise<void> {
    const all = new RegExp(pattern, 'g');
    const deadline = AbortSignal.timeout(timeoutMs);
    while ((this.#text.match(all) ?? []).length < times) {
      if (deadline.aborted || !this.running)
        throw new Error(`${pattern} was not said ${times} times:\n${this.#text}`);
      await Promise.race(
        [this.child.stdout, this.child.stderr].map((stream) =>
          stream ? once(stream, 'data', { signal: deadline }).catch(() => undefined) : undefined,
        ),
      );
    }
  }

  /** Waits for the end; undefined where it has not come in time. */
  async ends(timeoutMs = 10_000): Promise<number | null | undefined> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), timeoutMs);
    const code = await Promise.race([this.#exit, promise]);
    clearTimeout(timer);
    return code;
  }

  /** SIGTERM, SIGKILL after five seconds; returns the exit code. */
  async end(): Promise<number | null> {
    if (this.running) this.child.kill('SIGTERM');
    if ((await this.ends(5_000)) === undefined) this.child.kill('SIGKILL');
    return await this.#exit;
  }
}

/** What the pod answers. */
export interface PodAnswer {
  readonly pid: number;
  readonly entry: string;
  readonly peer: string;
  readonly proxy: string | null;
}

/** A node as home lists it. */
export interface HomeNode {
  readonly name: string;
  readonly ready: boolean;
  readonly joins: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly internalIPs: readonly string[];
  readonly unschedulable: boolean;
  readonly pods: readonly string[];
}

/** The two ends. */
export class Cluster {
  readonly node: string;
  readonly #home: string;
  readonly #folder: string;
  readonly #started: Said[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
    this.node = `k3sn${process.pid}`;
    this.#home = `k3sh${process.pid}`;
  }

  /** Namespaces, link (`ztk3s`, 10.45.0.2, MTU 2800) and server are up when it returns. */
  static async open(): Promise<Cluster> {
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), 'k3s-standin-')));
    try {
      await cluster.#build();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  async #build(): Promise<void> {
    const [node, home] = [this.node, this.#home];
    await this.ip('netns', 'add', node);
    await this.ip('netns', 'add', home);
    await this.ip('-n', node, 'link', 'set', 'lo', 'up');
    await this.ip('-n', home, 'link', 'set', 'lo', 'up');
    await this.ip(
      'link',
      'add',
      'ztk3s',
      'netns',
      node,
      'type',
      'veth',
      'peer',
      'name',
      'far',
      'netns',
      home,
    );
    await this.ip('-n', home, 'addr', 'add', '10.45.0.1/24', 'dev', 'far');
    await this.ip('-n', home, 'link', 'set', 'far', 'mtu', '2800', 'up');
    await this.ip('-n', node, 'addr', 'add', '10.45.0.2/24', 'dev', 'ztk3s');
    await this.ip('-n', node, 'link', 'set', 'ztk3s', 'mtu', '2800', 'up');
    const server = ['server-standin', '--listen', '10.45.0.1:6443', '--data', this.path('home')];
    await this.start(home, program, server).says(/K10[0-9a-f]{64}::server:/);
    await mkdir(this.path('etc/rancher/k3s/config.yaml.d'), { recursive: true });
  }

  path(name: string): string {
    return join(this.#folder, name);
  }

  start(
    namespace: string,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Said {
    const root = { K3S_STANDIN_ROOT: this.#folder, PYTHONDONTWRITEBYTECODE: '1' };
    const said = new Said('ip', ['netns', 'exec', namespace, command, ...args], { ...root, ...env });
    this.#started.push(said);
    return said;
  }

  /** Starts `k3s agent` on the node. */
  agent(args: readonly string[] = [], notifySocket?: string): Said {
    return this.start(
      this.node,
      program,
      ['agent', ...args],
      notifySocket ? { NOTIFY_SOCKET: notifySocket } : {},
    );
  }

  /** A socket for sd_notify, and what was said through it. */
  async notifySocket(name: string): Promise<{ path: string; said: Said }> {
    const path = this.path(name);
    const said = this.start(this.node, 'python3', ['-c', notifyReader, path]);
    await said.says(/listening/);
    return { path, said };
  }

  async token(): Promise<string> {
    return (await readFile(this.path('home/token'), 'utf8')).trim();
  }

  /** Writes a file below the node's /etc/rancher/k3s. */
  async writeConfig(name: string, text: string): Promise<void> {
    await writeFile(this.path(`etc/rancher/k3s/${name}`), text);
  }

  async ip(...args: readonly string[]): Promise<string> {
    return (await run('ip', args, { timeout: commandTimeoutMs })).stdout;
  }

  async onNode(...args: readonly string[]): Promise<string> {
    return (await run('ip', ['netns', 'exec', this.node, ...args], { timeout: commandTimeoutMs })).stdout;
  }

  /** Asks the pod from the node itself. Throws where nothing answers. */
  async ask(url: string): Promise<PodAnswer> {
    const script =
      'import ssl,sys,urllib.request as u;print(u.urlopen(sys.argv[1],timeout=3,context=ssl._create_unverified_context()).read().decode())';
    const answer: PodAnswer = JSON.parse(await this.onNode('python3', '-c', script, url));
    return answer;
  }

  async nodes(): Promise<HomeNode[]> {
    const nodes: HomeNode[] = JSON.parse(await this.#askHome('nodes'));
    return nodes;
  }

  /** The server's state, as far as a test needs it. */
  async homeState(): Promise<{ readonly watches: number }> {
    const state: { watches: number } = JSON.parse(await this.#askHome('state'));
    return state;
  }

  #askHome(path: string): Promise<string> {
    const script =
      'import sys,urllib.request as u;print(u.urlopen("http://127.0.0.1:6480/"+sys.argv[1],timeout=3).read().decode())';
    return this.#atHome('python3', '-c', script, path);
  }

  /** Asks the Kubernetes API through the agent's balancer, with `kubelet`'s or `k3s-controller`'s certificate. */
  async api(
    client: string,
    path: string,
    write: { verb: string; type: string; body: unknown } | undefined = undefined,
  ): Promise<{ code: number; text: string }> {
    const folder = this.path('var/lib/rancher/k3s/agent');
    const identity = ['--cert', `${folder}/client-${client}.crt`, '--key', `${folder}/client-${client}.key`];
    const sent = write && [
      ...['-X', write.verb, '-H', `Content-Type: ${write.type}`],
      ...['--data', JSON.stringify(write.body)],
    ];
    const options = ['-sS', '--max-time', '5', '-w', '\n%{http_code}', '--cacert', `${folder}/server-ca.crt`];
    const url = `https://127.0.0.1:6444${path}`;
    const told = await this.onNode('curl', ...options, ...identity, ...(sent ?? []), url);
    const cut = told.lastIndexOf('\n');
    return { code: Number(told.slice(cut + 1)), text: told.slice(0, cut) };
  }

  /** Switches the server's behaviour: ok, refuse, hang, 503, starting. */
  async mode(mode: string): Promise<void> {
    await this.tellHome('mode', mode);
  }

  /** Posts to the server's control port. */
  async tellHome(path: string, body: string): Promise<void> {
    const script =
      'import sys,urllib.request as u;u.urlopen("http://127.0.0.1:6480/"+sys.argv[1],sys.argv[2].encode(),3)';
    await this.#atHome('python3', '-c', script, path, body);
  }

  async #atHome(...args: readonly string[]): Promise<string> {
    return (await run('ip', ['netns', 'exec', this.#home, ...args], { timeout: commandTimeoutMs })).stdout;
  }

  /** Pods, agent and devices go, as on a wiped node; home stays. */
  async wipeNode(): Promise<void> {
    const env = { ...process.env, K3S_STANDIN_ROOT: this.#folder };
    const args = ['netns', 'exec', this.node, program, 'standin-killall'];
    await run('ip', args, { timeout: commandTimeoutMs, env });
  }

  async close(): Promise<void> {
    const attempts = [() => this.wipeNode(), ...this.#started.map((said) => () => said.end())];
    const removals = [this.node, this.#home].map((name) => () => this.ip('netns', 'del', name));
    for (const attempt of [...attempts, ...removals]) await attempt().catch(() => undefined);
    await rm(this.#folder, { recursive: true, force: true });
  }
}
