/** The k3s agent's files. */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createK3sFiles } from '../../../src/systems/k3s/k3s-files.ts';

describe('the k3s agent’s files', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-k3s-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const at = (name: string) => join(folder, name);
  const files = (tokenSourcePath: string | undefined = at('token')) =>
    createK3sFiles({
      binaryPath: at('k3s'),
      configPath: at('50-mooring.yaml'),
      tokenSourcePath,
      tokenCopyPath: at('k3s-token'),
    });

  test('nothing there is a normal reading', async () => {
    const reading = await files().read();
    assert.equal(reading.binary, undefined);
    assert.deepEqual(reading.config, { kind: 'absent' });
    assert.equal(reading.token.kind, 'missing');
  });

  test('the binary has another identity once it is replaced, and none where it cannot be run', async () => {
    await writeFile(at('k3s'), 'one', { mode: 0o755 });
    const first = (await files().read()).binary;
    assert.ok(first);
    assert.equal((await files().read()).binary, first);
    await writeFile(at('k3s.new'), 'two', { mode: 0o755 });
    await rename(at('k3s.new'), at('k3s'));
    assert.notEqual((await files().read()).binary, first);
    await chmod(at('k3s'), 0o644);
    assert.equal((await files().read()).binary, undefined);
  });

  test('the token’s copy follows its source and stays private', async () => {
    await writeFile(at('token'), 'K10::one\n', { mode: 0o600 });
    assert.deepEqual((await files().read()).token, { kind: 'present', copyInSync: false });
    await files().copyToken();
    assert.equal((await stat(at('k3s-token'))).mode & 0o777, 0o600);
    assert.deepEqual((await files().read()).token, { kind: 'present', copyInSync: true });
    await writeFile(at('token'), 'K10::two\n');
    assert.deepEqual((await files().read()).token, { kind: 'present', copyInSync: false });
    await files().copyToken();
    await chmod(at('k3s-token'), 0o644);
    assert.deepEqual((await files().read()).token, { kind: 'present', copyInSync: false });
  });

  test('a reading never holds the token', async () => {
    await writeFile(at('token'), 'K10::verysecret', { mode: 0o600 });
    await files().copyToken();
    assert.equal(JSON.stringify(await files().read()).includes('verysecret'), false);
    await writeFile(at('token'), 'verysecret\nverysecret');
    assert.equal(JSON.stringify(await files().read()).includes('verysecret'), false);
  });

  test('a credential that was not passed on is told as such', async () => {
    const none = createK3sFiles({
      binaryPath: at('k3s'),
      configPath: at('c'),
      tokenSourcePath: undefined,
      tokenCopyPath: at('k3s-token'),
    });
    const { token } = await none.read();
    assert.match(token.kind === 'missing' ? token.error : '', /LoadCredential=/);
    await assert.rejects(none.copyToken(), { code: 'secret-missing' });
  });

  test('the config is written whole', async () => {
    await files().writeConfig('server: x\n');
    assert.equal(await readFile(at('50-mooring.yaml'), 'utf8'), 'server: x\n');
    const { config } = await files().read();
    assert.equal(config.kind === 'present' && config.text, 'server: x\n');
  });
});
