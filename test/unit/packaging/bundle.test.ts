import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { packageFolder } from '../../../packaging/bundle.ts';
import { renderNotices } from '../../../packaging/notices.ts';
import { parseArchitecture } from '../../../packaging/runtime.ts';

describe('the bundle', () => {
  test('knows the package of each file in it, scoped and nested ones too', () => {
    assert.equal(packageFolder('node_modules/yaml/dist/index.js'), 'node_modules/yaml');
    assert.equal(packageFolder('node_modules/@nornagon/put/index.js'), 'node_modules/@nornagon/put');
    assert.equal(packageFolder('node_modules/a/node_modules/b/lib/c.js'), 'node_modules/a/node_modules/b');
    assert.equal(packageFolder('src/main.ts'), undefined);
  });

  test('is not built for an architecture that has no runtime', () => {
    assert.equal(parseArchitecture('arm64'), 'arm64');
    assert.throws(() => parseArchitecture('armhf'), /found "armhf"; allowed: amd64 or arm64/);
  });
});

describe('the notices', () => {
  const withPackage = (files: Readonly<Record<string, string>>, act: (root: string) => void) => {
    const root = mkdtempSync(join(tmpdir(), 'notices-'));
    const folder = join(root, 'node_modules/thing');
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    try {
      act(root);
    } finally {
      rmSync(root, { recursive: true });
    }
  };
  const facts = JSON.stringify({ name: 'thing', version: '1.2.3', license: 'Apache-2.0' });
  const packages = new Map([['thing 1.2.3', 'node_modules/thing']]);

  test('contain the licence and the notice of a bundled package', () => {
    withPackage({ 'package.json': facts, LICENSE: 'Be kind.', 'NOTICE.txt': 'Made by us.' }, (root) => {
      assert.match(
        renderNotices(root, packages),
        /thing 1\.2\.3\nLicence: Apache-2\.0\n\nBe kind\.\n\nMade by us\.\n/,
      );
    });
  });

  test('are not written when a package has no licence text', () => {
    withPackage({ 'package.json': facts }, (root) => {
      assert.throws(() => renderNotices(root, packages), /thing 1\.2\.3 \(Apache-2\.0\) has no licence text/);
    });
  });
});
