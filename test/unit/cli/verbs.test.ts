import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findVerb, usage, verbs } from '#src/cli/verbs.ts';

describe('the table of verbs', () => {
  test('has each verb once, in words that fit a shell', () => {
    const names = verbs.map((verb) => verb.name);
    assert.equal(new Set(names).size, names.length);
    for (const name of names) assert.match(name, /^[a-z][a-z-]+$/);
  });

  test('finds a verb by its whole name alone', () => {
    assert.equal(findVerb('status')?.name, 'status');
    for (const name of ['stat', 'STATUS', '', 'toString']) assert.equal(findVerb(name), undefined);
  });

  test('shows every verb and flag for people in the usage, and no internal one', () => {
    const lines = usage().split('\n');
    for (const verb of verbs) {
      const line = lines.find((one) => one.startsWith(`  ${verb.name} `));
      if (verb.isInternal === true) {
        assert.equal(line, undefined, verb.name);
        continue;
      }
      assert.ok(line !== undefined, verb.name);
      assert.ok(line.includes(verb.summary), verb.name);
      for (const flag of Object.keys(verb.flags)) assert.ok(line.includes(`[--${flag}`), `--${flag}`);
    }
  });
});
