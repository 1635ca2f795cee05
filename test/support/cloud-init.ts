/**
 * cloud-init as Debian's releases have it, to judge user data with its own schema. The packages come from the mirror that
 * this machine uses and are unpacked, not installed; that is done once per release, aside, and renamed into place.
 */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** Where unpacked releases are kept; MOORING_BED_CACHE moves it together with the bed's. */
const cacheDir = process.env['MOORING_BED_CACHE'] ?? '/var/cache/mooring-bed';

/** What cloud-init imports to judge a file, without what it would drive on a node. */
const needs = ['jinja2', 'configobj', 'jsonpatch', 'jsonschema', 'oauthlib', 'requests', 'yaml'];

/** cloud-init's verdict on a file. */
export interface Verdict {
  readonly isValid: boolean;
  readonly words: string;
}

/** A release's cloud-init, unpacked. */
export interface CloudInit {
  readonly version: string;
  /** Has cloud-init read user data from a file and check it with its schema. */
  judge(file: string): Promise<Verdict>;
}

/** The cloud-init of a Debian release such as `bookworm`, fetched where the cache has none. */
export async function cloudInitOf(suite: string): Promise<CloudInit> {
  const root = join(cacheDir, `cloud-init-${suite}`);
  if (!existsSync(root)) await fetchInto(root, suite);
  const call = (...args: string[]) => runInside(root, ['-m', 'cloudinit.cmd.main', ...args]);
  const told = await call('--version');
  const version = /(\d+\.\d+\S*)/.exec(told.words)?.[1];
  if (version === undefined) throw new Error(`cloud-init of ${suite} does not run: ${told.words}`);
  return { version, judge: (file) => call('schema', '--config-file', file) };
}

async function fetchInto(root: string, suite: string): Promise<void> {
  await mkdir(cacheDir, { recursive: true });
  const aside = await mkdtemp(join(cacheDir, 'unpacking-'));
  try {
    const options = await aptOptions(aside, suite);
    const apt = (...args: string[]) =>
      execa('apt-get', [...options, '-y', '-q', ...args], { cwd: join(aside, 'archives'), timeout: 120_000 });
    await apt('update');
    await apt('install', '--download-only', 'python3', ...needs.map((name) => `python3-${name}`));
    // By itself: what it depends on would bring half a system.
    await apt('download', 'cloud-init');
    for (const deb of await readdir(join(aside, 'archives')))
      if (deb.endsWith('.deb'))
        await execa('dpkg-deb', ['-x', join(aside, 'archives', deb), join(aside, 'root')]);
    await rename(join(aside, 'root'), root).catch((error: NodeJS.ErrnoException) => {
      // Another run was first; its tree is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** apt with a state of its own, so that this machine's packages and lists play no part. */
async function aptOptions(aside: string, suite: string): Promise<string[]> {
  const targets = await execa('apt-get', ['indextargets', '--format', '$(REPO_URI) $(LABEL)']);
  const mirror = /^(\S+) Debian$/m.exec(targets.stdout)?.[1];
  if (mirror === undefined) throw new Error('this machine has no Debian mirror in its apt sources');
  for (const folder of ['lists/partial', 'archives/partial', 'root'])
    await mkdir(join(aside, folder), { recursive: true });
  const key = '/usr/share/keyrings/debian-archive-keyring.gpg';
  await writeFile(join(aside, 'sources.list'), `deb [signed-by=${key}] ${mirror} ${suite} main\n`);
  await writeFile(join(aside, 'status'), '');
  const settings = {
    'Dir::State': aside,
    'Dir::State::status': join(aside, 'status'),
    'Dir::Cache': aside,
    'Dir::Etc::SourceList': join(aside, 'sources.list'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::Etc::Parts': '/dev/null',
    'Acquire::Languages': 'none',
    'APT::Install-Recommends': 'false',
    'APT::Sandbox::User': process.getuid?.() === 0 ? 'root' : '',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** Runs the tree's own Python with the tree's own C library: neither is this machine's. It keeps its bytecode in the tree. */
async function runInside(root: string, args: readonly string[]): Promise<Verdict> {
  const find = async (folder: string, name: RegExp) => {
    const found = existsSync(join(root, folder))
      ? (await readdir(join(root, folder))).find((one) => name.test(one))
      : undefined;
    return found === undefined ? undefined : join(root, folder, found);
  };
  const loader = /^ld-linux-.*\.so\.\d+$/;
  // Releases before trixie have /lib beside /usr/lib.
  const libc =
    (await find('lib64', loader)) ?? (await find('usr/lib64', loader)) ?? (await find('usr/lib', loader));
  const python = await find('usr/bin', /^python3\.\d+$/);
  if (libc === undefined || python === undefined) throw new Error(`${root} holds no Python`);
  const libraries = ['lib', 'usr/lib'].flatMap((folder) =>
    ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map((triplet) => join(root, folder, triplet)),
  );
  const result = await execa(libc, ['--library-path', libraries.join(':'), python, ...args], {
    extendEnv: false,
    env: {
      PYTHONHOME: join(root, 'usr'),
      PYTHONPATH: join(root, 'usr/lib/python3/dist-packages'),
      LC_ALL: 'C.UTF-8',
    },
    reject: false,
    all: true,
    timeout: 30_000,
  });
  return { isValid: result.exitCode === 0, words: result.all };
}
