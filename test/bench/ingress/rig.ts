/**
 * Where the ingress is measured: a client and an upstream in network namespaces of their own, and between them one more
 * for each rival, so that each has its door at the same port, with kernel settings of its own. The direct way
 * leads through such a namespace as well, which only forwards: the same wires for all.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createSessionCounts } from '../../../src/systems/nginx/sessions.ts';
import type { SessionCounts } from '../../../src/systems/nginx/types.ts';
import { cgroupFolder } from '../../bed/host.ts';
import { waitFor } from '../../bed/process.ts';
import { Run } from '../../bed/run.ts';
import { haproxyPackages, nginxPackages, unpackedRoot } from '../../bed/unpacked-root.ts';
import { type UnitUsage, usageOf } from '../../bed/usage.ts';
import { type ProxyName, ports, programOf, type Rival, rivals } from './rivals.ts';

export type End = 'client' | 'upstream' | Rival;

/** Addresses of the client's and the upstream's wire to a rival's namespace. */
const near = (rival: Rival, host: number) => `10.98.${10 + rivals.indexOf(rival)}.${host}`;
const far = (rival: Rival, host: number) => `10.98.${20 + rivals.indexOf(rival)}.${host}`;

const sysctlFile = join(import.meta.dirname, '../../../packaging/sysctl.conf');
/** What the unit of mooring's nginx has, in the root of the packages. */
const runtimeDir = 'run/mooring-ingress';

export class Rig {
  readonly run: Run;
  /** How many open files this machine lets a process have. */
  readonly hardLimit: number;
  /** What the daemon would do meanwhile: it empties the log of sessions. Not the look at open connections, which comes with a question. */
  readonly sessions: SessionCounts;
  readonly #root: string;

  private constructor(run: Run, root: string, hardLimit: number) {
    this.run = run;
    this.#root = root;
    this.sessions = createSessionCounts({
      log: (_, message) => process.stderr.write(`${message}\n`),
      // Time stands still, so that it looks for open connections once.
      now: () => 0,
      logPath: join(root, runtimeDir, 'sessions.log'),
      configPath: join(root, 'var/lib/mooring/nginx/nginx.conf'),
      keptPath: join(run.dir, 'kept.json'),
      ss: ['true'],
    });
    this.hardLimit = hardLimit;
  }

  /** Makes namespaces and wires. No rival runs yet. */
  static async start(tell: (line: string) => void): Promise<Rig> {
    const run = Run.open();
    try {
      const root = await unpackedRoot(run, 'rivals', [...nginxPackages, ...haproxyPackages], tell);
      await run.run(['mount', '-t', 'tmpfs', 'tmpfs', join(root, 'run')], { part: 'setup' });
      for (const folder of [runtimeDir, 'var/lib/mooring/nginx', 'etc/haproxy'])
        await mkdir(join(root, folder), { recursive: true });
      const limits = await readFile('/proc/self/limits', 'utf8');
      const hardLimit = Number(/^Max open files\s+\d+\s+(\d+)/m.exec(limits)?.[1]);
      const rig = new Rig(run, root, hardLimit);
      await rig.#wire();
      rig.sessions.start();
      return rig;
    } catch (error) {
      run.end();
      throw error;
    }
  }

  /** Ends everything. Safe to repeat. */
  stop(): void {
    this.run.end();
  }

  /** Where a client finds a rival's doors. */
  address(rival: Rival): string {
    return rival === 'direct' ? far(rival, 2) : near(rival, 1);
  }

  /** The upstream as a rival finds it. */
  upstream(rival: Rival): string {
    return far(rival, 2);
  }

  netns(end: End): string {
    return `${this.run.id}-${end}`;
  }

