/**
 * Renders examples/cloud-init/user-data.yaml for the bed: the values its CHANGE marks name are replaced, nothing else.
 * A value that is not found exactly once is an error, so that the example and the bed cannot drift apart.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BedError } from './process.ts';

/** The example a user starts from. */
export const exampleFile = join(import.meta.dirname, '../../examples/cloud-init/user-data.yaml');

/** What a user would change in it. */
export interface ExampleValues {
  readonly networkId: string;
  readonly k3sToken: string;
  readonly k3sUrl: string;
  readonly mooringUrl: string;
  readonly zerotierUrl: string;
}

/** The places, each with one group around the value. */
const places: Readonly<Record<keyof ExampleValues, RegExp>> = {
  networkId: /^ *- id: (\S+)/gm,
  k3sToken: /^ *(K10\S+::\S+)$/gm,
  k3sUrl: /^ *K3S=(\S+)$/gm,
  mooringUrl: /^ *MOORING=(\S+)$/gm,
  zerotierUrl: /^ *ZEROTIER=(\S+)$/gm,
};

/** The example with the bed's values. */
export async function renderExample(values: ExampleValues): Promise<string> {
  let text = await readFile(exampleFile, 'utf8');
  for (const [name, value] of Object.entries(values)) {
    const place = Object.entries(places).find(([key]) => key === name)?.[1];
    if (place === undefined) throw new BedError(`no place for ${name} in ${exampleFile}`);
    const found = [...text.matchAll(place)];
    const match = found[0];
    if (found.length !== 1 || match?.[1] === undefined) {
      throw new BedError(`${exampleFile} has ${found.length} places for ${name}, not one`);
    }
    text = text.replace(match[0], () => match[0].replace(match[1] ?? '', () => value));
  }
  return text;
}
