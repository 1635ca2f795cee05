/** The image builder's words where it cannot begin; building one takes minutes and is `make image`. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';

const folder = join(import.meta.dirname, '../../../packaging/image');
const build = (args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
  const { status, stderr } = spawnSync(join(folder, 'build-image'), args, {
    encoding: 'utf8',
    timeout: 10_000,
    env: { PATH: process.env['PATH'] ?? '', ...env },
  });
  return { status, stderr };
};

describe('build-image', () => {
  for (const script of ['build-image', 'inside']) {
    test(`${script} is understood by the shell`, () => {
      const { status, stderr } = spawnSync('sh', ['-n', join(folder, script)], { encoding: 'utf8' });
      assert.deepEqual([status, stderr], [0, '']);
    });
  }

  test('tells its use', () => assert.match(build([]).stderr, /usage: .*build-image OUT\.raw/));

  for (const [what, env, words] of [
    ['without mooring’s package', {}, /MOORING_DEB/],
    [
      'where a file is missing',
      { MOORING_DEB: '/etc/passwd', K3S: '/nowhere/k3s' },
      /there is no \/nowhere\/k3s/,
    ],
    [
      'for an architecture that it does not know',
      { MOORING_DEB: '/etc/passwd', ARCH: 'riscv64' },
      /allowed: amd64, arm64/,
    ],
  ] as const) {
    test(`builds nothing ${what}, and says so`, { skip: process.getuid?.() !== 0 }, () => {
      const { status, stderr } = build(['/nowhere/image.raw'], env);
      assert.notEqual(status, 0);
      assert.match(stderr, words);
    });
  }
});
