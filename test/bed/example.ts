/**
 * Renders the examples of examples/cloud-init for the bed: the values that their CHANGE marks name are replaced, nothing
 * else. A value that is not found exactly once is an error, so that the examples and the bed cannot drift apart.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BedError } from './process.ts';

const folder = join(import.meta.dirname, '../../examples/cloud-init');

/** What a user would change in them. */
export interface ExampleValues {
  readonly networkId: string;
  readonly k3sToken: string;
  readonly k3sUrl: string;
  readonly k3sSha256: string;
  readonly mooringUrl: string;
  readonly mooringSha256: string;
  /** Where ZeroTier's key and repositories are. */
  readonly zerotierUrl: string;
}

/** The places, each with one group around the value. */
const places: Readonly<Record<keyof ExampleValues, RegExp>> = {
  networkId: /^ *- id: (\S+)/gm,
  k3sToken: /^ *(K10\S+::\S+)$/gm,
  k3sUrl: /^ *url: (\S+)$/gm,
  k3sSha256: /^ *sha256: \{amd64: "(\w+)"\}$/gm,
  mooringUrl: /^ *MOORING=(\S+)$/gm,
  mooringSha256: /^ *MOORING_SHA256=(\S+)$/gm,
  zerotierUrl: /^ *ZEROTIER=(\S+)$/gm,
};

/** An example: its file, and which of the places it has. */
export interface Example {
  readonly file: string;
  readonly has: readonly (keyof typeof places)[];
}

/** Installs everything at the first boot: what a user starts from. */
export const wholeExample: Example = {
  file: join(folder, 'user-data.yaml'),
  has: ['networkId', 'k3sToken', 'k3sUrl', 'k3sSha256', 'mooringUrl', 'mooringSha256', 'zerotierUrl'],
};

/** Only configures: for an image in which everything is installed. */
export const bakedExample: Example = {
  file: join(folder, 'baked-image.yaml'),
  has: ['networkId', 'k3sToken'],
};

/**
 * An example for a node that authorises itself, as the docs tell to do it: two more lines of config, and the token in a file.
 */
export function authorizingItself(
  text: string,
  { url, token }: { readonly url: string; readonly token: string },
  address: string,
): string {
  const inserts: readonly (readonly [before: RegExp, lines: readonly string[]])[] = [
    [
      /^ {6}k3s:/m,
      [
        `            addresses: [${address}]`,
        `        authorize: {controller: "${url}", token: {file: /etc/mooring/zerotier-api-token}}`,
      ],
    ],
    [
      /^ {2}- path: \/etc\/mooring\/k3s-token$/m,
      ['  - path: /etc/mooring/zerotier-api-token', '    permissions: "0600"', `    content: ${token}`, ''],
    ],
  ];
  return inserts.reduce((edited, [before, lines]) => {
    if (!before.test(edited)) throw new BedError(`the example has no place for ${lines[0]}`);
    return edited.replace(before, (place) => [...lines, place].join('\n'));
  }, text);
}

/** An example with the bed's values. */
export async function renderExample(values: ExampleValues, example = wholeExample): Promise<string> {
  let text = await readFile(example.file, 'utf8');
  for (const name of example.has) {
    const found = [...text.matchAll(places[name])];
    const match = found[0];
    if (found.length !== 1 || match?.[1] === undefined) {
      throw new BedError(`${example.file} has ${found.length} places for ${name}, not one`);
    }
    text = text.replace(match[0], () => match[0].replace(match[1] ?? '', () => values[name]));
  }
  return text;
}
