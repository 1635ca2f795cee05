/** The examples' user data is what cloud-init of Debian 12 and 13 takes without a complaint or a deprecation. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type CloudInit, cloudInitOf } from '../../support/cloud-init.ts';

const examplesDir = join(import.meta.dirname, '../../../examples/cloud-init');
const examples = globSync(join(examplesDir, '*.yaml'));
const readme = readFileSync(join(examplesDir, 'README.md'), 'utf8');

test('there are examples to check', () => {
  assert.ok(examples.length >= 2);
});

for (const [suite, version] of [
  ['bookworm', /^22\.4\.2/],
  ['trixie', /^25\.1\./],
] as const) {
  describe(`cloud-init of ${suite}`, () => {
    let cloudInit: CloudInit;
    let folder: string;

    before(async () => {
      cloudInit = await cloudInitOf(suite);
      folder = await mkdtemp(join(tmpdir(), 'mooring-cloud-init-'));
    });
    after(async () => {
      await rm(folder, { recursive: true, force: true });
    });

    test('is of the version that the release is known for', () => {
      assert.match(cloudInit.version, version);
    });

    test('refuses user data that is wrong', async () => {
      const file = join(folder, 'wrong.yaml');
      await writeFile(file, '#cloud-config\nwrite_files: [{path: 5}]\n');
      const verdict = await cloudInit.judge(file);
      assert.equal(verdict.isValid, false);
      assert.match(verdict.words, /5 is not of type 'string'/);
    });

    test('takes what README.md shows', async () => {
      const shown = [...readme.matchAll(/^```yaml\n(#cloud-config\n.*?)^```$/gms)].map(([, text]) => text);
      assert.equal(shown.length, 1);
      const file = join(folder, 'shown.yaml');
      await writeFile(file, shown[0] ?? '');
      const verdict = await cloudInit.judge(file);
      assert.ok(verdict.isValid, verdict.words);
    });

    for (const example of examples) {
      test(`takes ${basename(example)}`, async () => {
        const verdict = await cloudInit.judge(example);
        assert.ok(verdict.isValid, verdict.words);
        assert.match(verdict.words, /^Valid (cloud-config|schema)/m);
        assert.doesNotMatch(verdict.words, /deprecat|warning/i);
      });
    }
  });
}
