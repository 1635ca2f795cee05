/** The files of the limits of new connections; the unit that gives them to nft is played by the test. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createLimits } from '../../../src/systems/nginx/limits.ts';

const bounded = { timeout: 10_000 };

describe('the limits of new connections', () => {
  let folder: string;
  let asked: string[];
  const at = (name: string) => join(folder, name);
  /** `run` is what the unit does when it is started or reloaded. */
  const limits = (run: () => Promise<void> = took) => {
    const verb = (name: string) => async () => {
      asked.push(name);
      if (name === 'restart' || name === 'reload') await run();
      if (name === 'stop') await unlink(at('loaded.nft'));
    };
    return createLimits({
      systemd: {
        resetFailed: verb('resetFailed'),
        restart: verb('restart'),
        reload: verb('reload'),
        stop: verb('stop'),
      },
      wantedPath: at('limits.nft'),
      lastPath: at('last.nft'),
      loadedPath: at('loaded.nft'),
      saidPath: at('said'),
      nftPath: at('nft'),
      deadlineMs: 300,
    });
  };
  const took = async () => writeFile(at('loaded.nft'), await readFile(at('limits.nft')));

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-limits-'));
    asked = [];
  });
  afterEach(() => rm(folder, { recursive: true }));

  test('are loaded by a start, and by a reload once some are in force', bounded, async () => {
    await limits().load('one');
    await limits().load('two');
    assert.deepEqual(asked, ['resetFailed', 'restart', 'resetFailed', 'reload']);
    const { installed, loaded } = await limits().read();
    assert.deepEqual([installed, loaded.kind === 'present' && loaded.text], [false, 'two']);
    await writeFile(at('nft'), '');
    assert.equal((await limits().read()).installed, true);
  });

  test('that nft refuses are told in its words, not in those of an earlier run', bounded, async () => {
    await writeFile(at('said'), 'of yesterday: the wanted limits are not loaded\n');
    const refusing = limits(() =>
      writeFile(at('said'), 'limits.nft:3:5-9: Error: syntax error\nthe wanted limits are not loaded\n'),
    );
    await assert.rejects(refusing.load('bad'), {
      code: 'limits-refused',
      message: /limits\.nft:3:5-9: Error: syntax error/,
    });
    const silent = limits(async () => undefined);
    await assert.rejects(silent.load('bad'), {
      code: 'limits-refused',
      message: /did not load .*journalctl/,
    });
  });

  test('are taken away with their files, so that no boot brings them back', bounded, async () => {
    await limits().load('one');
    await writeFile(at('last.nft'), 'one');
    await limits().remove();
    assert.equal(asked.at(-1), 'stop');
    assert.deepEqual((await limits().read()).loaded, { kind: 'absent' });
    for (const name of ['limits.nft', 'last.nft'])
      await assert.rejects(readFile(at(name)), { code: 'ENOENT' });
  });
});
