/**
 * The base of every node: a Debian root with what a cloud image has, the packages the node may install later, and
 * Prometheus for home; and a smaller one of the oldest Debian that mooring runs on. Built once per recipe and kept in a
 * cache; a build is made aside and renamed into place, so that an interrupted one is never used. A base is never written
 * to after that: runs lay an overlay over it.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BedError, run, sha256 } from './process.ts';
import type { Run } from './run.ts';

/** What a node is booted from. */
export interface NodeBase {
  /** Root file system of a node, read-only by agreement. */
  readonly rootDir: string;
  /** A flat apt repository: what the node can install without an internet. */
  readonly aptDir: string;
}

/** A finished base with all that the bed needs. */
export interface Base extends NodeBase {
  /** Command line that runs Prometheus on this host. */
  readonly prometheus: readonly string[];
  /** The same for its tool, which checks metrics. */
  readonly promtool: readonly string[];
}

/** The Debians that nodes are made of. */
export type Suite = 'trixie' | 'bookworm';

/** Everything that decides what a base holds; its hash names it. */
interface Recipe {
  /** Raised where the building itself changes what comes of it. */
  readonly version: number;
  readonly suite: Suite;
  readonly architecture: 'amd64';
  /** Packages, with commas between them. */
  readonly include: string;
  /** Installed afterwards: fails to configure inside debootstrap. */
  readonly later: readonly string[];
  /** What `apt-get install` finds on the node, with all that it pulls. */
  readonly offered: readonly string[];
  /** Unpacked for home, not installed. */
  readonly home: readonly string[];
  readonly files: Readonly<Record<string, string>>;
  readonly enable: readonly string[];
}

const underlayFile = {
  '/etc/systemd/network/20-eth0.network':
    '[Match]\nName=eth0\n\n[Network]\nAddress=10.99.0.2/24\nGateway=10.99.0.1\nDNS=10.99.0.1\nIPv6AcceptRA=no\n\n[Route]\nDestination=169.254.169.254\nGateway=10.99.0.9\n',
};
const networkUnits = ['systemd-networkd.service', 'systemd-networkd-wait-online.service'];

const full: Recipe = {
  version: 1,
  suite: 'trixie',
  architecture: 'amd64',
  include:
    'systemd,systemd-sysv,dbus,systemd-resolved,iproute2,ca-certificates,kmod,procps,iputils-ping,nftables,curl,python3,socat,openssl,adduser,less',
  later: ['cloud-init'],
  offered: ['nginx-light', 'nginx', 'libnginx-mod-stream', 'haproxy'],
  home: ['prometheus', 'promtool'],
  files: {
    ...underlayFile,
    '/etc/apt/sources.list': 'deb [trusted=yes] http://10.99.0.1:8080/apt ./\n',
    // Speaks for the image, not for the user: what a cloud's own image would have settled.
    '/etc/cloud/cloud.cfg.d/90-image.cfg':
      'datasource_list: [NoCloud]\nnetwork: {config: disabled}\napt: {preserve_sources_list: true}\nssh_genkeytypes: []\nssh_deletekeys: false\n',
    '/etc/machine-id': '',
  },
  enable: networkUnits,
};

/** systemd 252 and what it runs, and nothing to install. */
const small: Recipe = {
  version: 1,
  suite: 'bookworm',
  architecture: 'amd64',
  include: 'systemd,systemd-sysv,dbus,iproute2',
  later: [],
  offered: [],
  home: [],
  files: { ...underlayFile, '/etc/machine-id': '' },
  enable: networkUnits,
};

/** Where bases are kept; MOORING_BED_CACHE moves it. */
export const cacheDir = (): string => process.env['MOORING_BED_CACHE'] ?? '/var/cache/mooring-bed';

const place = { part: 'build' };

/** Hears about the long steps. */
type Tell = (line: string) => void;

/** The bed's base by today's recipe, built where the cache does not have it. */
export async function ensureBase(run: Run, tell: Tell = () => {}): Promise<Base> {
  const folder = await ensure(full, run, tell);
  const { rootDir, aptDir } = baseIn(folder);
  // Both are linked against the base's C library, which the host may not have.
  const fromHome = (program: string) => [
    join(rootDir, 'usr/lib64/ld-linux-x86-64.so.2'),
    '--library-path',
    join(rootDir, 'usr/lib/x86_64-linux-gnu'),
    join(folder, 'home/usr/bin', program),
  ];
  return {
    rootDir,
    aptDir,
    prometheus: fromHome('prometheus'),
    promtool: fromHome('promtool'),
  };
}

/** As ensureBase, for a node alone: of `bookworm` there is nothing else. */
export async function ensureNodeBase(suite: Suite, run: Run, tell: Tell = () => {}): Promise<NodeBase> {
  return baseIn(await ensure(suite === full.suite ? full : small, run, tell));
}

const baseIn = (folder: string): NodeBase => ({ rootDir: join(folder, 'root'), aptDir: join(folder, 'apt') });

