/**
 * Runs the suites named on the command line, each to its end, and fails if anything in any of them failed.
 * What is counted comes from the runs themselves and is left in build/results/<suite>.json. A suite that ran nothing, died,
 * or missed its coverage has failed. TESTS='file …' narrows it to some files.
 */
import { spawn } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Counted } from './count-reporter.ts';

const root = join(import.meta.dirname, '../..');
const results = join(root, 'build/results');
const minuteMs = 60_000;

/** What came of a suite. */
interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly failures: readonly string[];
}

/** What a suite consists of. Commands count as one test each. */
type Suite = { readonly deadlineMs: number } & (
  | { readonly kind: 'commands'; readonly commands: Readonly<Record<string, readonly string[]>> }
  | {
      readonly kind: 'tests';
      readonly files: string;
      readonly flags: readonly string[];
      readonly mayBeEmpty?: boolean;
    }
);

const suites: Readonly<Record<string, Suite>> = {
  lint: {
    kind: 'commands',
    deadlineMs: 5 * minuteMs,
    commands: { 'npm run lint': ['npm', 'run', '--silent', 'lint'] },
  },
  package: {
    kind: 'commands',
    deadlineMs: 5 * minuteMs,
    commands: {
      'the bundle is built': [process.execPath, 'packaging/build.ts'],
      'the package is built': [process.execPath, 'packaging/deb/build.ts'],
    },
  },
  unit: {
    kind: 'tests',
    deadlineMs: 5 * minuteMs,
    files: 'test/unit/**/*.test.ts',
    flags: [
      '--test-timeout=60000',
      '--experimental-test-coverage',
      '--test-coverage-include=src/agent/**',
      '--test-coverage-include=src/config/**',
      '--test-coverage-lines=90',
      '--test-coverage-functions=90',
      '--test-coverage-branches=85',
    ],
  },
  contract: {
    kind: 'tests',
    deadlineMs: 10 * minuteMs,
    files: 'test/contract/**/*.test.ts',
    flags: ['--test-timeout=180000'],
  },
  simulation: {
    kind: 'tests',
    deadlineMs: 10 * minuteMs,
    files: 'test/simulation/**/*.test.ts',
    flags: ['--test-timeout=300000'],
    mayBeEmpty: true,
  },
  base: {
    kind: 'commands',
    deadlineMs: 30 * minuteMs,
    commands: { 'the base of the bed is there': [process.execPath, 'test/bed/base.ts'] },
  },
  conformance: {
    kind: 'tests',
    deadlineMs: 10 * minuteMs,
    files: 'test/conformance/**/*.test.ts',
    // The three that take long mostly wait.
    flags: ['--test-timeout=180000', '--test-concurrency=3'],
  },
  bed: {
    kind: 'tests',
    deadlineMs: 45 * minuteMs,
    files: 'test/bed/**/*.test.ts',
    // Two booted nodes at a time: each mostly waits.
    flags: ['--test-timeout=1200000', '--test-concurrency=2'],
  },
};

/** How a process ended. */
interface Ending {
  readonly isFine: boolean;
  readonly isLate: boolean;
  readonly words: string;
}

/** Runs in a process group of its own, so that a deadline or an interrupt ends all of it. */
function run(command: readonly string[], deadlineMs: number): Promise<Ending> {
  return new Promise((resolve) => {
    const [program = '', ...args] = command;
    const child = spawn(program, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    });
    const end = (signal: NodeJS.Signals) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal);
      } catch {
        // It is gone already.
      }
    };
    let isLate = false;
    let killTimer: NodeJS.Timeout | undefined;
    const timer = setTimeout(() => {
      isLate = true;
      end('SIGTERM');
      killTimer = setTimeout(() => end('SIGKILL'), 30_000);
    }, deadlineMs);
    const forward = (signal: NodeJS.Signals) => end(signal);
    process.on('SIGINT', forward).on('SIGTERM', forward);
    const finish = (ending: Ending) => {
      clearTimeout(timer);
      clearTimeout(killTimer);
      process.off('SIGINT', forward).off('SIGTERM', forward);
      resolve(ending);
    };
    child.on('error', (error) => finish({ isFine: false, isLate, words: error.message }));
    child.on('exit', (code, signal) => {
      const words = isLate ? `not done after ${deadlineMs / minuteMs} min` : `ended with ${code ?? signal}`;
      finish({ isFine: code === 0, isLate, words });
    });
  });
}

