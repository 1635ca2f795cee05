/** The whole example of docs/config.md with random damage, from a fixed seed: never a crash, never a secret, never a raw message. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseConfig } from '#src/config/parse.ts';
import { formatProblem } from '#src/config/problem.ts';

const page = readFileSync(new URL('../../../docs/config.md', import.meta.url), 'utf8');
const whole = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)][1]?.[1] ?? '';
const token = `K10${'ab12cd34'.repeat(8)}::server:hunterhunter`;
const damage =
  '{ } [ ] : # | > ~ ? , \' " \n \t \u202E &a *a !!x - null true 1e999 0x __proto__: <<: 8056c2e21c000001'.split(
    ' ',
  );

function randomSource(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

function garbled(random: (below: number) => number, insertions: readonly string[]): string {
  let text = whole;
  for (let edits = 1 + random(4); edits > 0; edits -= 1) {
    const at = random(text.length);
    const inserted = insertions[random(insertions.length)] ?? '';
    text = text.slice(0, at) + inserted + text.slice(at + random(6));
  }
  return text;
}

for (const [name, insertions] of [
  ['YAML signs', damage],
  ['a join token', [token]],
] as const)
  test(`a config with ${name} dropped into it anywhere gets safe messages`, () => {
    assert.ok(parseConfig([{ path: 'config.yaml', text: whole }]).ok);
    const random = randomSource(7);
    let refused = 0;
    for (let i = 0; i < 1_000; i += 1) {
      const text = garbled(random, insertions);
      const result = parseConfig([{ path: 'config.yaml', text }]);
      if (result.ok) continue;
      refused += 1;
      const shown = result.problems.map(formatProblem).join('\n');
      assert.doesNotMatch(shown, /hunterhunter|(ab12cd34){2}/, text);
      assert.doesNotMatch(shown, /Invalid input|undefined|\[object/, text);
      assert.doesNotMatch(shown, /[^\P{Cc}\n]|\p{Cf}/u, text);
    }
    assert.ok(refused > 500, 'the damage is real');
  });
