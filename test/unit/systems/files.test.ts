/** Reading and replacing files. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { SystemError } from '../../../src/systems/error.ts';
import { readFileText, writeFileAtomic } from '../../../src/systems/files/atomic.ts';
import { readConfigSources } from '../../../src/systems/files/config-sources.ts';
import { loadJson, saveJson } from '../../../src/systems/files/json-file.ts';
import { exposedFiles, readSecret } from '../../../src/systems/files/secret.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mooring-files-'));
});
afterEach(() => rm(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

describe('replacing a file', () => {
  test('the text and mode stand, whatever the umask is', async (context) => {
    const umask = process.umask(0o077);
    context.after(() => process.umask(umask));
    assert.equal(await writeFileAtomic(at('a'), 'one', { mode: 0o644 }), true);
    assert.deepEqual(await readFileText(at('a'), 100), { kind: 'present', text: 'one', mode: 0o644 });
  });

  test('the same text and mode are not written again', async () => {
    await writeFileAtomic(at('a'), 'one', { mode: 0o600 });
    const before = await stat(at('a'));
    assert.equal(await writeFileAtomic(at('a'), 'one', { mode: 0o600 }), false);
    assert.equal((await stat(at('a'))).ino, before.ino);
  });

  test('another mode alone is a reason to write', async () => {
    await writeFileAtomic(at('a'), 'one', { mode: 0o600 });
    await chmod(at('a'), 0o644);
    assert.equal(await writeFileAtomic(at('a'), 'one', { mode: 0o600 }), true);
    assert.equal((await stat(at('a'))).mode & 0o777, 0o600);
  });

  test('who holds the old file open keeps the old text', async () => {
    await writeFileAtomic(at('a'), 'one', { mode: 0o600 });
    const before = await stat(at('a'));
    await writeFileAtomic(at('a'), 'two', { mode: 0o600 });
    assert.notEqual((await stat(at('a'))).ino, before.ino);
  });

  test('what a crash left behind goes with the next write, and nothing else does', async () => {
    await writeFile(at('.a.0123456789abcdef.mooring-tmp'), 'half');
    await writeFile(at('.ab.0123456789abcdef.mooring-tmp'), 'of another path');
    await writeFile(at('.a.swp'), 'an editor’s');
    await writeFileAtomic(at('a'), 'one', { mode: 0o600 });
    assert.deepEqual((await readdir(folder)).sort(), ['.a.swp', '.ab.0123456789abcdef.mooring-tmp', 'a']);
  });

  test('two writes at once leave one of the texts whole and no temporary file', async () => {
    const texts = ['x'.repeat(100_000), 'y'.repeat(100_000), 'z'.repeat(100_000)];
    await Promise.all(texts.map((text) => writeFileAtomic(at('a'), text, { mode: 0o600 })));
    assert.ok(texts.includes(await readFile(at('a'), 'utf8')));
    assert.deepEqual(await readdir(folder), ['a']);
  });

  test('a link is replaced and what it leads to stays', async () => {
    await writeFile(at('target'), 'precious');
    await symlink(at('target'), at('a'));
    await writeFileAtomic(at('a'), 'one', { mode: 0o600 });
    assert.equal(await readFile(at('target'), 'utf8'), 'precious');
    assert.equal(await readFile(at('a'), 'utf8'), 'one');
  });

  test('a missing folder, a folder in its place and a file for a folder are told apart', async () => {
    await mkdir(at('folder'));
    await writeFile(at('file'), '');
    const codes = { 'none/a': 'no-such-folder', 'file/a': 'no-such-folder', folder: 'not-a-file' };
    for (const [name, code] of Object.entries(codes)) {
      await assert.rejects(writeFileAtomic(at(name), 'one', { mode: 0o600 }), (error) => {
        assert.ok(error instanceof SystemError);
        assert.equal(error.code, code);
        assert.ok(error.message.includes(at(name)));
        return true;
      });
    }
    assert.deepEqual((await readdir(folder)).sort(), ['file', 'folder']);
  });
});

describe('reading a file', () => {
  test('a file that is not there is absent', async () => {
    assert.deepEqual(await readFileText(at('a'), 10), { kind: 'absent' });
  });

  test('a file of the largest size is read, and one byte more is not', async () => {
    await writeFile(at('a'), '0123456789');
    assert.equal((await readFileText(at('a'), 10)).kind, 'present');
    assert.deepEqual(await readFileText(at('a'), 9), {
      kind: 'unreadable',
      error: 'it is larger than 9 bytes',
    });
  });

  test('a folder, a pipe, a dangling link and a circle of links are unreadable, at once', async () => {
    await mkdir(at('folder'));
    execFileSync('mkfifo', [at('pipe')]);
    await symlink(at('nowhere'), at('dangling'));
    await symlink(at('circle'), at('circle'));
    const errors = {
      folder: /a folder/,
      pipe: /no regular file/,
      dangling: /does not exist/,
      circle: /circle/,
    };
    for (const [name, error] of Object.entries(errors)) {
      const read = await readFileText(at(name), 10);
      assert.equal(read.kind, 'unreadable');
      assert.match(read.error, error);
    }
  });
});

describe('the config’s files', () => {
  const config = () => at('config.yaml');

  test('the main file comes first, then the drop-ins in name order', async () => {
    await writeFile(config(), 'main');
    await mkdir(at('config.d'));
    const names = ['20-b.yaml', '10-a.yaml', 'ignored.yml', '.hidden.yaml', '30.yaml~'];
    for (const name of names) await writeFile(at(`config.d/${name}`), name);
    const sources = await readConfigSources(config());
    assert.deepEqual(
      sources.map((source) => source.text),
      ['main', '10-a.yaml', '20-b.yaml'],
    );
    assert.equal(sources[1]?.path, at('config.d/10-a.yaml'));
  });

  test('no drop-in folder is fine', async () => {
    await writeFile(config(), 'main');
    assert.equal((await readConfigSources(config())).length, 1);
  });

  const refused: readonly (readonly [name: string, code: string, make: () => Promise<unknown>])[] = [
    ['no main file', 'config-missing', async () => undefined],
    ['a folder for a main file', 'config-unreadable', () => mkdir(config())],
    ['a dangling link', 'config-unreadable', () => symlink(at('nowhere'), config())],
    ['more than 1 MiB', 'config-too-large', () => writeFile(config(), Buffer.alloc(1024 * 1024 + 1))],
    ['text that is not UTF-8', 'config-unreadable', () => writeFile(config(), Buffer.from([0xff, 0xfe]))],
    [
      'a drop-in that is a folder',
      'config-unreadable',
      async () => {
        await writeFile(config(), '');
        await mkdir(at('config.d/x.yaml'), { recursive: true });
      },
    ],
    [
      'a file for a drop-in folder',
      'config-unreadable',
      async () => {
        await writeFile(config(), '');
        await writeFile(at('config.d'), '');
      },
    ],
  ];
  for (const [name, code, make] of refused) {
    test(`${name} is refused as ${code}, naming the path`, async () => {
      await make();
      await assert.rejects(readConfigSources(config()), (error) => {
        assert.ok(error instanceof SystemError);
        assert.equal(error.code, code);
        assert.ok(error.message.includes(folder));
        return true;
      });
    });
  }
});

describe('a secret', () => {
  test('is the file without one trailing newline', async () => {
    await writeFile(at('s'), 'K10abc::server:xyz\n', { mode: 0o600 });
    assert.deepEqual(await readSecret(at('s')), { text: 'K10abc::server:xyz' });
  });

  test('that others may read is given, and told of unless nobody can enter its folder', async () => {
    await writeFile(at('s'), 'abc', { mode: 0o644 });
    await writeFile(at('own'), 'abc', { mode: 0o600 });
    assert.equal((await readSecret(at('s'))).text, 'abc');
    const paths = [at('s'), at('own'), at('absent'), at('s/below-a-file')];
    await chmod(folder, 0o755);
    assert.deepEqual(await exposedFiles(paths), [{ path: at('s'), mode: 0o644 }]);
    await chmod(at('s'), 0o640);
    assert.deepEqual(await exposedFiles(paths), [{ path: at('s'), mode: 0o640 }]);
    await chmod(folder, 0o700);
    assert.deepEqual(await exposedFiles(paths), []);
  });

  const refused: readonly (readonly [content: string, code: string])[] = [
    ['', 'secret-empty'],
    ['\n', 'secret-empty'],
    ['verysecret\nverysecret\n', 'secret-malformed'],
    ['verysecret\0', 'secret-malformed'],
    ['verysecret'.repeat(7000), 'secret-too-large'],
  ];
  for (const [content, code] of refused) {
    test(`${JSON.stringify(content.slice(0, 24))} (${content.length} bytes) is ${code}, without a word of it`, async () => {
      await writeFile(at('s'), content, { mode: 0o600 });
      await assert.rejects(readSecret(at('s')), (error) => {
        assert.ok(error instanceof SystemError);
        assert.equal(error.code, code);
        assert.equal(error.message.includes('verysecret'), false);
        return true;
      });
    });
  }

  test('that is no UTF-8 is malformed, and its bytes stay out of the cause as well', async () => {
    await writeFile(at('s'), Buffer.from([0x61, 0xff]));
    await assert.rejects(readSecret(at('s')), (error) => {
      assert.ok(error instanceof SystemError);
      return error.code === 'secret-malformed' && error.cause === undefined;
    });
  });

  test('that is missing is told with its path', async () => {
    await assert.rejects(readSecret(at('s')), { code: 'secret-missing' });
  });
});

describe('a kept value', () => {
  test('comes back as it was', async () => {
    const value = { restarts: [1, 2], since: null };
    assert.equal(await saveJson(at('m.json'), value), true);
    assert.equal(await saveJson(at('m.json'), value), false);
    assert.deepEqual(await loadJson(at('m.json')), value);
    assert.equal((await stat(at('m.json'))).mode & 0o777, 0o600);
  });

  test('cut short at any byte never comes back as another value', async () => {
    await saveJson(at('m.json'), { restarts: [1, 2] });
    const whole = await readFile(at('m.json'));
    for (let length = 0; length < whole.length - 1; length++) {
      await writeFile(at('m.json'), whole.subarray(0, length));
      assert.equal(await loadJson(at('m.json')), undefined, `after ${length} bytes`);
    }
  });

  test('that was never written is undefined', async () => {
    assert.equal(await loadJson(at('m.json')), undefined);
  });
});
