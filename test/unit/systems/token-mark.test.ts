import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { markToken, tokenMark } from '../../../src/systems/zerotier/token-mark.ts';

describe("the mark of ZeroTier's token", () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-mark-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test('is what sha256sum says of the same bytes', () => {
    const token = Buffer.from('abcdefghijklmnopqrstuvwx');
    assert.equal(tokenMark(token), execFileSync('sha256sum', { input: token, encoding: 'utf8' }));
  });

  test('is another for another token, and does not hold it', async () => {
    const [tokenFile, markFile] = [join(folder, 'token'), join(folder, 'mark')];
    await writeFile(tokenFile, 'first-token');
    await markToken(tokenFile, markFile);
    const first = await readFile(markFile, 'utf8');
    await writeFile(tokenFile, 'second-token');
    await markToken(tokenFile, markFile);
    const second = await readFile(markFile, 'utf8');
    assert.notEqual(first, second);
    assert.ok(!second.includes('second-token'));
  });

  test('is not written where there is no token', async () => {
    const markFile = join(folder, 'none');
    await markToken(join(folder, 'missing'), markFile);
    await assert.rejects(readFile(markFile), { code: 'ENOENT' });
  });
});
