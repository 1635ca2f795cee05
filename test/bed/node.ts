/**
 * The node: a whole Debian booted by systemd-nspawn on a fresh overlay over the base, in its own network namespace,
 * with /dev/net/tun. Commands enter it as root, with a deadline. A power-off first ends the commands that still run
 * inside, since a stopped nsenter would hold the container's shutdown.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { cgroupFolder } from './host.ts';
import { BedError, type CommandOptions, type CommandResult, failed, waitFor } from './process.ts';
import type { NodeBase } from './root.ts';
import type { Background, Run } from './run.ts';
import { type UnitUsage, usageOf } from './usage.ts';

/** What cloud-init finds on the first boot. */
export interface Seed {
  readonly hostname: string;
  /** `#cloud-config` text; without it cloud-init has nothing to do. */
  readonly userData: string | undefined;
}

/** systemd-nspawn's exit code when the container asked for a reboot (--keep-unit). */
const rebootExitCode = 133;

export class BedNode {
  /** The node's root as the host sees it; /run and /tmp inside are mounts of its own. */
  readonly rootDir: string;
  readonly #run: Run;
  readonly #netns: string;
  readonly #aptDir: string;
  #machine: Background | undefined;
  #init: number | undefined;
  /** When the last boot began, on this process' clock (performance.now()). */
  bootedAtMs = 0;

  private constructor(run: Run, netns: string, base: NodeBase) {
    this.#run = run;
    this.#netns = netns;
    this.#aptDir = base.aptDir;
    this.rootDir = join(run.dir, 'node', 'root');
  }

  /** Lays the overlay and the cloud-init seed; does not boot. */
  static async create(run: Run, base: NodeBase, netns: string, seed: Seed): Promise<BedNode> {
    const node = new BedNode(run, netns, base);
    const scratch = join(run.dir, 'node');
    const place = { part: 'setup' };
    await mkdir(scratch);
    await run.run(['mount', '-t', 'tmpfs', '-o', 'mode=0755', 'mooring-bed', scratch], place);
    for (const folder of ['upper', 'work', 'root']) await mkdir(join(scratch, folder));
    const layers = `lowerdir=${base.rootDir},upperdir=${scratch}/upper,workdir=${scratch}/work`;
    await run.run(['mount', '-t', 'overlay', '-o', layers, 'mooring-bed', node.rootDir], place);
    await node.seed(run.id, seed);
    return node;
  }

  /** What cloud-init finds by NoCloud. With an id that it has not met before, its next run is a first boot's. */
  async seed(instanceId: string, { hostname, userData }: Seed): Promise<void> {
    const folder = '/var/lib/cloud/seed/nocloud';
    await this.prepareFile(
      `${folder}/meta-data`,
      `instance-id: ${instanceId}\nlocal-hostname: ${hostname}\n`,
    );
    await this.prepareFile(`${folder}/user-data`, userData ?? '#cloud-config\n{}\n', 0o600);
  }

