/**
 * `make tf-schemas`: writes provider-schemas.json, what the test of the Terraform examples checks arguments against.
 * It comes from the bindings that HashiCorp generated from the providers' own schemas: of each resource that an example
 * uses, its arguments, which of them are required, and what it tells once it is made. Run it after an example uses
 * another resource. The bindings have 100 MB, so they are fetched aside and thrown away.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { readModule } from '../../support/hcl.ts';

/** A resource's or block's arguments. A block, or a mapping with known keys, has arguments of its own. */
export interface Arguments {
  readonly required: readonly string[];
  readonly optional: readonly string[];
  readonly nested: Readonly<Record<string, Arguments>>;
}

/** What is known of one resource. */
export interface ResourceSchema extends Arguments {
  /** What it tells once it is made, besides its arguments. */
  readonly attributes: readonly string[];
}

/** The whole file. */
export interface ProviderSchemas {
  /** Version of each provider whose schema it is. */
  readonly providers: Readonly<Record<string, string>>;
  readonly resources: Readonly<Record<string, ResourceSchema>>;
}

/** The bindings of each provider, pinned. */
const bindings = {
  aws: '@cdktf/provider-aws@21.22.1',
  azurerm: '@cdktf/provider-azurerm@14.23.1',
  google: '@cdktf/provider-google@16.12.1',
} as const;

export const schemasFile = join(import.meta.dirname, 'provider-schemas.json');
export const terraformDir = join(import.meta.dirname, '../../../examples/terraform');

/** The types of the resources and data that the examples use, as in `data.aws_ami`. */
export async function usedTypes(): Promise<readonly string[]> {
  const modules = globSync(join(terraformDir, 'modules/*/'));
  const read = await Promise.all(modules.map((dir) => readModule(dir)));
  const names = read.flatMap(({ resources }) => [...resources.keys()]);
  return [...new Set(names.map((name) => name.replace(/\.[^.]+$/, '')))].sort();
}

const snake = (camel: string) => camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The arguments of one interface of the bindings, and below. Its comments tell each argument's name in Terraform. */
function argumentsOf(text: string, name: string): Arguments {
  const body = new RegExp(`^export interface ${name}(?: extends [\\w.]+)? \\{\\n(.*?)^\\}`, 'ms').exec(
    text,
  )?.[1];
  if (body === undefined) throw new Error(`the bindings have no ${name}`);
  const required: string[] = [];
  const optional: string[] = [];
  const nested: Record<string, Arguments> = {};
  const property = /#(\w+) [^}]*\}(?:(?!\*\/).)*?\*\/\s*readonly \w+(\??): (?:readonly )?(\w*)/gs;
  for (const [, argument = '', mark, type = ''] of body.matchAll(property)) {
    (mark === '?' ? optional : required).push(argument);
    if (type !== name && text.includes(`export interface ${type} {`))
      nested[argument] = argumentsOf(text, type);
  }
  return { required, optional, nested };
}

function schemaOf(text: string): ResourceSchema {
  const name = /^export interface (\w+)Config extends/m.exec(text)?.[1] ?? '';
  const own = argumentsOf(text, `${name}Config`);
  const body = new RegExp(`^export declare class ${name} extends .*?^\\}`, 'ms').exec(text)?.[0] ?? '';
  const told = [...body.matchAll(/^ {4}get (\w+)\(\)/gm)].map(([, getter = '']) => snake(getter));
  const known = [...own.required, ...own.optional];
  const attributes = told.filter((one) => !known.includes(one) && !one.endsWith('_input')).sort();
  return { ...own, attributes };
}

async function generate(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'mooring-bindings-'));
  try {
    const providers: Record<string, string> = {};
    const resources: Record<string, ResourceSchema> = {};
    const types = await usedTypes();
    for (const [provider, spec] of Object.entries(bindings)) {
      const packed = await execa('npm', ['pack', '--silent', spec], { cwd: folder, timeout: 300_000 });
      const own = types.filter(
        (type) => type.startsWith(`${provider}_`) || type.startsWith(`data.${provider}_`),
      );
      const files = own.map((type) => {
        const isData = type.startsWith('data.');
        const bare = type.replace(/^data\./, '').slice(provider.length + 1);
        const room = (isData ? `data-${provider}-${bare}` : bare).replaceAll('_', '-');
        return `package/lib/${room}/index.d.ts`;
      });
      await execa('tar', ['-xzf', packed.stdout.trim(), '-C', folder, ...files], { cwd: folder });
      own.forEach((type, index) => {
        const text = readFileSync(join(folder, files[index] ?? ''), 'utf8');
        providers[provider] = /\/hashicorp\/\w+\/(\d+\.\d+\.\d+)\/docs/.exec(text)?.[1] ?? '';
        resources[type] = schemaOf(text);
      });
    }
    const lines = Object.entries(resources).map(
      ([type, schema]) => `    "${type}": ${JSON.stringify(schema)}`,
    );
    const text = `{\n  "providers": ${JSON.stringify(providers)},\n  "resources": {\n${lines.join(',\n')}\n  }\n}\n`;
    writeFileSync(schemasFile, text);
    console.log(`${schemasFile}: ${lines.length} resources of ${JSON.stringify(providers)}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === import.meta.filename) await generate();
