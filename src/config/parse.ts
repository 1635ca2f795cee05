/**
 * Config texts -> a validated config, or every problem in it. Pure: the texts come from the caller, in the order in
 * which they are merged.
 */
import { crossCheck, refusedValues } from './cross-check.ts';
import { problemsOf } from './issues.ts';
import { mergeTrees, plain } from './merge.ts';
import type { Problem } from './problem.ts';
import { type Config, configSchema } from './schema.ts';
import { type ConfigSource, parseSource } from './source.ts';
import type { Tree } from './tree.ts';

/** What became of a config. */
export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly Problem[] };

const maxProblems = 50;

/**
 * Parses, merges and validates.
 * @param sources the main file first, then its drop-ins by name
 */
export function parseConfig(sources: readonly ConfigSource[]): ConfigResult {
  const [main] = sources;
  if (!main) throw new TypeError('parseConfig needs at least the main file');
  const parsed = sources.map((source, i) =>
    parseSource(source, i === 0 ? 'must-not-be-empty' : 'may-be-empty'),
  );
  const unreadable = parsed.flatMap((result) => (result.ok ? [] : result.problems));
  if (unreadable.length > 0) return refused(unreadable);

  const trees = parsed.flatMap((result): Tree[] => (result.ok ? [result.tree] : []));
  const root = trees.reduce(mergeTrees);
  const special = refusedValues(root);
  const checked = configSchema.safeParse(plain(root));
  if (!checked.success) {
    // What is refused as a whole is not picked at inside.
    const others = problemsOf(checked.error.issues, root).filter(
      (p) => !special.some(({ path }) => p.path === path || p.path.startsWith(`${path}.`)),
    );
    return refused([...others, ...special]);
  }
  const problems = [...special, ...crossCheck(checked.data, root)];
  return problems.length > 0 ? refused(problems) : { ok: true, config: checked.data };
}

/** One problem a path (the first is the most exact), in the order of the files, and not without end. */
function refused(problems: readonly Problem[]): ConfigResult {
  const seen = new Set<string>();
  const once = problems.filter(({ file, line, column, path }) => {
    const key = JSON.stringify([file, path, path === '' ? [line, column] : '']);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
  const files = [...new Set(once.map((p) => p.file))];
  const sorted = once.sort(
    (a, b) =>
      files.indexOf(a.file) - files.indexOf(b.file) ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0),
  );
  const rest = sorted.length - maxProblems;
  if (rest <= 0) return { ok: false, problems: sorted };
  const more: Problem = {
    file: sorted[0]?.file ?? '',
    path: '',
    found: `${rest} more problems`,
    allowed: 'none',
    advice: 'correct those above first',
  };
  return { ok: false, problems: [...sorted.slice(0, maxProblems), more] };
}
