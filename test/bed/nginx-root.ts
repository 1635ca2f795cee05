/**
 * The nginx of a Debian suite in a small root of its own: nothing but nginx, its stream module and the libraries they
 * need, unpacked and not installed. Kept in the bed's cache by the day's index of packages, so that a newer nginx of a
 * suite that moves is met.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BedError } from './process.ts';
import { cacheDir } from './root.ts';
import type { Run } from './run.ts';

/** Oldest, stable, and what comes next. */
export const nginxSuites = ['bookworm', 'trixie', 'sid'] as const;
export type NginxSuite = (typeof nginxSuites)[number];

const place = { part: 'nginx' };
/** base-files has the links between / and /usr. */
const packages = ['nginx', 'libnginx-mod-stream', 'base-files'];
/** What nginx looks its user up in: the packages that bring it are not configured here. */
const users = 'root:x:0:0::/:/bin/false\nwww-data:x:33:33::/:/bin/false\n';
const groups = 'root:x:0:\nwww-data:x:33:\n';

/** The folder with the suite's nginx, never written to afterwards: runs lay an overlay over it. */
async function ensureNginxRoot(suite: NginxSuite, run: Run): Promise<string> {
  const aside = join(run.dir, `apt-${suite}`);
  const apt = await aptOf(suite, aside);
  await run.run(['apt-get', ...apt, 'update'], place, { timeoutMs: 120_000 });
  // Names what is to be unpacked, each with its version, without fetching it.
  const wanted = await run.run(
    ['apt-get', ...apt, 'install', '--print-uris', '--no-install-recommends', ...packages],
    place,
  );
  const debs = wanted.split('\n').filter((line) => line.startsWith("'"));
  if (debs.length < packages.length) throw new BedError(`apt offers no nginx for ${suite}: ${wanted}`);
  const hash = createHash('sha256').update(debs.sort().join('\n')).digest('hex').slice(0, 12);
  const folder = join(cacheDir(), `nginx-${suite}-${hash}`);
  if (!existsSync(folder)) await unpack(apt, aside, folder, run);
  await rm(aside, { recursive: true });
  return folder;
}

/** Options for an apt that knows nothing of this host: its own sources, no package installed. */
async function aptOf(suite: NginxSuite, dir: string): Promise<readonly string[]> {
  for (const name of ['state/lists/partial', 'cache/archives/partial'])
    await mkdir(join(dir, name), { recursive: true });
  await writeFile(join(dir, 'status'), '');
  const key = 'signed-by=/usr/share/keyrings/debian-archive-keyring.gpg';
  await writeFile(join(dir, 'sources.list'), `deb [${key}] http://deb.debian.org/debian ${suite} main\n`);
  const settings = {
    'Dir::State': join(dir, 'state'),
    'Dir::State::status': join(dir, 'status'),
    'Dir::Cache': join(dir, 'cache'),
    'Dir::Etc::sourcelist': join(dir, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::Etc::preferencesparts': '-',
    'Acquire::Languages': 'none',
    'APT::Sandbox::User': 'root',
  };
  return ['-q', '-y', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
}

async function unpack(apt: readonly string[], aside: string, folder: string, run: Run): Promise<void> {
  const install = ['install', '--download-only', '--no-install-recommends', ...packages];
  await run.run(['apt-get', ...apt, ...install], place, { timeoutMs: 120_000 });
  const root = join(aside, 'root');
  const archives = join(aside, 'cache/archives');
  const debs = (await readdir(archives)).filter((name) => name.endsWith('.deb'));
  // The links first: what is unpacked into /lib then lands in /usr/lib.
  for (const deb of debs.sort((a, b) => Number(isBase(b)) - Number(isBase(a))))
    await run.run(['dpkg-deb', '-x', join(archives, deb), root], place);
  await mkdir(join(root, 'tmp'), { recursive: true });
  await writeFile(join(root, 'etc/passwd'), users);
  await writeFile(join(root, 'etc/group'), groups);
  await mkdir(join(root, 'run/mooring-ingress'), { recursive: true });
  await mkdir(cacheDir(), { recursive: true });
  await run.run(['cp', '-a', root, `${folder}.${run.id}`], place);
  await rename(`${folder}.${run.id}`, folder).catch(async (error: NodeJS.ErrnoException) => {
    await rm(`${folder}.${run.id}`, { recursive: true });
    // Another run unpacked the same ones first.
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  });
}

const isBase = (deb: string): boolean => deb.startsWith('base-files_');

/** A suite's nginx in a folder of the run, which may be written to. */
export async function layNginxRoot(suite: NginxSuite, run: Run): Promise<string> {
  const lower = await ensureNginxRoot(suite, run);
  const at = (name: string) => join(run.dir, name);
  for (const name of ['upper', 'work', 'root']) await mkdir(at(name));
  const layers = `lowerdir=${lower},upperdir=${at('upper')},workdir=${at('work')}`;
  await run.run(['mount', '-t', 'overlay', 'overlay', '-o', layers, at('root')], place);
  return at('root');
}

/** nginx' version as its own program says, such as 1.26.3. */
export async function nginxVersion(root: string, run: Run): Promise<string> {
  const { stderr } = await run.tryRun(['chroot', root, '/usr/sbin/nginx', '-v'], place);
  const version = /nginx\/(\d+\.\d+\.\d+)/.exec(stderr)?.[1];
  if (version !== undefined) return version;
  throw new BedError(`${root} holds no nginx that runs: ${stderr}`);
}
