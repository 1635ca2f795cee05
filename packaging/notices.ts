/**
 * The notices of what the package contains beside mooring: the licence of every bundled npm package, in full.
 * A package without a licence text fails the build, rather than being shipped without one.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BundledPackages, readPackage } from './bundle.ts';

/** Names that licence and notice files go by; a NOTICE must be passed on where there is one. */
const licenceFile = /^(licen[cs]e|copying|notice)([.-].*)?$/i;

/** Packages that name their licence in package.json and ship no text of it. */
const knownTexts: Readonly<Record<string, string>> = {};

/** The notices file's whole text, in name order. Throws where a package has no licence text. */
export function renderNotices(root: string, packages: BundledPackages): string {
  const parts = [...packages.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([title, folder]) => renderPackage(title, join(root, folder)));
  const head =
    'mooring contains the following packages. Node.js, which is shipped beside it, has its own LICENSE file here.\n';
  return [head, ...parts].join(`\n${'-'.repeat(80)}\n\n`);
}

function renderPackage(title: string, folder: string): string {
  const { license } = readPackage(folder);
  const texts = readdirSync(folder)
    .filter((name) => licenceFile.test(name))
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8').trim());
  const known = knownTexts[title];
  if (texts.length === 0 && known !== undefined) texts.push(known);
  if (texts.length === 0) throw new Error(`${title} (${license}) has no licence text in ${folder}`);
  return `${title}\nLicence: ${license}\n\n${texts.join('\n\n')}\n`;
}
