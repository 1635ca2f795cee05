/** A generated file is whole wherever mooring is killed while it writes it, and what is on its way to disk gets there first. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { writeFileAtomic } from '../../../src/systems/files/atomic.ts';

const folder = mkdtempSync(join(tmpdir(), 'mooring-crash-'));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, '50-mooring.yaml');
const former = 'former '.repeat(1_000);
const next = 'next '.repeat(2_000);
const program = join(import.meta.dirname, '../../support/die-while-writing.ts');

/** Replaces the former text, dying at the nth thing done; 0 lives. Returns what was done. */
function write(deadly: number): readonly string[] {
  writeFileSync(path, former, { mode: 0o600 });
  const { stdout, stderr, signal, status } = spawnSync(
    process.execPath,
    [program, path, next, String(deadly)],
    { encoding: 'utf8', timeout: 20_000 },
  );
  if (deadly === 0) assert.equal(status, 0, stderr);
  else assert.equal(signal, 'SIGKILL', stderr);
  return stdout.trim().split('\n');
}

describe('a file that is replaced', () => {
  const steps = write(0);

  test('is on disk before it has its name, and its name is before the writing ends', () => {
    const order = ['write the rest of temp', 'sync temp', 'rename temp to file', 'sync folder', 'done'];
    assert.deepEqual(
      steps.filter((step) => order.includes(step)),
      order,
    );
  });

  test('is never opened to be written itself', () => {
    assert.ok(!steps.includes('write file'), steps.join(', '));
  });

  test(`is the former or the next one, killed at any of ${steps.length} points, and nothing stays lying about`, async () => {
    for (let deadly = 1; deadly <= steps.length; deadly += 1) {
      const done = write(deadly);
      const text = readFileSync(path, 'utf8');
      assert.ok(text === former || text === next, `killed at ${done.at(-1)}: ${text.length} bytes`);
      await writeFileAtomic(path, 'the next time', { mode: 0o600 });
      assert.deepEqual(readdirSync(folder), ['50-mooring.yaml']);
    }
  });
});
