/**
 * A YAML document's tree, in which every value knows its file, line and column. Built with limits on depth, aliases and
 * size, so that no text of any shape costs more than a moment.
 */
import { type Alias, isAlias, isMap, isNode, isScalar, isSeq, type parseDocument } from 'yaml';
import type { Problem } from './problem.ts';
import { safeKey } from './render-found.ts';

/** Where a value stands; line and column count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A YAML value with its place. `source` is the scalar as written. */
export type Tree =
  | {
      readonly kind: 'scalar';
      readonly value: string | number | boolean | null;
      readonly source: string;
      readonly place: Place;
    }
  | { readonly kind: 'list'; readonly items: readonly Tree[]; readonly place: Place }
  | { readonly kind: 'map'; readonly entries: ReadonlyMap<string, Entry>; readonly place: Place };

/** A mapping's entry; the key has a place of its own. */
export interface Entry {
  readonly keyPlace: Place;
  readonly value: Tree;
}

const maxDepth = 32;
const maxAliases = 100;
const maxNodes = 50_000;

/** Ends the building of a tree. */
export class Refusal extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.found);
    this.problem = problem;
  }
}

/** What is allowed in general. */
export const plainYaml = 'plain YAML 1.2: keys and values, lists, text, numbers, true and false';

/** A refusal from its parts. */
export function refusal(
  place: Place,
  path: string,
  found: string,
  allowed: string,
  advice?: string,
): Refusal {
  return new Refusal({ ...place, path, found, allowed, advice });
}

/** The problem of a tree without end. */
export function tooDeep(place: Place, path: string): Problem {
  return {
    ...place,
    path,
    found: 'values nested too deeply',
    allowed: `at most ${maxDepth} levels`,
    advice: 'the config needs five; look for a stray [ or {',
  };
}

type Document = ReturnType<typeof parseDocument>;

/**
 * The tree of a parsed document whose root is a mapping.
 * Throws Refusal at the first thing that is not plain YAML. An empty document is a mapping without keys where it may be empty.
 */
export function buildTree(
  document: Document,
  placeAt: (offset: number) => Place,
  mayBeEmpty: boolean,
): Tree & { kind: 'map' } {
  return new TreeBuilder(document, placeAt).build(mayBeEmpty);
}

/** Copies the parser's nodes into a tree, counting as it goes, so that aliases cannot blow it up. */
class TreeBuilder {
  private readonly document: Document;
  private readonly placeAt: (offset: number) => Place;
  private nodes = 0;
  private aliases = 0;

  constructor(document: Document, placeAt: (offset: number) => Place) {
    this.document = document;
    this.placeAt = placeAt;
  }

  build(mayBeEmpty: boolean): Tree & { kind: 'map' } {
    const root = this.document.contents;
    const empty = root === null || (isScalar(root) && root.value === null);
    const top = 'a mapping with the keys zerotier and k3s, and ingress, node, health where needed';
    if (empty && mayBeEmpty) return { kind: 'map', entries: new Map(), place: this.placeAt(0) };
    if (empty)
      throw refusal(
        this.placeAt(0),
        '',
        'an empty file',
        top,
        '/usr/share/doc/mooring/examples/config.yaml shows what to fill in',
      );
    const tree = this.copy(root, '', 0);
    if (tree.kind === 'map') return tree;
    const found = tree.kind === 'list' ? 'a list' : 'a single value';
    throw refusal(tree.place, '', found, top, 'each line at the left margin has the form key: value');
  }

  private copy(node: unknown, path: string, depth: number): Tree {
    if (!isNode(node)) throw refusal(this.placeAt(0), path, 'nothing', 'a value');
    const place = this.placeAt(node.range?.[0] ?? 0);
    this.nodes += 1;
    if (this.nodes > maxNodes)
      throw refusal(place, path, `more than ${maxNodes} values`, 'a config of sensible size');
    if (depth > maxDepth) throw new Refusal(tooDeep(place, path));
    if (isAlias(node)) return this.follow(node, place, path, depth);
    if (node.tag !== undefined)
      throw refusal(
        place,
        path,
        'a YAML tag (a word that starts with !)',
        plainYaml,
        'remove the tag, and quote the value if it is text',
      );
    if (isScalar(node)) return this.scalar(node.value, node.source, place, path);
    if (isSeq(node)) {
      const items = node.items.map((item, i) => this.copy(item, `${path}[${i}]`, depth + 1));
      return { kind: 'list', items, place };
    }
    if (isMap(node)) return this.map(node, place, path, depth);
    throw refusal(place, path, 'something unusual', plainYaml);
  }

  private follow(alias: Alias, place: Place, path: string, depth: number): Tree {
    this.aliases += 1;
    if (this.aliases > maxAliases)
      throw refusal(
        place,
        path,
        `more than ${maxAliases} aliases (*name)`,
        `at most ${maxAliases}`,
        'write the values out',
      );
    const target = alias.resolve(this.document);
    if (target === undefined)
      throw refusal(
        place,
        path,
        'an alias (*name) without its anchor (&name)',
        plainYaml,
        'quote the value if the * belongs to it',
      );
    return this.copy(target, path, depth + 1);
  }

  private scalar(value: unknown, source: string | undefined, place: Place, path: string): Tree {
    const known =
      value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
    if (!known) throw refusal(place, path, 'something unusual', plainYaml);
    return { kind: 'scalar', value, source: source ?? String(value), place };
  }

  private map(
    node: { items: readonly { key: unknown; value: unknown }[] },
    place: Place,
    path: string,
    depth: number,
  ): Tree {
    const entries = new Map<string, Entry>();
    for (const pair of node.items) {
      const keyNode = pair.key;
      if (!isScalar(keyNode) || keyNode.value === null || keyNode.tag !== undefined)
        throw refusal(place, path, 'a key that is not a word', 'keys that are plain text');
      const keyPlace = this.placeAt(keyNode.range?.[0] ?? 0);
      const key =
        typeof keyNode.value === 'string' ? keyNode.value : (keyNode.source ?? String(keyNode.value));
      const keyPath = joinPath(path, key);
      if (key === '__proto__')
        throw refusal(keyPlace, path, 'the key __proto__', 'a key that mooring knows', 'remove it');
      const earlier = entries.get(key);
      if (earlier)
        throw refusal(
          keyPlace,
          keyPath,
          `the key ${safeKey(path, key)} a second time (first on line ${earlier.keyPlace.line})`,
          'each key once',
          'merge the two',
        );
      const { value } = pair;
      entries.set(key, {
        keyPlace,
        value:
          value === null
            ? { kind: 'scalar', value: null, source: '', place: keyPlace }
            : this.copy(value, keyPath, depth + 1),
      });
    }
    return { kind: 'map', entries, place };
  }
}

/** `k3s` + `labels` -> `k3s.labels`. */
export function joinPath(path: string, key: string): string {
  const shown = safeKey(path, key);
  return path === '' ? shown : `${path}.${shown}`;
}
