/**
 * The notices of what the package contains beside mooring: the licence of every bundled npm package, in full.
 * A package without a licence text fails the build, rather than being shipped without one.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BundledPackages, readPackage } from './bundle.ts';

/** Names that licence and notice files go by; a NOTICE must be passed on where there is one. */
const licenceFile = /^(licen[cs]e|copying|notice)([.-].*)?$/i;

/** The notices file's whole text, in name order. Throws where a package has no licence text. */
export function renderNotices(root: string, packages: BundledPackages): string {
  const parts = [...packages.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([title, folder]) =>
      renderPackage(title, join(root, folder), textFromScope(root, packages, folder)),
    );
  const head =
    'mooring contains the following packages. Node.js, which is shipped beside it, has its own LICENSE file here.\n';
  return [head, ...parts].join(`\n${'-'.repeat(80)}\n\n`);
}

function renderPackage(title: string, folder: string, otherwise: () => string | undefined): string {
  const { license } = readPackage(folder);
  const text = textIn(folder) ?? otherwise();
  if (text === undefined) throw new Error(`${title} (${license}) has no licence text in ${folder}`);
  return `${title}\nLicence: ${license}\n\n${text}\n`;
}

/** The licence and notice files of a package. */
function textIn(folder: string): string | undefined {
  const texts = readdirSync(folder)
    .filter((name) => licenceFile.test(name))
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8').trim());
  return texts.length === 0 ? undefined : texts.join('\n\n');
}

/** What another bundled package of the same publisher (`@scope/`) ships for the same licence; some leave it out of a few. */
function textFromScope(root: string, packages: BundledPackages, folder: string): () => string | undefined {
  return () => {
    const own = readPackage(join(root, folder));
    const scope = /^@[^/]+\//.exec(own.name)?.[0];
    if (scope === undefined) return undefined;
    for (const [, other] of [...packages].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const { name, license } = readPackage(join(root, other));
      if (!name.startsWith(scope) || license !== own.license) continue;
      const text = textIn(join(root, other));
      if (text !== undefined) return `(as shipped with ${name})\n\n${text}`;
    }
    return undefined;
  };
}
