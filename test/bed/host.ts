/**
 * What one run leaves on the host, and how it goes away again: a folder under /run/mooring-bed, a cgroup tree, mounts
 * and network namespaces, all named after the run. `removeRun` needs nothing but that name, so that the same code ends
 * a run that finished, one that failed, and one whose process was killed. It is synchronous: an exit handler may call it.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where runs keep their folder. What a reboot leaves of it has no living owner and is swept. */
export const runsDir = '/run/mooring-bed';

/** Prefix of everything named after a run: namespaces, cgroups. */
const prefix = 'mbed-';

/** The folder of a run. */
export const runDir = (id: string): string => join(runsDir, id);

/** Name of a run: the process and a count, short enough for names of namespaces and machines. */
let runsOfThisProcess = 0;
export function newRunId(): string {
  runsOfThisProcess += 1;
  return `${prefix}${process.pid}-${runsOfThisProcess}`;
}

/** Makes the run's folder and notes who owns it, so that a later run can tell it from a live one. */
export function claimRun(id: string): void {
  mkdirSync(runDir(id), { recursive: true, mode: 0o755 });
  writeFileSync(join(runDir(id), 'owner'), `${process.pid} ${startTimeOf(process.pid) ?? ''}\n`);
}

/** Ends every run whose owner is gone (killed, or left up on purpose). Returns their names. */
export function sweepDeadRuns(): string[] {
  const ids = existsSync(runsDir) ? readdirSync(runsDir) : [];
  const dead = ids.filter((id) => id.startsWith(prefix) && !ownerLives(id));
  for (const id of dead) removeRun(id);
  return dead;
}

/** Kills all processes of the run, then takes down its mounts, namespaces, cgroups and folder. Safe to repeat. */
export function removeRun(id: string): void {
  killCgroup(id);
  for (const mountPoint of mountPointsBelow(runDir(id)).reverse()) quietly('umount', ['-l', mountPoint]);
  for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
    if (name.startsWith(`${id}-`)) quietly('ip', ['netns', 'del', name]);
  }
  for (const tree of cgroupTrees()) removeCgroup(join(tree, id));
  if (mountPointsBelow(runDir(id)).length > 0)
    throw new Error(`mounts of ${id} would not go; see /proc/mounts`);
  rmSync(runDir(id), { recursive: true, force: true });
}

/**
 * The command line that puts what it starts into the run's cgroup, under `part`. Unless `outlives` it also dies with
 * this process, whatever kills it.
 */
export function inRun(id: string, part: string, command: readonly string[], outlives: boolean): string[] {
  const folders = cgroupTrees().map((tree) => join(tree, id, part));
  for (const folder of folders) mkdirSync(folder, { recursive: true });
  const joinAll = folders.map((folder) => `echo $$ >${folder}/cgroup.procs`).join(' && ');
  const shell = ['sh', '-c', `${joinAll} && exec "$@"`, 'in-run', ...command];
  return outlives ? shell : ['setpriv', '--pdeathsig', 'KILL', '--', ...shell];
}

/** Kills every process in a part of the run's cgroup (all of it by default) and waits until they are gone. */
export function killCgroup(id: string, part = ''): void {
  const folder = join(unifiedTree(), id, part);
  if (!existsSync(folder)) return;
  writeFileSync(join(folder, 'cgroup.kill'), '1');
  const deadlineMs = performance.now() + 10_000;
  while (/^populated 1$/m.test(readFileSync(join(folder, 'cgroup.events'), 'utf8'))) {
    if (performance.now() > deadlineMs) throw new Error(`processes in ${folder} survive SIGKILL for 10 s`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
}

/** Folder of the run's part in the cgroup v2 tree. */
export const cgroupFolder = (id: string, part: string): string => join(unifiedTree(), id, part);

function unifiedTree(): string {
  const mount = mounts().find(({ type }) => type === 'cgroup2');
  if (mount === undefined)
    throw new Error('no cgroup v2 hierarchy is mounted; the bed needs one (hybrid is enough)');
  return mount.path;
}

/** The v2 tree, and on hosts that still have it the named v1 tree of systemd, where nspawn makes groups too. */
function cgroupTrees(): string[] {
  const named = mounts().find(({ type, options }) => type === 'cgroup' && options.includes('name=systemd'));
  return named === undefined ? [unifiedTree()] : [unifiedTree(), named.path];
}

function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(join(folder, entry.name));
  }
  rmdirSync(folder);
}

function mounts(): { path: string; type: string; options: string }[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, path = '', type = '', options = ''] = line.split(' ');
      return { path, type, options };
    });
}

function mountPointsBelow(folder: string): string[] {
  return mounts()
    .map(({ path }) => path)
    .filter((path) => path.startsWith(`${folder}/`));
}

function ownerLives(id: string): boolean {
  let owner: string;
  try {
    owner = readFileSync(join(runDir(id), 'owner'), 'utf8').trim();
  } catch {
    return false;
  }
  const [pid = '', startTime = ''] = owner.split(' ');
  return startTime !== '' && startTimeOf(Number(pid)) === startTime;
}

/**
 * Start time in clock ticks, which tells a process from a later one with its pid. Undefined where it is gone, or dead and not
 * yet reaped.
 */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state = '', ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? undefined : rest[18];
  } catch {
    return undefined;
  }
}

function quietly(program: string, args: string[]): void {
  try {
    execFileSync(program, args, { stdio: 'ignore', timeout: 10_000 });
  } catch {
    // Whatever is left shows in the next look at the mounts and namespaces.
  }
}
