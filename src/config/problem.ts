/** What is wrong with a config, in a form that a person can act on. */

/** One problem. `path` is empty where it concerns the whole file. */
export interface Problem {
  readonly file: string;
  /** From 1; absent where the problem has no line, as with a file that is too large. */
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  /** `k3s.labels.tier`, `ingress[0].listen`. */
  readonly path: string;
  /** What was found, never a secret. */
  readonly found: string;
  /** What is allowed there. */
  readonly allowed: string;
  /** What to do, where that is not obvious. */
  readonly advice?: string | undefined;
}

/** The problem as two or three lines, ready to print. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, path, found, allowed, advice } = problem;
  const where = [file, line, line === undefined ? undefined : column].filter((part) => part !== undefined);
  const head = `${where.join(':')}: ${path === '' ? '' : `${path}: `}found ${found}`;
  const lines = [head, `  allowed: ${allowed}`];
  if (advice !== undefined) lines.push(`  do: ${advice}`);
  return lines.join('\n');
}