/** The folder of a recipe's base. */
async function ensure(recipe: Recipe, run: Run, tell: Tell): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 12);
  const folder = join(cacheDir(), `base-${hash}`);
  if (!existsSync(folder)) await build(recipe, run, folder, tell);
  return folder;
}

async function build(recipe: Recipe, bed: Run, folder: string, tell: Tell): Promise<void> {
  const startedAt = performance.now();
  await mkdir(cacheDir(), { recursive: true });
  await removeAbandoned();
  const aside = join(cacheDir(), `building-${bed.id}`);
  const rootDir = join(aside, 'root');
  await mkdir(aside);
  try {
    tell(`building the base of ${recipe.suite} in ${folder} (once; about a minute)`);
    await bed.run(
      ['debootstrap', '--variant=minbase', `--include=${recipe.include}`, recipe.suite, rootDir],
      place,
      { timeoutMs: 900_000 },
    );
    await mkdir(join(aside, 'apt'));
    if (recipe.later.length > 0) {
      tell('adding cloud-init and the packages the node may install');
      await furnish(recipe, bed, aside);
    }
    await settle(recipe, bed, rootDir);
    await rename(aside, folder).catch((error: NodeJS.ErrnoException) => {
      // Another run finished the same recipe first; its base is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
    tell(`base built in ${Math.round((performance.now() - startedAt) / 1000)} s`);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** Adds what debootstrap cannot: what is installed later, offered, or home's. */
async function furnish(recipe: Recipe, bed: Run, aside: string): Promise<void> {
  const rootDir = join(aside, 'root');
  await bed.run(
    [
      ...['systemd-nspawn', '-q', '-D', rootDir, `--machine=${bed.id}-build`, '--register=no', '--keep-unit'],
      ...['--pipe', '--resolv-conf=replace-host', '--setenv=DEBIAN_FRONTEND=noninteractive', 'sh', '-c'],
      installScript(recipe),
    ],
    place,
    { timeoutMs: 900_000 },
  );
  await rename(join(rootDir, 'offered'), join(aside, 'apt'));
  await writeFile(join(aside, 'apt', 'Packages'), await aptIndex(join(aside, 'apt')));
  await mkdir(join(aside, 'home'));
  for (const deb of await debsIn(join(rootDir, 'for-home'))) {
    await bed.run(['dpkg-deb', '-x', join(rootDir, 'for-home', deb), join(aside, 'home')], place);
  }
  await rm(join(rootDir, 'for-home'), { recursive: true });
}

function installScript(recipe: Recipe): string {
  return [
    'set -eu',
    'apt-get update -q',
    `apt-get install -y -q --no-install-recommends ${recipe.later.join(' ')}`,
    'mkdir -p /offered/partial /for-home',
    'chown -R _apt /offered /for-home',
    `apt-get install -y -q --no-install-recommends --download-only -o Dir::Cache::archives=/offered ${recipe.offered.join(' ')}`,
    'rm -rf /offered/partial /offered/lock',
    `cd /for-home && apt-get download ${recipe.home.join(' ')}`,
    'apt-get clean',
    'rm -rf /var/lib/apt/lists/*',
  ].join('\n');
}

/** What an image builder does last: its own files, units on, first boot still ahead. */
async function settle(recipe: Recipe, bed: Run, rootDir: string): Promise<void> {
  for (const [path, text] of Object.entries(recipe.files)) await writeFile(join(rootDir, path), text);
  await rm(join(rootDir, 'etc/resolv.conf'), { force: true });
  await symlink('../run/systemd/resolve/stub-resolv.conf', join(rootDir, 'etc/resolv.conf'));
  await bed.run(['systemctl', `--root=${rootDir}`, 'enable', ...recipe.enable], place);
}

async function debsIn(folder: string): Promise<string[]> {
  const debs = (await readdir(folder)).filter((name) => name.endsWith('.deb')).sort();
  if (debs.length === 0) throw new BedError(`no packages were fetched into ${folder}`);
  return debs;
}

/** The `Packages` index of a flat apt repository. */
export async function aptIndex(folder: string): Promise<string> {
  const paragraphs: string[] = [];
  for (const deb of await debsIn(folder)) {
    const file = join(folder, deb);
    const control = (await run(['dpkg-deb', '-f', file])).trimEnd();
    const { size } = await stat(file);
    // A literal % (in the file name of a version with an epoch) must survive the server's decoding.
    const name = deb.replaceAll('%', '%25');
    paragraphs.push(`${control}\nFilename: ./${name}\nSize: ${size}\nSHA256: ${await sha256(file)}\n`);
  }
  return paragraphs.join('\n');
}

/** Removes what interrupted builds left. Their names carry the pid. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(cacheDir())) {
    const pid = /^building-mbed-(\d+)-\d+$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) {
      await rm(join(cacheDir(), name), { recursive: true, force: true });
    }
  }
}
