/** The built package, looked at from outside: what Debian's own tools say about it, and what the program in it answers. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readPackage } from '../../../packaging/bundle.ts';
import { hostArchitecture } from '../../../packaging/runtime.ts';

const root = join(import.meta.dirname, '../../..');
const { version } = readPackage(root);
const deb = join(root, 'build', `mooring_${version}_${hostArchitecture()}.deb`);
let unpacked = '';

const dpkgDeb = (...args: string[]) => execFileSync('dpkg-deb', args, { encoding: 'utf8', timeout: 60_000 });

describe('the package', () => {
  before(() => {
    assert.ok(existsSync(deb), `${deb} is missing: make deb`);
    unpacked = mkdtempSync(join(tmpdir(), 'deb-'));
    dpkgDeb('--raw-extract', deb, unpacked);
  });
  after(() => rmSync(unpacked, { recursive: true, force: true }));

  test('has nothing that lintian objects to without a reason given', () => {
    const { status, stdout, stderr } = spawnSync(
      'lintian',
      ['--allow-root', '--fail-on=error,warning', deb],
      {
        encoding: 'utf8',
        timeout: 120_000,
      },
    );
    assert.equal(status, 0, `${stdout}${stderr}`);
  });

  test('brings no /etc/mooring/config.yaml, which cloud-init writes before it', () => {
    const conffiles = readFileSync(join(unpacked, 'DEBIAN/conffiles'), 'utf8').trim().split('\n');
    assert.deepEqual(conffiles, ['/etc/mooring/config.d/README']);
    assert.equal(existsSync(join(unpacked, 'etc/mooring/config.yaml')), false);
  });

  test('brings the folder that k3s reads, empty', () => {
    assert.deepEqual(readdirSync(join(unpacked, 'etc/rancher/k3s/config.yaml.d')), []);
  });

  test('asks for a C library that is new enough for its runtime', () => {
    const symbols = execFileSync('objdump', ['-T', join(unpacked, 'usr/lib/mooring/node')], {
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    });
    const minors = [...symbols.matchAll(/\bGLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
    const asked = /libc6 \(>= 2\.(\d+)\)/.exec(dpkgDeb('--field', deb, 'Depends'))?.[1];
    assert.equal(Math.max(...minors), Number(asked));
  });

  test('contains a program that tells its version', () => {
    const said = execFileSync(
      join(unpacked, 'usr/lib/mooring/node'),
      [join(unpacked, 'usr/lib/mooring/mooring.cjs'), 'version'],
      { encoding: 'utf8', timeout: 30_000 },
    );
    assert.match(said, new RegExp(`^mooring ${version.replaceAll('.', '\\.')} \\(Node\\.js v24\\.`));
  });

  test("keeps AWS' SDK out of the daemon, in a program of its own that answers in words", () => {
    const lib = join(unpacked, 'usr/lib/mooring');
    assert.doesNotMatch(
      readFileSync(join(lib, 'mooring.cjs'), 'utf8'),
      /DescribeTags(Command|Request)|smithy/i,
    );
    const { status, stdout } = spawnSync(
      join(lib, 'node'),
      [join(lib, 'aws-tags.cjs'), 'eu-central-1', 'i-0123456789abcdef0'],
      { encoding: 'utf8', timeout: 30_000, env: { AWS_EC2_METADATA_DISABLED: 'true', HOME: '/nonexistent' } },
    );
    assert.equal(status, 1);
    assert.match(stdout, /^\{"error":"the instance has no role: [^"]*"\}$/);
  });

  test('accepts the config that it brings as an example', () => {
    const { status, stdout, stderr } = spawnSync(
      join(unpacked, 'usr/lib/mooring/node'),
      [
        join(unpacked, 'usr/lib/mooring/mooring.cjs'),
        'check',
        '--config',
        join(unpacked, 'usr/share/doc/mooring/examples/config.yaml'),
      ],
      { encoding: 'utf8', timeout: 30_000 },
    );
    // The token file of the example need not exist here; anything else that is wrong would be named as well.
    const complaints = `${stdout}${stderr}`.split('\n').filter((line) => /\.yaml:\d+/.test(line));
    assert.deepEqual(
      complaints.filter((line) => !line.includes('k3s-token')),
      [],
    );
    assert.ok(status !== null && status !== 2);
  });

  test('has man pages without a formatting error', () => {
    for (const page of ['man8/mooring.8.gz', 'man5/mooring.yaml.5.gz']) {
      const { status, stderr } = spawnSync(
        'man',
        ['--warnings', '-l', join(unpacked, 'usr/share/man', page)],
        {
          encoding: 'utf8',
          env: { ...process.env, MANWIDTH: '80', MAN_KEEP_STDERR: '1', LC_ALL: 'C.UTF-8' },
        },
      );
      assert.equal(status, 0);
      assert.equal(stderr, '');
    }
  });

  test('is the same, byte for byte, when it is built again', () => {
    const trial = '0.0.0~again';
    const built = join(root, 'build', `mooring_${trial}_${hostArchitecture()}.deb`);
    const build = (): Buffer => {
      execFileSync(process.execPath, [join(root, 'packaging/deb/build.ts'), '--version', trial], {
        timeout: 120_000,
        env: { ...process.env, SOURCE_DATE_EPOCH: '1700000000' },
      });
      return readFileSync(built);
    };
    try {
      const first = build();
      assert.ok(first.equals(build()));
    } finally {
      rmSync(built, { force: true });
    }
  });
});
