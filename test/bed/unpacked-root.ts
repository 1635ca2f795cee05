/** A root of its own on the bed's base, with packages that the bed's nodes can install unpacked into it: nothing is started. */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { BedError } from './process.ts';
import { ensureBase } from './root.ts';
import type { Run } from './run.ts';

/** Debian's nginx, as the bed's nodes have it. */
export const nginxPackages = ['nginx', 'nginx-common', 'libnginx-mod-stream'];
/** Debian's HAProxy, likewise. */
export const haproxyPackages = [
  'haproxy',
  'libjemalloc2',
  'liblua5.4-0',
  'libopentracing-c-wrapper0t64',
  'libopentracing1',
];

/** Lays an overlay over the base in a folder of the run and unpacks these packages there. Returns the root's folder. */
export async function unpackedRoot(
  run: Run,
  name: string,
  packages: readonly string[],
  tell?: (line: string) => void,
): Promise<string> {
  const place = { part: 'unpack' };
  const base = await ensureBase(run, tell);
  const at = (layer: string) => join(run.dir, name, layer);
  for (const layer of ['upper', 'work', 'root']) await mkdir(at(layer), { recursive: true });
  const layers = `lowerdir=${base.rootDir},upperdir=${at('upper')},workdir=${at('work')}`;
  await run.run(['mount', '-t', 'overlay', 'overlay', '-o', layers, at('root')], place);
  const debs = await readdir(base.aptDir);
  for (const wanted of packages) {
    const deb = debs.find((file) => file.startsWith(`${wanted}_`));
    if (deb === undefined) throw new BedError(`the base offers no ${wanted}: ${debs.join(', ')}`);
    await run.run(['dpkg-deb', '-x', join(base.aptDir, deb), at('root')], place);
  }
  return at('root');
}