  /** Runs a command at an end, with as many open files as there may be. */
  at(end: End, command: readonly string[], timeoutMs = 60_000): Promise<string> {
    return this.run.run(this.#roomy(command), { netns: this.netns(end), part: end }, { timeoutMs });
  }

  /** Starts a program at an end, in the host's own file system. */
  background(end: End, name: string, command: readonly string[]) {
    return this.run.start(name, this.#roomy(command), { netns: this.netns(end), part: name });
  }

  /** Starts a program of the packages at an end. */
  async packaged(
    end: End,
    name: string,
    files: Readonly<Record<string, string>>,
    command: readonly string[],
  ) {
    for (const [path, text] of Object.entries(files)) await this.#write(path, text);
    return this.background(end, name, ['chroot', this.#root, ...command]);
  }

  /** Starts a rival's program and waits until its doors are open. */
  async open(proxy: ProxyName): Promise<void> {
    const { files, command, openFiles } = await programOf(proxy, this.upstream(proxy), this.hardLimit);
    const [soft, hard] = openFiles;
    const started = await this.packaged(proxy, proxy, files, [
      ...['prlimit', `--nofile=${soft}:${hard}`, ...command],
    ]);
    await this.listens(proxy, ports.http, () => started.log());
  }

  /** Ends a rival's program and waits for that. Its runtime directory is emptied, as systemd does. */
  async close(proxy: ProxyName): Promise<void> {
    this.run.killPart(proxy);
    await rm(join(this.#root, runtimeDir), { recursive: true });
    await mkdir(join(this.#root, runtimeDir));
  }

  /** Writes a file into the root of the packages. */
  async #write(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.#root, path)), { recursive: true });
    await writeFile(join(this.#root, path), text);
  }

  /** Replaces mooring's config, as mooring would. */
  async writeMooringConf(text: string): Promise<void> {
    await this.#write('/var/lib/mooring/nginx/nginx.conf', text);
  }

  /** A file of the root of the packages, as a path of the host. */
  inRoot(path: string): string {
    return join(this.#root, path);
  }

  /** Writes a file beside everything else of this run; its path. */
  async file(name: string, text: string): Promise<string> {
    const path = join(this.run.dir, name);
    await writeFile(path, text);
    return path;
  }

  /** Removes such a file, or a program's log. */
  async forget(name: string): Promise<void> {
    await rm(join(this.run.dir, name), { force: true });
  }

  /** The last that every program printed. */
  logs(): Promise<string> {
    return this.run.run(['sh', '-c', `cd ${this.run.dir} && tail -n 15 *.log`], { part: 'setup' });
  }

  /** Waits until a TCP port of an end is listened at. */
  async listens(end: End, port: number, context?: () => Promise<string>): Promise<void> {
    await waitFor(
      `port ${port} of ${end}`,
      async () => (await this.at(end, ['ss', '-Hltn', `sport = ${port}`])) !== '',
      { timeoutMs: 10_000, ...(context === undefined ? {} : { context }) },
    );
  }

  /** CPU time and memory of a rival's program, or of another that was started by name. */
  usage(name: string): Promise<UnitUsage> {
    return usageOf(cgroupFolder(this.run.id, name));
  }

  #roomy(command: readonly string[]): readonly string[] {
    return ['prlimit', `--nofile=${this.hardLimit}:${this.hardLimit}`, ...command];
  }

  async #wire(): Promise<void> {
    for (const end of ['client', 'upstream', ...rivals] as const) {
      await this.#ip('netns', 'add', this.netns(end));
      await this.#ip('-n', this.netns(end), 'link', 'set', 'lo', 'up');
    }
    for (const rival of rivals) {
      await this.#cable(rival, 'client', near(rival, 2), near(rival, 1));
      await this.#cable(rival, 'upstream', far(rival, 2), far(rival, 1));
    }
    await this.#set('direct', 'net.ipv4.ip_forward', '1');
    await this.#route('client', far('direct', 0), near('direct', 1));
    await this.#route('upstream', near('direct', 0), far('direct', 1));
    // By hand nobody sets any; the strong rival gets what mooring has.
    for (const proxy of ['mooring', 'haproxy'] as const) await this.#settle(proxy);
    // The load must not end at ports that still wait for late packets.
    for (const end of ['client', 'upstream'] as const) {
      await this.#set(end, 'net.ipv4.ip_local_port_range', '1024 65535');
      await this.#set(end, 'net.ipv4.tcp_tw_reuse', '1');
    }
  }

  async #cable(rival: Rival, end: 'client' | 'upstream', there: string, here: string): Promise<void> {
    const [inside, outside] = [`to-${end}`, `to-${rival}`];
    await this.#ip(
      ...['-n', this.netns(rival), 'link', 'add', inside, 'type', 'veth'],
      ...['peer', 'name', outside, 'netns', this.netns(end)],
    );
    for (const [netns, device, address] of [
      [this.netns(rival), inside, here],
      [this.netns(end), outside, there],
    ] as const) {
      await this.#ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', device);
      await this.#ip('-n', netns, 'link', 'set', device, 'up');
    }
  }

  async #set(end: End, key: string, value: string): Promise<void> {
    await this.at(end, ['sysctl', '-qw', `${key}=${value}`]);
  }

  /** Sets what mooring's package sets, as far as a network namespace has it of its own. */
  async #settle(proxy: ProxyName): Promise<void> {
    for (const [, key = '', value = ''] of (await readFile(sysctlFile, 'utf8')).matchAll(
      /^-?(net\.ipv[46]\.\S+) = (.+)$/gm,
    ))
      await this.#set(proxy, key, value);
  }

  async #route(end: End, network: string, via: string): Promise<void> {
    await this.#ip('-n', this.netns(end), 'route', 'add', `${network}/24`, 'via', via);
  }

  async #ip(...args: string[]): Promise<void> {
    await this.run.run(['ip', ...args], { part: 'setup' });
  }
}
