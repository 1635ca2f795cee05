/**
 * Bundles the program into one CommonJS file. What is bundled is also what the notices must name, so the list of packages
 * comes from here. Identifiers are kept: fully minified code starts slower, and stack traces stay readable.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

/** One bundle: a program of its own, loaded or spawned by path. */
export interface Bundle {
  /** File name without extension under /usr/lib/mooring. */
  readonly name: string;
  /** Source file, from the project's root. */
  readonly entry: string;
}

/** The second is run as a child where it is needed, so that AWS' SDK never comes into the daemon's memory. */
export const bundles: readonly Bundle[] = [
  { name: 'mooring', entry: 'src/main.ts' },
  { name: 'aws-tags', entry: 'src/systems/cloud/aws-tags-program.ts' },
];

/** Optional parts of dbus-next that mooring never reaches: a native socket, X11 and unixexec addresses, XML introspection. */
const stubbed = ['usocket', 'x11', 'xml2js', 'event-stream'];

/** undici's HTTP/2, which mooring never reaches, and which brings node:http2 along at each start. */
const unreached = /node_modules\/undici\/lib\/dispatcher\/client-h2\.js$/;

/** The packages (`name`, or `@scope/name`) whose files are in the bundle, and where their newest copy lies. */
export type BundledPackages = ReadonlyMap<string, string>;

/** `node_modules/a/node_modules/@b/c/lib/x.js` -> `node_modules/a/node_modules/@b/c`; undefined for the project's own files. */
export function packageFolder(input: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(input)?.[0];
}

/**
 * Writes `<outFolder>/<name>.cjs`, and its source map to `<mapFolder>`, to read a stack trace with later.
 * Throws esbuild's own error, which it has already printed.
 */
export async function buildBundle(options: {
  readonly root: string;
  readonly bundle: Bundle;
  readonly version: string;
  readonly outFolder: string;
}): Promise<BundledPackages> {
  const { root, bundle, version, outFolder } = options;
  const result = await build({
    absWorkingDir: root,
    entryPoints: [bundle.entry],
    outfile: join(outFolder, `${bundle.name}.cjs`),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node24',
    mainFields: ['module', 'main'],
    minifyWhitespace: true,
    minifySyntax: true,
    sourcemap: 'external',
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
    // The second is undici's own switch to leave out its experimental parser.
    define: { MOORING_VERSION: JSON.stringify(version), esbuildDetection: 'true' },
    plugins: [
      {
        name: 'stubs',
        setup(hooks) {
          const filter = new RegExp(`^(${stubbed.join('|')})$`);
          hooks.onResolve({ filter }, ({ path }) => ({ path, namespace: 'stub' }));
          hooks.onLoad({ filter: /.*/, namespace: 'stub' }, ({ path }) => ({
            contents: stubText(path),
            loader: 'js',
          }));
          hooks.onLoad({ filter: unreached }, ({ path }) => ({
            contents: `module.exports = () => { throw new Error('${basename(path)} is not part of mooring') };`,
            loader: 'js',
          }));
        },
      },
    ],
  });
  const packages = new Map<string, string>();
  for (const input of Object.keys(result.metafile.inputs)) {
    const folder = packageFolder(input);
    if (folder === undefined) continue;
    const { name, version: packageVersion } = readPackage(join(root, folder));
    packages.set(`${name} ${packageVersion}`, folder);
  }
  return packages;
}

/** dbus-next requires xml2js as it loads, and the others only when they are used, inside a try. */
function stubText(name: string): string {
  const complaint = `throw new Error('${name} is not part of mooring')`;
  return name === 'xml2js'
    ? `class Refusing { constructor() { ${complaint} } }\nexports.Parser = Refusing;\nexports.Builder = Refusing;`
    : `${complaint};`;
}

/** What of a package.json is needed here. */
export interface PackageFacts {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}

/** Throws where the folder has no package.json with a name and a version. */
export function readPackage(folder: string): PackageFacts {
  const facts: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (typeof facts !== 'object' || facts === null) throw new Error(`${folder}/package.json is no object`);
  const text = (key: string): string | undefined => {
    const value: unknown = Reflect.get(facts, key);
    return typeof value === 'string' ? value : undefined;
  };
  const name = text('name');
  const version = text('version');
  if (name === undefined || version === undefined) throw new Error(`${folder}/package.json names no version`);
  return { name, version, license: text('license') ?? 'see below' };
}
