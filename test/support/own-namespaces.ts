/**
 * For test files that change routes, rules and interfaces: they run in namespaces of their own, which end all that is in them. Run
 * without, such a file starts itself anew in them, and fails if that fails. It needs root.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const mark = 'MOORING_TEST_IN_NAMESPACE';

/** What a file wants to run in. */
export interface OwnNamespaces {
  /** `import.meta.url` of the file. */
  readonly file: string;
  /** unshare's flags. */
  readonly flags: readonly string[];
  /** Shell commands that make the place ready. */
  readonly prepare: string;
  readonly timeoutMs: number;
  /** Flags for the test runner inside. */
  readonly runner?: readonly string[];
}

/** Processes end with a PID namespace of their own. */
export const withProcesses = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];

/** Defines `tests` inside the namespaces, and outside one test of that name that runs them there. */
export function inOwnNamespaces(name: string, place: OwnNamespaces, tests: () => void): void {
  if (process.env[mark] === '1') tests();
  else test(name, { timeout: place.timeoutMs + 10_000 }, () => startAnew(place));
}

function startAnew({ file, flags, prepare, timeoutMs, runner = [] }: OwnNamespaces): void {
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
  const self = [process.execPath, '--test', '--test-isolation=none', ...runner, fileURLToPath(file)];
  const run = spawnSync('unshare', [...flags, 'sh', '-ec', `${prepare}\nexec "$@"`, 'sh', ...self], {
    env: { ...environment, [mark]: '1' },
    encoding: 'utf8',
    timeout: timeoutMs,
  });
  assert.equal(run.status, 0, `${run.error ?? ''}\n${run.stdout}\n${run.stderr}`);
  assert.match(run.stdout, /pass [1-9]/);
}
