/**
 * The schema's complaints -> problems for a person: placed, with what was found, what is allowed and what to do.
 * Of a union's nested complaints only those of the alternative that the person meant are told.
 */
import type * as z from 'zod/mini';
import { adviceFor } from './advice.ts';
import { lookUp, plain } from './merge.ts';
import type { Problem } from './problem.ts';
import { isSecretPath, renderFound, safeKey } from './render-found.ts';
import { keysAt, wantedAt } from './schema-walk.ts';
import { suggest } from './suggest.ts';
import { joinPath, type Tree } from './tree.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** `['ingress', 0, 'listen']` -> `ingress[0].listen`. */
export function showPath(path: Path): string {
  return path.reduce<string>(
    (shown, part) => (typeof part === 'number' ? `${shown}[${part}]` : joinPath(shown, String(part))),
    '',
  );
}

/** Every problem that the issues stand for. A missing key is not told beside its own misspelling. */
export function problemsOf(issues: readonly Issue[], root: Tree): Problem[] {
  const problems = issues.flatMap((issue) => problemsOfOne(issue, [], root));
  const misspelt = new Set(problems.map((p) => p.meantPath).filter((p) => p !== undefined));
  return problems
    .filter((p) => !(p.found === 'nothing' && misspelt.has(p.path)))
    .map(({ meantPath: _, ...problem }) => problem);
}

/** A problem that may know which path the person meant to write. */
type Draft = Problem & { readonly meantPath?: string | undefined };

function problemsOfOne(issue: Issue, above: Path, root: Tree): Draft[] {
  const path = [...above, ...issue.path];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(path, key, root));
  if (issue.code === 'invalid_union') {
    const meant = meantAlternative(issue.errors);
    if (meant) return meant.flatMap((inner) => problemsOfOne(inner, path, root));
  }
  if (issue.code === 'invalid_key') return [wrongKey(path, issue.issues[0]?.message ?? 'another key', root)];
  return [problemAt(root, path, allowedBy(issue, path))];
}

/** The one alternative that fits the value's outer shape, or undefined where none or several do. */
function meantAlternative(errors: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const shaped = errors.filter((issues) => issues.some(isInside)).sort((a, b) => a.length - b.length);
  const [best, second] = shaped;
  if (!best || (second && second.length === best.length)) return undefined;
  return best;
}

/** Whether the complaint is about something inside the value, so that its outer shape was right. */
function isInside(issue: Issue): boolean {
  return (
    issue.path.length > 0 ||
    issue.code === 'unrecognized_keys' ||
    issue.code === 'too_small' ||
    issue.code === 'too_big'
  );
}

function allowedBy(issue: Issue, path: Path): string {
  const wanted = wantedAt(path);
  // zod/mini's own messages say nothing; ours are in the schema, except for mappings and lists.
  if (issue.message !== 'Invalid input') return issue.message;
  if (wanted.includes('mapping')) {
    const keys = keysAt(path);
    return keys.length === 0 ? 'a mapping of key: value' : `a mapping with the keys ${keys.join(', ')}`;
  }
  if (wanted.includes('list')) return 'a list, each entry on a line of its own after a dash';
  return wanted.join(' or ');
}

/** A problem with the value at `path`, or with its absence. */
export function problemAt(root: Tree, path: Path, allowed: string, advice?: string): Problem {
  const { tree, place } = lookUp(root, path);
  const shownPath = showPath(path);
  const value = tree ? plain(tree) : undefined;
  const source = tree?.kind === 'scalar' ? tree.source : undefined;
  return {
    ...place,
    path: shownPath,
    found: renderFound(value, source, shownPath),
    allowed,
    advice: advice ?? adviceFor(path, value, source),
  };
}

function unknownKey(path: Path, key: string, root: Tree): Draft {
  const { tree, place } = lookUp(root, path);
  const keyPlace = tree?.kind === 'map' ? tree.entries.get(key)?.keyPlace : undefined;
  const keys = keysAt(path);
  const near = suggest(key, keys);
  const above = showPath(path);
  const shown = safeKey(above, key);
  return {
    ...(keyPlace ?? place),
    path: joinPath(above, key),
    found: `the unknown key ${shown}`,
    allowed: keys.length === 1 ? `the key ${keys[0]}` : `the keys ${keys.join(', ')}`,
    meantPath: near ? joinPath(above, near) : undefined,
    advice: near ? `did you mean ${near}?` : unknownKeyAdvice(key, above),
  };
}

function unknownKeyAdvice(key: string, above: string): string {
  if (key === '<<') return 'merge keys are not part of YAML 1.2; write the values out';
  if (isSecretPath(above)) return 'give the path of the file that holds the secret: {file: /path}';
  if (above === 'k3s') return 'remove it; further options of k3s agent go under k3s.config';
  return 'remove it, or move it to where it belongs (the indentation decides)';
}

function wrongKey(path: Path, allowed: string, root: Tree): Problem {
  const above = path.slice(0, -1);
  const key = String(path.at(-1));
  const { tree, place } = lookUp(root, above);
  const keyPlace = tree?.kind === 'map' ? tree.entries.get(key)?.keyPlace : undefined;
  return {
    ...(keyPlace ?? place),
    path: showPath(path),
    found: `the key ${safeKey(showPath(above), key)}`,
    allowed,
    advice: adviceFor(path, undefined, undefined),
  };
}
