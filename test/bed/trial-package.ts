/**
 * A package of a later version with the same content, to test an upgrade with: what `make deb VERSION=…` builds, made out
 * of a finished package instead, so that a test neither needs nor disturbs the build folder.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BedError, run } from './process.ts';

/** Writes the package into `folder` and returns its file. The daemon inside also calls itself `version`. */
export async function makeTrialPackage(deb: string, version: string, folder: string): Promise<string> {
  const tree = join(folder, 'trial');
  await run(['dpkg-deb', '-R', deb, tree]);
  const own = await run(['dpkg-deb', '-f', deb, 'Version']);
  await replaceOnce(join(tree, 'DEBIAN/control'), `\nVersion: ${own}\n`, `\nVersion: ${version}\n`);
  await replaceOnce(join(tree, 'usr/lib/mooring/mooring.cjs'), `"${own}"`, `"${version}"`);
  await run([
    'sh',
    '-c',
    'cd "$1" && find . -type f ! -path "./DEBIAN/*" -printf "%P\\0" | xargs -0 md5sum >DEBIAN/md5sums',
    'sums',
    tree,
  ]);
  const trial = join(folder, `mooring_${version}.deb`);
  await run(['dpkg-deb', '--root-owner-group', '-Zgzip', '-z1', '-b', tree, trial], { timeoutMs: 120_000 });
  return trial;
}

async function replaceOnce(file: string, old: string, fresh: string): Promise<void> {
  const parts = (await readFile(file, 'utf8')).split(old);
  if (parts.length !== 2)
    throw new BedError(`${file} holds ${old.trim()} ${parts.length - 1} times, not once`);
  await writeFile(file, parts.join(fresh));
}
