/** The line that mooring-zerotier-token.service runs, with a systemctl that only tells that it was called. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, test } from 'node:test';
import { paths, zerotierTokenCredential } from '../../../src/cli/paths.ts';
import { tokenMark } from '../../../src/systems/zerotier/token-mark.ts';

const unitFile = join(import.meta.dirname, '../../../packaging/systemd/mooring-zerotier-token.service');

describe("the unit that hears of ZeroTier's token", () => {
  let folder = '';
  let script = '';
  before(async () => {
    const unit = await readFile(unitFile, 'utf8');
    const line = /^ExecStart=\/bin\/sh -c '(.*)'$/m.exec(unit)?.[1] ?? '';
    assert.ok(line.includes(paths.zerotierTokenMark) && line.includes(zerotierTokenCredential));
    script = line;
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-token-'));
    await writeFile(join(folder, 'systemctl'), `#!/bin/sh\necho "$@" >${folder}/called\n`, { mode: 0o755 });
    await writeFile(join(folder, zerotierTokenCredential), 'newtoken');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** What systemctl was called with, undefined where it was not called. */
  async function run(): Promise<string | undefined> {
    const here = script.replace(paths.zerotierTokenMark, join(folder, 'mark'));
    execFileSync('/bin/sh', ['-c', here], {
      env: { PATH: `${folder}:${process.env['PATH']}`, CREDENTIALS_DIRECTORY: folder },
      stdio: 'ignore',
    });
    const called = join(folder, 'called');
    return existsSync(called) ? (await readFile(called, 'utf8')).trim() : undefined;
  }

  test('leaves mooring alone where it has this token already', async () => {
    await writeFile(join(folder, 'mark'), tokenMark(Buffer.from('newtoken')));
    assert.equal(await run(), undefined);
  });

  test('restarts mooring where it was given another token', async () => {
    await writeFile(join(folder, 'mark'), tokenMark(Buffer.from('\n')));
    assert.equal(await run(), '--no-block try-restart mooring.service');
  });

  test('restarts mooring where it has left no mark', async () => {
    assert.equal(await run(), '--no-block try-restart mooring.service');
  });
});
