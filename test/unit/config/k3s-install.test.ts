/** What a pin means on a machine: which files, from which URL, to which place. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pinnedInstall } from '#src/config/k3s-install.ts';
import { isImagesUrl, isUrlTemplate } from '#src/config/url-template.ts';
import { aConfig } from '../../support/world.ts';

const amd64 = 'a'.repeat(64);
const arm64 = 'B'.repeat(64);
const base = { server: 'https://k3s.home.example:6443', token: { file: '/etc/mooring/k3s-token' } };
const pin = (install: unknown, more = {}, architecture = 'x64') =>
  pinnedInstall(aConfig({ k3s: { ...base, ...more, install } }).k3s, architecture);
const version = 'v1.36.3+k3s1';

describe('k3s.install', () => {
  test('is off where it is not set', () => {
    assert.deepEqual(pin(undefined), { kind: 'off' });
  });

  test("leads to k3s' releases, each architecture to its own file", () => {
    const release = 'https://github.com/k3s-io/k3s/releases/download/v1.36.3%2Bk3s1';
    const files = (architecture: string) => {
      const result = pin({ version, sha256: { amd64, arm64 } }, {}, architecture);
      assert.ok(result.kind === 'pinned');
      return result.files.map(({ name, path, url, sha256, mode }) => ({ name, path, url, sha256, mode }));
    };
    const binary = { name: 'binary', path: '/usr/local/bin/k3s', mode: 0o755 };
    assert.deepEqual(files('x64'), [{ ...binary, url: `${release}/k3s`, sha256: amd64 }]);
    assert.deepEqual(files('arm64'), [
      { ...binary, url: `${release}/k3s-arm64`, sha256: arm64.toLowerCase() },
    ]);
  });

  test('puts the images into the data folder, and first', () => {
    const images = { sha256: { amd64 } };
    const pathOf = (more: object) => {
      const result = pin({ version, sha256: { amd64 }, images }, more);
      assert.ok(result.kind === 'pinned');
      return result.files[0]?.path;
    };
    assert.equal(pathOf({}), '/var/lib/rancher/k3s/agent/images/k3s-airgap-images-amd64.tar.zst');
    assert.equal(
      pathOf({ config: { 'data-dir': '/data/k3s' } }),
      '/data/k3s/agent/images/k3s-airgap-images-amd64.tar.zst',
    );
  });

  test('says which hash is missing on a machine', () => {
    const missing = (install: object, architecture: string) => pin({ version, ...install }, {}, architecture);
    assert.deepEqual(missing({ sha256: { amd64 } }, 'arm64'), {
      kind: 'no-hash',
      version,
      key: 'k3s.install.sha256.arm64',
    });
    const both = { sha256: { amd64, arm64 }, images: { sha256: { amd64 } } };
    assert.deepEqual(missing(both, 'arm64'), {
      kind: 'no-hash',
      version,
      key: 'k3s.install.images.sha256.arm64',
    });
    assert.equal(missing({ sha256: { amd64 } }, 'riscv64').kind, 'no-hash');
    assert.equal(missing({ sha256: { amd64 } }, 'toString').kind, 'no-hash');
  });

  test('takes URLs that are whole and hold no secret', () => {
    const good = [
      'https://mirror.example/{version}/{file}',
      'http://10.45.0.1:8080/k3s-{arch}',
      'https://[fd00::1]/k3s',
    ];
    const bad = [
      '',
      'mirror.example/k3s',
      'ftp://mirror.example/k3s',
      'file:///srv/k3s',
      'https://user@mirror.example/k3s',
      'https://:secret@mirror.example/k3s',
      'https://mirror.example/k3s?sig=1',
      'https://mirror.example/k3s?',
      'https://mirror.example/k3s#x',
      'https://mirror.example/{versions}/k3s',
      'https://mirror.example/{version/k3s',
      'https://mirror.example/k3s\n',
      'https://mirror.example/a b',
      'https://mirror.example/..%2f..%2fetc/k3s',
      `https://mirror.example/${'a'.repeat(3_000)}`,
    ];
    for (const url of good) assert.ok(isUrlTemplate(url), url);
    for (const url of bad) assert.ok(!isUrlTemplate(url), url);
    assert.ok(isImagesUrl('https://mirror.example/{version}/images-{arch}.tar.zst'));
    for (const url of [
      'https://mirror.example/images.zip',
      'https://mirror.example/.tar',
      'https://mirror.example/.hidden.tar',
      'https://mirror.example/%zz.tar',
      'https://mirror.example/%ff.tar',
    ])
      assert.ok(!isImagesUrl(url), url);
  });
});
