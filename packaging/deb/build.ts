/**
 * Makes build/mooring_<version>_<architecture>.deb out of build/lib, the runtime and the files of packaging/ and docs/man.
 * Every path the package owns is in this file. The same commit gives the same bytes, on any machine with the same tools.
 *
 *   node packaging/deb/build.ts [--arch amd64|arm64] [--version VERSION]
 *
 * --version is for trial packages (an upgrade to test with); a real one is in the changelog, and both must agree.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { constants, gzipSync } from 'node:zlib';
import { readPackage } from '../bundle.ts';
import { hostArchitecture, parseArchitecture, prepareRuntime } from '../runtime.ts';

const root = join(import.meta.dirname, '../..');
const lib = join(root, 'build/lib');
const { values } = parseArgs({ options: { arch: { type: 'string' }, version: { type: 'string' } } });
const architecture = values.arch === undefined ? hostArchitecture() : parseArchitecture(values.arch);
const runtime = prepareRuntime(root, architecture);
const version = values.version ?? releasedVersion();
const stage = join(root, 'build/deb', architecture);

/** package.json's version; throws where the changelog's newest entry is of another. */
function releasedVersion(): string {
  const { version: own } = readPackage(root);
  const newest = /^mooring \(([^)]+)\)/.exec(
    readFileSync(join(root, 'packaging/deb/changelog'), 'utf8'),
  )?.[1];
  if (newest !== own) throw new Error(`package.json is ${own}, packaging/deb/changelog is ${newest}`);
  return own;
}

/** When the sources were last changed, in seconds: of the environment, the last commit, or else the changelog file. */
function sourceDateSeconds(): number {
  const given = Number(process.env['SOURCE_DATE_EPOCH']);
  if (Number.isInteger(given) && given > 0) return given;
  try {
    return Number(
      execFileSync('git', ['-C', root, 'log', '-1', '--format=%ct'], { encoding: 'utf8' }).trim(),
    );
  } catch {
    return Math.floor(statSync(join(root, 'packaging/deb/changelog')).mtimeMs / 1000);
  }
}

function install(content: string | Buffer, path: string, mode = 0o644): void {
  const target = join(stage, path);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, content);
  chmodSync(target, mode);
}

const installFile = (source: string, path: string, mode?: number) =>
  install(readFileSync(source), path, mode);

/** As `gzip -9n` does: no name, no time. */
const installGzipped = (source: string, path: string) =>
  install(gzipSync(readFileSync(source), { level: constants.Z_BEST_COMPRESSION }), path);

/** The files and links under `folder`, relative to the stage, in byte order. */
function listFiles(folder: string): readonly string[] {
  return readdirSync(join(stage, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      return entry.isDirectory() ? listFiles(path) : [path];
    })
    .sort();
}