  /** Writes a file into the root of a node that is not running. */
  async prepareFile(path: string, content: string | Buffer, mode = 0o644): Promise<void> {
    if (this.#machine !== undefined) throw new BedError('the node runs: use writeFile');
    const file = join(this.rootDir, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content, { mode });
  }

  /**
   * Installs packages into the root of a node that has not booted, as an image build does: in a container without
   * systemd and without a network. `debs` are files of the host; what they need comes from what the base offers.
   */
  async bake(debs: readonly string[]): Promise<string> {
    if (this.#machine !== undefined) throw new BedError('the node runs');
    const script = [
      'set -eu',
      'test ! -d /run/systemd/system',
      'echo "deb [trusted=yes] file:/offered ./" >/run/offered.list',
      'offered="-o Dir::Etc::SourceList=/run/offered.list"',
      'apt-get $offered update -q',
      'apt-get $offered install -y -q --no-install-recommends "$@"',
    ].join('\n');
    const binds = debs.map((deb) => `--bind-ro=${deb}:/baked/${basename(deb)}`);
    const inside = debs.map((deb) => `/baked/${basename(deb)}`);
    const nspawn = [
      'systemd-nspawn',
      '-q',
      '-D',
      this.rootDir,
      `--machine=${this.#run.id}`,
      '--private-network',
    ];
    return this.#run.run(
      [
        ...nspawn,
        ...['--register=no', '--keep-unit', '--pipe', '--resolv-conf=off', '--timezone=off'],
        ...[`--bind-ro=${this.#aptDir}:/offered`, ...binds, '--setenv=DEBIAN_FRONTEND=noninteractive'],
        ...['sh', '-c', script, 'bake', ...inside],
      ],
      { part: 'setup', env: { SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' } },
      { timeoutMs: 120_000 },
    );
  }

  /** Boots and returns when its systemd answers; units may still be starting. */
  async boot(): Promise<void> {
    if (this.#machine !== undefined) throw new BedError('the node already runs');
    this.bootedAtMs = performance.now();
    const machine = this.#run.start(
      'console',
      [
        ...['systemd-nspawn', '-q', '-D', this.rootDir, '-b', `--machine=${this.#run.id}`],
        ...['--register=no', '--keep-unit', '--link-journal=no', '--console=pipe'],
        ...[`--network-namespace-path=/run/netns/${this.#netns}`, '--capability=CAP_NET_ADMIN'],
        ...['--bind=/dev/net/tun', '--resolv-conf=off', '--timezone=off'],
      ],
      {
        part: 'node',
        env: { SYSTEMD_NSPAWN_API_VFS_WRITABLE: 'network', SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
      },
    );
    this.#machine = machine;
    let ended: number | undefined;
    const watch = machine.ended.then((code) => {
      ended = code;
    });
    await waitFor(
      "the node's systemd to answer",
      async () => {
        if (ended !== undefined) return true;
        this.#init = await initOf(machine.pid);
        const state = await this.tryRun(['systemctl', 'is-system-running']);
        return /^(initializing|starting|running|degraded)$/.test(state.stdout);
      },
      { timeoutMs: 60_000, context: () => machine.log() },
    );
    if (ended === undefined) return;
    await watch;
    throw new BedError(`the node ended at boot with ${ended}:\n${await machine.log()}`);
  }

  /** Runs a command inside, a list of words or a line for `sh -c`; throws BedError with its output if it fails. */
  async run(command: string | readonly string[], options: CommandOptions = {}): Promise<string> {
    const result = await this.tryRun(command, options);
    if (result.exitCode === 0) return result.stdout;
    throw failed(words(command), result);
  }

  /** As run, but a failure is a result. */
  tryRun(command: string | readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return this.#run.tryRun([...this.enterCommand(), ...words(command)], { part: 'inside' }, options);
  }

  /** Runs a program of the host in the node's network, for what is not installed inside. */
  async runInNetwork(line: string): Promise<string> {
    const command = ['nsenter', '-t', String(this.initPid), '-n', '--', 'sh', '-ec', line];
    return this.#run.run(command, { part: 'inside' });
  }

  /** Its PID 1, as the host numbers it. */
  get initPid(): number {
    if (this.#init === undefined) throw new BedError('the node does not run');
    return this.#init;
  }

  /** The command line that enters the node, for a person or a script. */
  enterCommand(): string[] {
    return ['nsenter', '-t', String(this.initPid), '-m', '-u', '-i', '-n', '-p', '-C', '--'];
  }

  /** Writes a file inside, folders made as needed. */
  async writeFile(path: string, content: string | Buffer, mode = 0o644): Promise<void> {
    const script = 'mkdir -p "$(dirname "$1")" && umask 077 && cat >"$1" && chmod "$2" "$1"';
    await this.run(['sh', '-c', script, 'write', path, mode.toString(8)], { input: content });
  }

  /** Copies a file of the host inside. */
  async push(hostFile: string, path: string, mode = 0o644): Promise<void> {
    await this.writeFile(path, await readFile(hostFile), mode);
  }

  /** The journal, oldest first, of one unit or of all. */
  async journal(options: { unit?: string; lines?: number } = {}): Promise<string> {
    const unit = options.unit === undefined ? [] : ['-u', options.unit];
    return this.run([
      'journalctl',
      '--no-pager',
      '-o',
      'short-precise',
      '-n',
      String(options.lines ?? 500),
      ...unit,
    ]);
  }

  /** One property of a unit, as `systemctl show` prints it. */
  unitProperty(unit: string, property: string): Promise<string> {
    return this.run(['systemctl', 'show', unit, '-p', property, '--value']);
  }

  /** Waits for cloud-init's last stage and tells how it ended. Throws where cloud-init reports an error. */
  async waitForCloudInit(timeoutMs = 300_000): Promise<string> {
    const command = ['cloud-init', 'status', '--wait', '--long'];
    const result = await this.tryRun(command, { timeoutMs });
    // 2 is "done, with recoverable errors": the caller sees them in the text.
    if (result.exitCode === 0 || result.exitCode === 2) return result.stdout;
    const log = await this.tryRun('tail -n 60 /var/log/cloud-init-output.log');
    throw new BedError(`${failed(command, result).message}\n${log.stdout}`);
  }

  /** Reboots in order and returns when the new boot's systemd answers. */
  async reboot(): Promise<void> {
    const code = await this.#shutDown('reboot');
    if (code !== rebootExitCode) throw new BedError(`a reboot ended with ${code}, not ${rebootExitCode}`);
    await this.boot();
  }

  /** Powers off in order. */
  async powerOff(): Promise<void> {
    await this.#shutDown('poweroff');
  }

  /** Pulls the plug. What was written to the overlay stays for the next boot. */
  async kill(): Promise<void> {
    this.#run.killPart('node');
    await this.#machine?.ended;
    this.#forget();
  }

  /** What a unit's processes use now. Throws where the unit has no cgroup, so: where it does not run. */
  async usage(unit: string): Promise<UnitUsage> {
    const group = await this.unitProperty(unit, 'ControlGroup');
    const folder = join(cgroupFolder(this.#run.id, 'node/payload'), group);
    if (group === '' || !existsSync(folder)) throw new BedError(`${unit} has no cgroup: it does not run`);
    return usageOf(folder);
  }

  async #shutDown(verb: 'reboot' | 'poweroff'): Promise<number> {
    const machine = this.#machine;
    if (machine === undefined) throw new BedError('the node does not run');
    await this.tryRun(['systemctl', '--no-block', verb]);
    this.#run.killPart('inside');
    let ended: number | undefined;
    const watch = machine.ended.then((code) => {
      ended = code;
    });
    await waitFor(`the node to ${verb}`, async () => ended !== undefined, {
      timeoutMs: 120_000,
      context: () => machine.log(),
    });
    await watch;
    this.#forget();
    return ended ?? 0;
  }

  #forget(): void {
    this.#machine = undefined;
    this.#init = undefined;
  }
}

function words(command: string | readonly string[]): readonly string[] {
  return typeof command === 'string' ? ['sh', '-c', command] : command;
}

/** The child of nspawn that is PID 1 of the container. Throws while there is none. */
async function initOf(nspawnPid: number): Promise<number> {
  const children = (await readFile(`/proc/${nspawnPid}/task/${nspawnPid}/children`, 'utf8'))
    .trim()
    .split(' ');
  for (const child of children) {
    const status = await readFile(`/proc/${child}/status`, 'utf8');
    if (/^NSpid:.*\t1$/m.test(status)) return Number(child);
  }
  throw new BedError('nspawn has not started an init yet');
}
