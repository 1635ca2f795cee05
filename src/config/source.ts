/**
 * One YAML text -> a tree in which every value knows its file, line and column. Nothing but plain YAML 1.2 gets
 * through: no tags, no directives, no second document, no duplicate keys, no alias bombs. Messages never quote the text,
 * since a secret may stand in it.
 */
import { LineCounter, parseDocument } from 'yaml';
import type { Problem } from './problem.ts';
import { buildTree, type Place, plainYaml, Refusal, refusal, type Tree, tooDeep } from './tree.ts';

/** A config file's text as read from disk. */
export interface ConfigSource {
  readonly path: string;
  readonly text: string;
}

/** A text's tree, or why there is none. */
export type SourceResult =
  | { readonly ok: true; readonly tree: Tree & { kind: 'map' } }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** The largest text that is looked at. */
export const maxSourceBytes = 1024 * 1024;
const maxSyntaxProblems = 3;

/** What to say for each of the YAML parser's codes. Its own messages quote the text and name parser tokens. */
const syntax: Readonly<Record<string, readonly [found: string, advice: string]>> = {
  TAB_AS_INDENT: ['a tab used as indentation', 'indent with spaces'],
  MULTIPLE_DOCS: [
    'a second YAML document (a line with --- or ...)',
    'put further settings into a file of their own in config.d',
  ],
  BAD_INDENT: [
    'a line that is not indented as its place asks, or a [ or { that is never closed',
    'compare the indentation with the lines above, and look for a missing ] or }',
  ],
  MISSING_CHAR: [
    'text that breaks off: a quote, a bracket or a separator is missing',
    'look for an unclosed quote, a missing ] or }, or a missing space after a colon or comma',
  ],
  BAD_DQ_ESCAPE: [
    'an unknown escape after a backslash in double quotes',
    "use single quotes, in which a backslash is only a backslash, or write '\\\\'",
  ],
  BLOCK_AS_IMPLICIT_KEY: [
    'two keys with colons on one line',
    'put each key on a line of its own, and quote a value that contains ": "',
  ],
  MULTILINE_IMPLICIT_KEY: [
    'a key that spans several lines, or a line without a colon',
    'write key: value on one line',
  ],
  ALIAS_PROPS: ['an alias with an anchor or tag of its own', 'write the value out'],
  BAD_ALIAS: ['an alias that is not well formed', 'quote the value if the * belongs to it'],
};

/**
 * Parses one file. A drop-in may be empty (all of it commented out, say), the main file not.
 * @returns the tree; or every problem that stands in the way of one, already placed.
 */
export function parseSource(
  source: ConfigSource,
  emptiness: 'may-be-empty' | 'must-not-be-empty',
): SourceResult {
  const early = refuseText(source);
  if (early) return { ok: false, problems: [early] };

  const lines = new LineCounter();
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file: source.path, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  try {
    const document = parseDocument(source.text, {
      version: '1.2',
      schema: 'core',
      uniqueKeys: false,
      prettyErrors: false,
      // Not 'silent', which lets further documents pass unseen.
      logLevel: 'error',
      lineCounter: lines,
    });
    if (document.errors.length > 0) {
      const problems = document.errors
        .slice(0, maxSyntaxProblems)
        .map((error) => syntaxProblem(error.code, placeAt(error.pos[0])));
      return { ok: false, problems: dropRepeats(problems) };
    }
    if (document.directives?.yaml.explicit === true)
      throw refusal(placeAt(0), '', 'a %YAML directive', plainYaml, 'remove the line');
    const tree = buildTree(document, placeAt, emptiness === 'may-be-empty');
    return { ok: true, tree };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, problems: [error.problem] };
    if (error instanceof RangeError)
      return { ok: false, problems: [tooDeep({ file: source.path, line: 1, column: 1 }, '')] };
    throw error;
  }
}

function refuseText({ path, text }: ConfigSource): Problem | undefined {
  const bytes = Buffer.byteLength(text);
  if (bytes > maxSourceBytes)
    return {
      file: path,
      path: '',
      found: `a file of ${bytes} bytes`,
      allowed: `at most ${maxSourceBytes} bytes`,
      advice: 'is this the file you meant?',
    };
  // U+FFFD is what a reader leaves where the bytes were not UTF-8.
  const odd = /[^\P{Cc}\t\n\r]|\uFFFD/u.exec(text);
  if (!odd) return undefined;
  const before = text.slice(0, odd.index);
  const line = before.split('\n').length;
  const column = odd.index - before.lastIndexOf('\n');
  const code = (odd[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
  return {
    file: path,
    line,
    column,
    path: '',
    found: odd[0] === '\uFFFD' ? 'bytes that are not UTF-8' : `the control character U+${code}`,
    allowed: 'UTF-8 text without control characters',
    advice: 'delete it; if it is not visible, retype the line',
  };
}

function syntaxProblem(code: string, place: Place): Problem {
  const [found, advice] = syntax[code] ?? [
    'text that YAML cannot read here',
    'check the indentation, quotes and colons of this line and the one above',
  ];
  return { ...place, path: '', found, allowed: plainYaml, advice };
}

/** One slip makes the parser complain several times. */
function dropRepeats(problems: readonly Problem[]): Problem[] {
  return problems.filter(
    (p, i) => !problems.slice(0, i).some((earlier) => earlier.line === p.line || earlier.found === p.found),
  );
}