function stageFiles(): void {
  const packaging = join(root, 'packaging');
  const systemd = join(packaging, 'systemd');
  const units = readdirSync(systemd).filter((name) => /\.(service|path|target)$/.test(name));
  for (const unit of units) installFile(join(systemd, unit), `usr/lib/systemd/system/${unit}`);
  installFile(
    join(systemd, 'nginx.service.d/50-mooring.conf'),
    'usr/lib/systemd/system/nginx.service.d/50-mooring.conf',
  );
  installFile(
    join(systemd, 'network/00-mooring-zt.network'),
    'usr/lib/systemd/network/00-mooring-zt.network',
  );
  installFile(join(packaging, 'sysctl.conf'), 'usr/lib/sysctl.d/50-mooring.conf');
  mkdirSync(join(stage, 'usr/lib/systemd/system/zerotier-one.service.wants'), { recursive: true });
  symlinkSync(
    '../mooring-zerotier-preseed.service',
    join(stage, 'usr/lib/systemd/system/zerotier-one.service.wants/mooring-zerotier-preseed.service'),
  );

  installFile(join(systemd, 'mooring'), 'usr/bin/mooring', 0o755);
  for (const script of ['k3s-address-check', 'k3s-agent', 'ingress-limits', 'ingress-renew']) {
    installFile(join(systemd, script), `usr/lib/mooring/${script}`, 0o755);
  }
  mkdirSync(join(stage, 'usr/lib/mooring'), { recursive: true });
  cpSync(runtime.binary, join(stage, 'usr/lib/mooring/node'));
  chmodSync(join(stage, 'usr/lib/mooring/node'), 0o755);
  for (const bundle of readdirSync(lib).filter((name) => name.endsWith('.cjs'))) {
    installFile(join(lib, bundle), `usr/lib/mooring/${bundle}`);
  }
  installFile(join(lib, 'config.schema.json'), 'usr/share/mooring/config.schema.json');

  installFile(join(packaging, 'deb/config.d-README'), 'etc/mooring/config.d/README');
  mkdirSync(join(stage, 'etc/rancher/k3s/config.yaml.d'), { recursive: true });
  mkdirSync(join(stage, 'var/lib/rancher'), { recursive: true });

  const doc = 'usr/share/doc/mooring';
  installFile(join(packaging, 'deb/copyright'), `${doc}/copyright`);
  installGzipped(join(packaging, 'deb/changelog'), `${doc}/changelog.gz`);
  installGzipped(join(lib, 'THIRD-PARTY-NOTICES'), `${doc}/THIRD-PARTY-NOTICES.gz`);
  installGzipped(runtime.licence, `${doc}/NODE-LICENSE.gz`);
  installFile(join(packaging, 'deb/config.example.yaml'), `${doc}/examples/config.yaml`);
  installFile(join(packaging, 'deb/lintian-overrides'), 'usr/share/lintian/overrides/mooring');
  for (const page of readdirSync(join(root, 'docs/man'))) {
    installGzipped(join(root, 'docs/man', page), `usr/share/man/man${page.at(-1)}/${page}.gz`);
  }
}

function stageControl(): void {
  const files = listFiles('');
  const isLink = (path: string) => path.includes('.wants/');
  const plain = files.filter((path) => !isLink(path));
  const bytes = plain.reduce((sum, path) => sum + statSync(join(stage, path)).size, 0);
  const control = readFileSync(join(root, 'packaging/deb/control'), 'utf8')
    .replace('@VERSION@', version)
    .replace('@ARCHITECTURE@', architecture)
    .replace('@INSTALLED_SIZE@', String(Math.ceil(bytes / 1024)));
  const sums = plain.map((path) => {
    const sum = createHash('md5')
      .update(readFileSync(join(stage, path)))
      .digest('hex');
    return `${sum}  ${path}\n`;
  });
  const conffiles = plain.filter((path) => path.startsWith('etc/')).map((path) => `/${path}\n`);
  install(control, 'DEBIAN/control');
  install(sums.join(''), 'DEBIAN/md5sums');
  install(conffiles.join(''), 'DEBIAN/conffiles');
  for (const script of ['postinst', 'prerm', 'postrm']) {
    installFile(join(root, 'packaging/deb', script), `DEBIAN/${script}`, 0o755);
  }
}

/** One time and one set of folder modes for everything, whatever the builder's umask is. */
function settleTree(folder: string, seconds: number): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) settleTree(path, seconds);
    else lutimesSync(path, seconds, seconds);
  }
  chmodSync(folder, 0o755);
  lutimesSync(folder, seconds, seconds);
}

rmSync(stage, { recursive: true, force: true });
mkdirSync(stage, { recursive: true });
stageFiles();
stageControl();
const seconds = sourceDateSeconds();
settleTree(stage, seconds);

const target = join(root, 'build', `mooring_${version}_${architecture}.deb`);
// zstd: a fifth larger than xz, and a second instead of half a minute to build, a tenth of the time to unpack on a small VM.
// Aside first: whoever takes the package while another is built gets a whole one.
const aside = `${target}.${process.pid}`;
execFileSync('dpkg-deb', ['--root-owner-group', '-Zzstd', '-z9', '--build', stage, aside], {
  env: { ...process.env, SOURCE_DATE_EPOCH: String(seconds) },
  stdio: ['ignore', 'ignore', 'inherit'],
});
renameSync(aside, target);
console.log(
  `build/${basename(target)}: ${(statSync(target).size / 1e6).toFixed(1)} MB, Node.js ${runtime.version}`,
);
