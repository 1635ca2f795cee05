/** What is written into ZeroTier's home before its first start. */
import assert from 'node:assert/strict';
import { chown, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { type LocalConfMerge, preseedLocalConf } from '../../../src/systems/zerotier/preseed.ts';

describe('ZeroTier’s local.conf before its first start', () => {
  let root: string;
  let home: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'mooring-preseed-'));
    home = join(root, 'zerotier-one');
  });
  afterEach(() => rm(root, { recursive: true }));

  const conf = () => join(home, 'local.conf');
  const write = (): LocalConfMerge => ({ kind: 'write', text: '{"settings":{}}\n' });

  test('is written with its folder, readable for ZeroTier whatever the umask is', async (context) => {
    const umask = process.umask(0o077);
    context.after(() => process.umask(umask));
    assert.deepEqual(await preseedLocalConf({ home, merge: write }), { kind: 'written', path: conf() });
    assert.equal(await readFile(conf(), 'utf8'), '{"settings":{}}\n');
    assert.equal((await stat(home)).mode & 0o777, 0o755);
    assert.equal((await stat(conf())).mode & 0o777, 0o644);
  });

  test('is given to the merge as it stands, and keeps its owner and mode', async () => {
    await mkdir(home);
    await writeFile(conf(), '{"a":1}', { mode: 0o640 });
    await chown(conf(), 4242, 4243);
    let seen: string | undefined;
    await preseedLocalConf({
      home,
      merge: (existing) => {
        seen = existing;
        return write();
      },
    });
    assert.equal(seen, '{"a":1}');
    const { uid, gid, mode } = await stat(conf());
    assert.deepEqual([uid, gid, mode & 0o777], [4242, 4243, 0o640]);
  });

  test('belongs to the owner of its folder where it is new', async () => {
    await mkdir(home);
    await chown(home, 4242, 4243);
    await preseedLocalConf({ home, merge: write });
    const { uid, gid } = await stat(conf());
    assert.deepEqual([uid, gid], [4242, 4243]);
  });

  test('is left alone once ZeroTier has started', async () => {
    await mkdir(home);
    await writeFile(join(home, 'identity.secret'), 'x');
    const merge = () => assert.fail('must not be asked');
    assert.deepEqual(await preseedLocalConf({ home, merge }), { kind: 'already-started' });
  });

  test('is left alone where the merge says so', async () => {
    for (const merged of [{ kind: 'unchanged' }, { kind: 'invalid', error: 'no JSON' }] as const) {
      assert.deepEqual(await preseedLocalConf({ home, merge: () => merged }), merged);
    }
    assert.deepEqual(await readdir(root), []);
  });

  test('is not written through a link', async () => {
    await mkdir(home);
    await writeFile(join(root, 'shadow'), 'precious');
    await symlink(join(root, 'shadow'), conf());
    assert.equal((await preseedLocalConf({ home, merge: write })).kind, 'invalid');
    assert.equal(await readFile(join(root, 'shadow'), 'utf8'), 'precious');
  });
});
