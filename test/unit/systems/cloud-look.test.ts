import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { createCloud } from '#src/systems/cloud/cloud.ts';

const folder = mkdtempSync(join(tmpdir(), 'mooring-cloud-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const never = (what: string) => () => assert.fail(`${what} although nobody was asked`);

describe('a look at the cloud', () => {
  test('shows the kept facts as stale and asks nobody, so that mooring plan sees what the daemon sees', async () => {
    const cacheFile = join(folder, 'cloud.json');
    writeFileSync(
      cacheFile,
      JSON.stringify({ provider: 'aws', instanceId: 'i-1', publicIpv4: '203.0.113.7' }),
    );
    const cloud = createCloud({
      mode: 'aws',
      cacheFile,
      awsTagsCommand: ['false'],
      wake: never('woken'),
      log: never('logged'),
      dmiDirectory: folder,
    });
    assert.equal(await cloud.look(), true);
    const reading = cloud.read();
    assert.equal(reading.kind === 'known' && reading.facts.publicIpv4, '203.0.113.7');
    assert.ok(reading.kind === 'known' && reading.stale !== undefined);
    await cloud.close();
  });

  test('finds nobody to ask where the config says none, or the firmware names no cloud', async () => {
    for (const mode of ['none', 'auto'] as const) {
      const cloud = createCloud({
        mode,
        cacheFile: join(folder, 'none.json'),
        awsTagsCommand: ['false'],
        wake: never('woken'),
        log: never('logged'),
        dmiDirectory: folder,
      });
      assert.equal(await cloud.look(), false);
      assert.deepEqual(cloud.read(), { kind: 'none' });
      await cloud.close();
    }
  });
});
