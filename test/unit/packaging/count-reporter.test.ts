/** The reporter whose lines CI adds up, on real runs of node's test runner. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';

const reporter = join(import.meta.dirname, '../../support/count-reporter.ts');

function outcomesOf(source: string): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), 'counted-'));
  try {
    const file = join(folder, 'a.test.mjs');
    writeFileSync(file, source);
    const { NODE_TEST_CONTEXT: _inherited, ...env } = process.env;
    const { stdout } = spawnSync(process.execPath, ['--test', `--test-reporter=${reporter}`, file], {
      encoding: 'utf8',
      env,
    });
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => String(JSON.parse(line).outcome))
      .sort();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the count', () => {
  test('is of tests and not of the suites around them', () => {
    const outcomes = outcomesOf(`
      import { describe, test } from 'node:test';
      describe('s', () => { test('a', () => {}); test('b', () => { throw new Error('x'); }); test.skip('c', () => {}); });
    `);
    assert.deepEqual(outcomes, ['failed', 'passed', 'skipped']);
  });

  test('has a file that cannot be loaded as one failure', () => {
    assert.deepEqual(outcomesOf('throw new Error("no");'), ['failed']);
  });

  test('has a suite whose hook failed as a failure', () => {
    const outcomes = outcomesOf(`
      import { after, describe, test } from 'node:test';
      describe('s', () => { after(() => { throw new Error('hook'); }); test('a', () => {}); });
    `);
    assert.deepEqual(outcomes, ['failed', 'passed']);
  });
});
