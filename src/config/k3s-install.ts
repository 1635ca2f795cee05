/** What `k3s.install` asks for on a machine of one architecture: which files, from where, with which hash, and where to. */
import { basename, join } from 'node:path';
import type { Config } from './schema.ts';
import { expandUrl, k3sFileName } from './url-template.ts';

/** One file that is pinned by its hash. */
export interface PinnedSource {
  readonly name: 'binary' | 'images';
  /** Where it belongs. */
  readonly path: string;
  readonly url: string;
  /** In hex, lower case. */
  readonly sha256: string;
  readonly mode: number;
  /** No file of this kind is larger. */
  readonly maxBytes: number;
}

export type PinnedInstall =
  | { readonly kind: 'off' }
  /** The config has no hash for this machine. */
  | { readonly kind: 'no-hash'; readonly version: string; readonly key: string }
  /** In the order in which they are put in place. */
  | { readonly kind: 'pinned'; readonly version: string; readonly files: readonly PinnedSource[] };

/** k3s 1.36 has 75 MB, its images 230 MB: no user would ever need more. */
const maxBinaryBytes = 512 * 1024 * 1024;
const maxImagesBytes = 8 * 1024 * 1024 * 1024;

/** Where k3s keeps its data unless `data-dir` says otherwise. */
const defaultDataDir = '/var/lib/rancher/k3s';

/** @param architecture as Node.js names it (`process.arch`) */
export function pinnedInstall(
  { install, binary, config }: Config['k3s'],
  architecture: string,
): PinnedInstall {
  if (install === undefined) return { kind: 'off' };
  const { version, images } = install;
  const arch = architecture === 'x64' ? 'amd64' : architecture;
  const hashOf = (hashes: Readonly<Record<string, string | undefined>>) =>
    Object.hasOwn(hashes, arch) ? hashes[arch] : undefined;
  const sha256 = hashOf(install.sha256);
  if (sha256 === undefined) return { kind: 'no-hash', version, key: `k3s.install.sha256.${arch}` };
  const values = { version, arch, file: k3sFileName(arch) };
  const k3s: PinnedSource = {
    name: 'binary',
    path: binary,
    url: expandUrl(install.url, values),
    sha256,
    mode: 0o755,
    maxBytes: maxBinaryBytes,
  };
  if (images === undefined) return { kind: 'pinned', version, files: [k3s] };
  const imagesSha256 = hashOf(images.sha256);
  if (imagesSha256 === undefined)
    return { kind: 'no-hash', version, key: `k3s.install.images.sha256.${arch}` };
  const url = expandUrl(images.url, values);
  const dataDir = typeof config['data-dir'] === 'string' ? config['data-dir'] : defaultDataDir;
  const tarball: PinnedSource = {
    name: 'images',
    path: join(dataDir, 'agent/images', decodeURIComponent(basename(new URL(url).pathname))),
    url,
    sha256: imagesSha256,
    mode: 0o644,
    maxBytes: maxImagesBytes,
  };
  // The images first: a k3s that is started finds them.
  return { kind: 'pinned', version, files: [tarball, k3s] };
}