async function runCommands(commands: Readonly<Record<string, readonly string[]>>, deadlineMs: number) {
  let passed = 0;
  const failures: string[] = [];
  for (const [name, command] of Object.entries(commands)) {
    const { isFine, words } = await run(command, deadlineMs);
    if (isFine) passed += 1;
    else failures.push(`${name}: ${words}`);
  }
  return { passed, failed: failures.length, skipped: 0, failures };
}

async function runTests(name: string, suite: Suite & { kind: 'tests' }): Promise<Counts> {
  const chosen = process.env['TESTS'];
  const isWhole = chosen === undefined || chosen === '';
  const files = isWhole ? globSync(suite.files, { cwd: root }).sort() : chosen.split(/\s+/);
  // A part of the tests covers a part of the code.
  const flags = isWhole ? suite.flags : suite.flags.filter((flag) => !flag.includes('coverage'));
  if (files.length === 0) {
    const failures = suite.mayBeEmpty === true ? [] : [`there is no ${suite.files}`];
    return { passed: 0, failed: failures.length, skipped: 0, failures };
  }
  const counted = join(results, `${name}.counted.json`);
  const reporters = [
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${join(root, 'test/support/count-reporter.ts')}`,
    `--test-reporter-destination=${counted}`,
  ];
  const command = [process.execPath, '--test', ...flags, ...reporters, ...files];
  const { isFine, isLate, words } = await run(command, suite.deadlineMs);
  const counts = readCounts(counted);
  rmSync(counted, { force: true });
  // Fine by its own counts and yet not fine: nothing ran, coverage is below its threshold, or the runner was killed.
  const hasRun = counts.passed + counts.failed > 0;
  if (hasRun && !isLate && (isFine || counts.failed > 0)) return counts;
  const failures = [...counts.failures, hasRun ? `the run as a whole: ${words}` : `nothing ran: ${words}`];
  return { ...counts, failed: failures.length, failures };
}

/** Adds up what the reporter wrote; a run that was killed may have cut off the last line. */
function readCounts(path: string): Counts {
  const counted = readLines(path).flatMap((line): readonly Counted[] => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
  const of = (outcome: Counted['outcome']) => counted.filter((one) => one.outcome === outcome);
  const failures = of('failed').map(({ name }) => name);
  return { passed: of('passed').length, failed: failures.length, skipped: of('skipped').length, failures };
}

function readLines(path: string): readonly string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}

const names = process.argv.slice(2);
mkdirSync(results, { recursive: true });
const lines: string[] = [];
let failed = 0;
for (const name of names) {
  const suite = suites[name];
  if (suite === undefined) throw new Error(`no suite "${name}"; there are ${Object.keys(suites).join(', ')}`);
  console.log(`\n== ${name}`);
  const startedMs = performance.now();
  const counts =
    suite.kind === 'tests'
      ? await runTests(name, suite)
      : await runCommands(suite.commands, suite.deadlineMs);
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  writeFileSync(
    join(results, `${name}.json`),
    `${JSON.stringify({ suite: name, seconds, ...counts }, null, 2)}\n`,
  );
  failed += counts.failed;
  lines.push(
    `${name.padEnd(12)}${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped (${seconds} s)`,
    ...counts.failures.map((failure) => `    ${failure.replace(`${root}/`, '')}`),
  );
}
console.log(`\n${lines.join('\n')}`);
process.exitCode = failed === 0 ? 0 : 1;
