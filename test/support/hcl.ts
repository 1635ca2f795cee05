/**
 * Terraform's files as data, read by HashiCorp's own parser (compiled to WebAssembly): a module's variables, resources,
 * data, locals, outputs and calls of other modules, and every reference in an expression, with the place it stands in.
 */
import { globSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';

/** What is used of the parser; its own types need the types of a browser. */
interface Parser {
  parse(filename: string, contents: string): Promise<unknown>;
  getReferencesInExpression(filename: string, expression: string): Promise<{ readonly value: string }[]>;
  getExpressionAst(filename: string, expression: string): Promise<unknown>;
}

const parser: Parser = createRequire(import.meta.url)('@cdktf/hcl2json');

/** A mapping of the parsed file. */
export type Body = Readonly<Record<string, unknown>>;

/** A use of something in an expression: `var.node.k3s` in `module.aws.node`. */
export interface Reference {
  readonly value: string;
  readonly where: string;
}

/** All `.tf` files of a folder as one module, as Terraform sees them. */
export interface TerraformModule {
  readonly dir: string;
  readonly variables: ReadonlyMap<string, Body>;
  readonly outputs: ReadonlyMap<string, Body>;
  readonly locals: ReadonlyMap<string, unknown>;
  readonly calls: ReadonlyMap<string, Body>;
  /** By type and name: `aws_instance.this`; data as `data.aws_ami.debian`. */
  readonly resources: ReadonlyMap<string, Body>;
  readonly providers: Body;
  readonly references: readonly Reference[];
}

/** A value as a mapping; empty where it is none. */
export function asBody(value: unknown): Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : {};
}

/** The blocks under a name; the parser gives each as an element of a list. */
export const blocks = (value: unknown): readonly Body[] => (Array.isArray(value) ? value.map(asBody) : []);

/** Parses one file, whatever it is for. Throws what the parser says of a file that is not HCL. */
export async function parseHcl(file: string): Promise<Body> {
  return asBody(await parser.parse(file, readFileSync(file, 'utf8')));
}

/** Reads the module in a folder. */
export async function readModule(dir: string): Promise<TerraformModule> {
  const variables = new Map<string, Body>();
  const outputs = new Map<string, Body>();
  const locals = new Map<string, unknown>();
  const calls = new Map<string, Body>();
  const resources = new Map<string, Body>();
  const references: Reference[] = [];
  let providers: Body = {};
  const addUnique = <T>(map: Map<string, T>, name: string, value: T, file: string) => {
    if (map.has(name)) throw new Error(`${file}: ${name} is declared twice`);
    map.set(name, value);
  };
  for (const file of globSync(join(dir, '*.tf')).sort()) {
    const {
      variable,
      output,
      locals: own,
      module,
      resource,
      data,
      provider,
      terraform,
      ...others
    } = await parseHcl(file);
    const unknown = Object.keys(others);
    if (unknown.length > 0) throw new Error(`${file}: blocks that this test does not know: ${unknown}`);
    const named = (value: unknown, map: Map<string, Body>) => {
      for (const [name, found] of Object.entries(asBody(value)))
        for (const body of blocks(found)) addUnique(map, name, body, file);
    };
    named(variable, variables);
    named(output, outputs);
    named(module, calls);
    for (const body of blocks(own))
      for (const [name, value] of Object.entries(body)) addUnique(locals, name, value, file);
    for (const [prefix, kinds] of [
      ['', resource],
      ['data.', data],
    ] as const)
      for (const [type, found] of Object.entries(asBody(kinds)))
        for (const [name, body] of Object.entries(asBody(found)))
          addUnique(resources, `${prefix}${type}.${name}`, blocks(body)[0] ?? {}, file);
    for (const body of blocks(terraform))
      for (const required of blocks(body['required_providers'])) providers = { ...providers, ...required };
    // A variable's type is written like an expression, and is none.
    const withoutTypes = Object.fromEntries(
      [...variables].map(([name, { type: _, ...rest }]) => [name, rest]),
    );
    const used = { variable: withoutTypes, output, locals: own, module, resource, data, provider };
    references.push(...(await referencesIn(used, relative(join(dir, '../..'), file))));
  }
  return { dir, variables, outputs, locals, calls, resources, providers, references };
}

/** Every reference in every expression below a value. */
export async function referencesIn(value: unknown, where: string): Promise<Reference[]> {
  if (typeof value === 'string') {
    if (value.includes('%{'))
      throw new Error(`${where}: the parser cannot look into a template's directives`);
    if (!value.includes('${')) return [];
    const found = (await parser.getReferencesInExpression(where, value)).map((one) => one.value);
    // The parser does not look into a `for` within a `for`.
    const plain = value.match(
      /(?<![\w."-])(?:var|local|module|data\.\w+|(?:aws|azurerm|google)_\w+)\.\w+(?:\.\w+)*/g,
    );
    return [...new Set([...found, ...(plain ?? [])])].map((one) => ({ value: one, where }));
  }
  if (typeof value !== 'object' || value === null) return [];
  const deeper = await Promise.all(
    Object.entries(value).map(([key, inner]) =>
      referencesIn(inner, Array.isArray(value) ? where : `${where} ${key}`),
    ),
  );
  return deeper.flat();
}

/** The mapping that a `templatefile(path, {…})` hands to its template: each name with its expression. */
export async function templateArguments(expression: unknown): Promise<ReadonlyMap<string, string>> {
  const call = /^\$\{(templatefile\(.*\))\}$/s.exec(String(expression))?.[1];
  if (call === undefined) throw new Error(`not a call of templatefile: ${String(expression)}`);
  const items = findItems(await parser.getExpressionAst('template.tf', call));
  if (items === undefined) throw new Error(`no mapping in ${call}`);
  return new Map(Object.entries(items).map(([name, text]) => [name, String(text)]));
}

/** The items of the first object expression of a syntax tree. */
function findItems(node: unknown): Body | undefined {
  const { meta, children } = asBody(node);
  const items = asBody(meta)['items'];
  if (items !== undefined) return asBody(items);
  for (const child of Array.isArray(children) ? children : []) {
    const found = findItems(child);
    if (found !== undefined) return found;
  }
  return undefined;
}
