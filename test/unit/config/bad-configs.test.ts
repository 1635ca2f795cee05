/** Bad configs and the messages that a person gets: golden/config/NAME.yaml -> NAME.txt. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parseConfig } from '#src/config/parse.ts';
import { formatProblem, type Problem } from '#src/config/problem.ts';
import { assertGolden } from '../golden-file.ts';

const folder = new URL('../golden/config/', import.meta.url);
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => name.slice(0, -'.yaml'.length));

function problemsOf(text: string): readonly Problem[] {
  const result = parseConfig([{ path: 'config.yaml', text }]);
  return result.ok ? [] : result.problems;
}

describe('a bad config gets messages a person can act on', () => {
  assert.ok(names.length >= 20, 'the examples are there');
  for (const name of names) {
    test(name, () => {
      const problems = problemsOf(readFileSync(new URL(`${name}.yaml`, folder), 'utf8'));
      assert.notEqual(problems.length, 0);
      const text = problems.map(formatProblem).join('\n');
      for (const { found, allowed } of problems) assert.ok(found !== '' && allowed !== '');
      assert.doesNotMatch(text, /Invalid input|undefined|\[object/);
      assert.doesNotMatch(text, /[^\P{Cc}\n]|\p{Cf}/u, 'no control or direction character gets out');
      assert.doesNotMatch(text, /correcthorse|b0c44298fc1c149a/, 'no secret gets out');
      assertGolden(`config/${name}.txt`, `${text}\n`);
    });
  }
});

describe('a hostile config costs no more than a moment', () => {
  const withinMs = 10_000;
  const cases: Readonly<Record<string, string>> = {
    'a hundred thousand brackets': '['.repeat(100_000),
    'ten thousand unknown keys': Array.from({ length: 10_000 }, (_, i) => `k${i}: x`).join('\n'),
    'five thousand aliases': `a: &a 1\n${Array.from({ length: 5_000 }, (_, i) => `k${i}: *a`).join('\n')}`,
    'one very long text': `zerotier: ${'token=a '.repeat(120_000)}`,
    'a text without end': `zerotier: "${'a'.repeat(1_000_000)}`,
    'more than the limit': `# ${'x'.repeat(1024 * 1024)}`,
  };
  for (const [name, text] of Object.entries(cases)) {
    test(name, () => {
      const startedMs = performance.now();
      const problems = problemsOf(text);
      assert.notEqual(problems.length, 0);
      assert.ok(problems.length <= 51, 'the list of problems has an end');
      assert.ok(performance.now() - startedMs < withinMs);
      for (const problem of problems) assert.ok(formatProblem(problem).length < 1_000);
    });
  }
});

test('a config cut off anywhere is refused or complete, and never throws', () => {
  const whole = readFileSync(new URL('labels.yaml', folder), 'utf8');
  for (let length = 0; length < whole.length; length += 1)
    assert.doesNotThrow(() => problemsOf(whole.slice(0, length)));
});
