/** main.ts as a process of its own: exit codes, and what goes to which stream. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { reservedVerbs, usage, verbs } from '#src/cli/verbs.ts';

const program = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const noConfig = '/nonexistent/mooring.yaml';

function mooring(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { code: status, stdout, stderr };
}

describe('mooring as a program', () => {
  test('without a verb prints the usage and exits 2, with --help exits 0', () => {
    assert.deepEqual(mooring(), { code: 2, stdout: `${usage()}\n`, stderr: '' });
    for (const args of [['--help'], ['-h'], ['help'], ['status', '--help']])
      assert.deepEqual(mooring(...args), { code: 0, stdout: `${usage()}\n`, stderr: '' });
  });

  test('with a verb that there is not exits 2 and names those that there are for people', () => {
    const { code, stdout, stderr } = mooring('dock');
    assert.deepEqual([code, stdout], [2, '']);
    assert.equal(
      stderr,
      'mooring: there is no verb "dock"; there are run, status, check, plan, wait, leave, prepare-image, version\n',
    );
  });

  test('with a verb of a later version exits 2 and says that it is not there yet', () => {
    assert.ok(reservedVerbs.length > 0);
    for (const verb of reservedVerbs) {
      assert.ok(!verbs.some((one) => one.name === verb));
      assert.deepEqual(mooring(verb), {
        code: 2,
        stdout: '',
        stderr: `mooring: "${verb}" is not in this version yet\n`,
      });
    }
  });

  test('with an unknown flag, a flag without its value, or a word too many exits 2', () => {
    for (const args of [
      ['status', '--jsn'],
      ['check', '--config'],
      ['version', 'please'],
      ['check', '--json'],
    ]) {
      const { code, stdout, stderr } = mooring(...args);
      assert.deepEqual([code, stdout], [2, ''], args.join(' '));
      assert.ok(stderr.startsWith(`mooring ${args[0]}: `), stderr);
    }
  });

  test('prints its version, also when asked as --version', () => {
    const { code, stdout } = mooring('version');
    assert.equal(code, 0);
    assert.match(stdout, /^mooring \S+ \(Node\.js v24\./);
    assert.equal(mooring('--version').stdout, stdout);
  });

  test('check, plan and run exit 78 without a config, and say which is missing', () => {
    for (const verb of ['check', 'plan', 'run']) {
      const { code, stdout, stderr } = mooring(verb, '--config', noConfig);
      assert.equal(code, 78, verb);
      assert.match(stdout + stderr, /there is no \/nonexistent\/mooring\.yaml/, verb);
    }
  });

  test('does not mind a reader that goes away', async () => {
    const child = spawn(process.execPath, [program, 'help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let complaints = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaints += text;
    });
    child.stdout.destroy();
    const [code] = await once(child, 'close', { signal: AbortSignal.timeout(20_000) });
    assert.deepEqual([code, complaints], [0, '']);
  });
});
