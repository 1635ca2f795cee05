/**
 * Builds everything that goes to /usr/lib/mooring, into build/lib: the bundles, the JSON Schema and the notices.
 * The same commit gives the same bytes. The runtime is prepared by runtime.ts, the package made by deb/build.ts.
 *
 *   node packaging/build.ts [--version VERSION]
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildBundle, bundles, readPackage } from './bundle.ts';
import { renderNotices } from './notices.ts';

const root = join(import.meta.dirname, '..');
const { values } = parseArgs({ options: { version: { type: 'string' } } });
const version = values.version ?? readPackage(root).version;
const outFolder = join(root, 'build/lib');

rmSync(outFolder, { recursive: true, force: true });
mkdirSync(outFolder, { recursive: true });

const packages = new Map<string, string>();
for (const bundle of bundles) {
  for (const [title, folder] of await buildBundle({ root, bundle, version, outFolder })) {
    packages.set(title, folder);
  }
}
writeFileSync(join(outFolder, 'THIRD-PARTY-NOTICES'), renderNotices(root, packages));
writeFileSync(
  join(outFolder, 'config.schema.json'),
  execFileSync(process.execPath, [join(root, 'packaging/schema.ts')], { encoding: 'utf8' }),
);

for (const { name } of bundles) {
  const bytes = readFileSync(join(outFolder, `${name}.cjs`)).length;
  console.log(`build/lib/${name}.cjs: ${Math.round(bytes / 1024)} KiB, ${packages.size} packages`);
}
