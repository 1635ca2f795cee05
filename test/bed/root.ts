/**
 * The base of every node: a Debian root with what a cloud image has, the packages the node may install later, and
 * Prometheus for home. Built once per recipe and kept in a cache; a build is made aside and renamed into place, so that
 * an interrupted one is never used. The base is never written to after that: runs lay an overlay over it.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BedError, run, sha256 } from './process.ts';
import type { Run } from './run.ts';

/** A finished base. */
export interface Base {
  /** Root file system of a node, read-only by agreement. */
  readonly rootDir: string;
  /** A flat apt repository: what the node can install without an internet. */
  readonly aptDir: string;
  /** Command line that runs Prometheus on this host. */
  readonly prometheus: readonly string[];
  /** The same for its tool, which checks metrics. */
  readonly promtool: readonly string[];
}

/** Everything that decides what the base holds; its hash names it. */
const recipe = {
  version: 1,
  suite: 'trixie',
  architecture: 'amd64',
  include:
    'systemd,systemd-sysv,dbus,systemd-resolved,iproute2,ca-certificates,kmod,procps,iputils-ping,nftables,curl,python3,socat,openssl,adduser,less',
  /** Installed afterwards: fails to configure inside debootstrap. */
  later: ['cloud-init'],
  /** What `apt-get install` finds on the node, with all that it pulls. */
  offered: ['nginx-light', 'nginx', 'libnginx-mod-stream', 'haproxy'],
  /** Unpacked for home, not installed. */
  home: ['prometheus', 'promtool'],
  files: {
    '/etc/systemd/network/20-eth0.network':
      '[Match]\nName=eth0\n\n[Network]\nAddress=10.99.0.2/24\nGateway=10.99.0.1\nDNS=10.99.0.1\nIPv6AcceptRA=no\n\n[Route]\nDestination=169.254.169.254\nGateway=10.99.0.9\n',
    '/etc/apt/sources.list': 'deb [trusted=yes] http://10.99.0.1:8080/apt ./\n',
    // Speaks for the image, not for the user: what a cloud's own image would have settled.
    '/etc/cloud/cloud.cfg.d/90-image.cfg':
      'datasource_list: [NoCloud]\nnetwork: {config: disabled}\napt: {preserve_sources_list: true}\nssh_genkeytypes: []\nssh_deletekeys: false\n',
    '/etc/machine-id': '',
  },
  enable: ['systemd-networkd.service', 'systemd-networkd-wait-online.service'],
} as const;

/** Where bases are kept; MOORING_BED_CACHE moves it. */
export const cacheDir = (): string => process.env['MOORING_BED_CACHE'] ?? '/var/cache/mooring-bed';

/** The base of today's recipe, built where the cache does not have it. `tell` hears about the long steps. */
export async function ensureBase(run: Run, tell: (line: string) => void = () => {}): Promise<Base> {
  const hash = createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 12);
  const folder = join(cacheDir(), `base-${hash}`);
  if (!existsSync(folder)) await build(run, folder, tell);
  const rootDir = join(folder, 'root');
  // Both are linked against the base's C library, which the host may not have.
  const fromHome = (program: string) => [
    join(rootDir, 'usr/lib64/ld-linux-x86-64.so.2'),
    '--library-path',
    join(rootDir, 'usr/lib/x86_64-linux-gnu'),
    join(folder, 'home/usr/bin', program),
  ];
  return {
    rootDir,
    aptDir: join(folder, 'apt'),
    prometheus: fromHome('prometheus'),
    promtool: fromHome('promtool'),
  };
}

async function build(bed: Run, folder: string, tell: (line: string) => void): Promise<void> {
  const startedAt = performance.now();
  await mkdir(cacheDir(), { recursive: true });
  await removeAbandoned();
  const aside = join(cacheDir(), `building-${bed.id}`);
  const rootDir = join(aside, 'root');
  await mkdir(aside);
  const place = { part: 'build' };
  try {
    tell(`building the base of the bed in ${folder} (once; about a minute)`);
    await bed.run(
      ['debootstrap', '--variant=minbase', `--include=${recipe.include}`, recipe.suite, rootDir],
      place,
      { timeoutMs: 900_000 },
    );
    tell('adding cloud-init and the packages the node may install');
    await bed.run(
      [
        ...[
          'systemd-nspawn',
          '-q',
          '-D',
          rootDir,
          `--machine=${bed.id}-build`,
          '--register=no',
          '--keep-unit',
        ],
        ...['--pipe', '--resolv-conf=replace-host', '--setenv=DEBIAN_FRONTEND=noninteractive', 'sh', '-c'],
        installScript(),
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
    await settle(bed, rootDir);
    await rename(aside, folder).catch((error: NodeJS.ErrnoException) => {
      // Another run finished the same recipe first; its base is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
    tell(`base built in ${Math.round((performance.now() - startedAt) / 1000)} s`);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

function installScript(): string {
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
async function settle(bed: Run, rootDir: string): Promise<void> {
  for (const [path, text] of Object.entries(recipe.files)) await writeFile(join(rootDir, path), text);
  await rm(join(rootDir, 'etc/resolv.conf'), { force: true });
  await symlink('../run/systemd/resolve/stub-resolv.conf', join(rootDir, 'etc/resolv.conf'));
  await bed.run(['systemctl', `--root=${rootDir}`, 'enable', ...recipe.enable], { part: 'build' });
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
