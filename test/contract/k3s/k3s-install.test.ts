/** The pinned k3s on a real disk, from a server of this machine: what is in place is whole and of the right hash, or what was there before. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  createK3sInstall,
  type InstallPlan,
  type K3sInstallation,
  type PinnedOrigin,
} from '#src/systems/k3s/k3s-install.ts';
import type { PinnedFile } from '#src/systems/k3s/types.ts';
import {
  answerWith,
  type BadHttpServer,
  type Behaviour,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { serveFile } from '../../support/file-server.ts';

const bounded = { timeout: 20_000 };
const k3s = Buffer.from('#!/bin/sh\necho k3s\n'.repeat(10_000));
const upgrade = Buffer.from('#!/bin/sh\necho newer\n'.repeat(10_000));
const sha256Of = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe('a pinned k3s on disk', () => {
  let folder: string;
  let path: string;
  let server: BadHttpServer;
  let wakes: string[];
  let lines: string[];
  const open: K3sInstallation[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-install-'));
    path = join(folder, 'bin/k3s');
    await mkdir(join(folder, 'state'));
    server = await startBadHttpServer(serveFile({ bytes: k3s, etag: '"1"' }));
    wakes = [];
    lines = [];
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((one) => one.close()));
    await server.close();
    await rm(folder, { recursive: true });
  });

  const planOf = (bytes: Buffer, changes: Partial<PinnedOrigin> = {}): InstallPlan => {
    const origin = {
      name: 'binary',
      path,
      url: `${server.url}/k3s`,
      mode: 0o755,
      maxBytes: 10_000_000,
    } as const;
    return { kind: 'pinned', version: 'v1', files: [{ ...origin, sha256: sha256Of(bytes), ...changes }] };
  };
  function install(plan: InstallPlan): K3sInstallation {
    const made = createK3sInstall({
      plan,
      stateDirectory: join(folder, 'state'),
      stallMs: 5_000,
      wake: (reason) => wakes.push(reason),
      log: (level, message) => lines.push(`${level} ${message}`),
    });
    open.push(made);
    return made;
  }
  async function fileOf(one: K3sInstallation): Promise<PinnedFile> {
    const reading = await one.read();
    assert.ok(reading.kind === 'pinned');
    const [first] = reading.files;
    assert.ok(first);
    return first;
  }
  /** Waits for something of the reading, which the adapter says to have changed by a wake-up. */
  async function until(one: K3sInstallation, isSo: (file: PinnedFile) => boolean): Promise<PinnedFile> {
    for (let times = 0; times < 2_000; times += 1) {
      const file = await fileOf(one);
      if (isSo(file)) return file;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    throw new Error(`it never was: ${JSON.stringify(await fileOf(one))}\n${lines.join('\n')}`);
  }
  const settled = (file: PinnedFile) => file.state !== 'checking' && file.work?.kind !== 'fetching';
  const brought = async (one: K3sInstallation) => {
    one.fetch('binary');
    return until(one, settled);
  };
  const beside = async () => (await readdir(dirname(path))).filter((name) => name !== 'k3s');

  test(
    'is brought where there is nothing, folder and all, executable, and wakes the loop once',
    bounded,
    async () => {
      const one = install(planOf(k3s));
      assert.equal((await fileOf(one)).state, 'missing');
      assert.equal((await brought(one)).state, 'in-place');
      assert.deepEqual(await readFile(path), k3s);
      assert.equal((await stat(path)).mode & 0o7777, 0o755);
      assert.deepEqual(await beside(), []);
      assert.deepEqual(wakes, ['k3s: a download ended']);
      assert.match(lines.at(-1) ?? '', /info.*SHA-256 checked/);
    },
  );

  test(
    'is left alone where it is there, and is hashed once in all the runs of mooring',
    bounded,
    async () => {
      await mkdir(dirname(path));
      await writeFile(path, k3s, { mode: 0o755 });
      const first = install(planOf(k3s));
      assert.equal((await fileOf(first)).state, 'checking');
      await until(first, (file) => file.state === 'in-place');
      await until(first, () => wakes.length > 0);
      assert.deepEqual(wakes, ['k3s: a file was checked']);
      assert.equal((await fileOf(install(planOf(k3s)))).state, 'in-place');
      assert.equal(server.seen.length, 0);
    },
  );

  test('is noticed to be another one, also with the same size and time', bounded, async () => {
    const one = install(planOf(k3s));
    await brought(one);
    const { mtime, atime } = await stat(path);
    await writeFile(path, Buffer.alloc(k3s.length));
    await utimes(path, atime, mtime);
    assert.equal((await fileOf(one)).state, 'checking');
    assert.equal((await until(one, settled)).state, 'other');
    assert.equal((await brought(one)).state, 'in-place');
    assert.deepEqual(await readFile(path), k3s);
  });

  test('only gets its mode where nothing else is wrong', bounded, async () => {
    const one = install(planOf(k3s));
    await brought(one);
    await chmod(path, 0o644);
    await until(one, (file) => file.state === 'other');
    assert.equal((await brought(one)).state, 'in-place');
    assert.equal((await stat(path)).mode & 0o7777, 0o755);
    assert.equal(server.seen.length, 1);
  });

  test('is replaced by another version in one step, while the former one is open', bounded, async () => {
    await brought(install(planOf(k3s)));
    const { ino } = await stat(path);
    server.behave(serveFile({ bytes: upgrade }));
    const one = install(planOf(upgrade));
    assert.equal((await fileOf(one)).state, 'other');
    assert.equal((await brought(one)).state, 'in-place');
    assert.notEqual((await stat(path)).ino, ino);
    assert.deepEqual(await readFile(path), upgrade);
  });

  test('is never replaced by a file of another hash', bounded, async () => {
    await brought(install(planOf(k3s)));
    server.behave(serveFile({ bytes: Buffer.from('<html>Please log in</html>') }));
    const one = install(planOf(upgrade));
    const { work, state } = await brought(one);
    assert.equal(state, 'other');
    assert.ok(work?.kind === 'failed');
    assert.equal(work.code, 'wrong-hash');
    assert.equal(work.gained, true);
    assert.match(
      work.message,
      new RegExp(`${sha256Of(upgrade)}; nothing was replaced. Correct k3s.install.sha256`),
    );
    assert.deepEqual(await readFile(path), k3s);
  });

  test(
    'goes on in another run of mooring where it was cut, and nothing is left in the end',
    bounded,
    async () => {
      const begins: Behaviour = (_request, response) => {
        response
          .writeHead(200, { ETag: '"1"', 'Content-Length': k3s.length })
          .write(k3s.subarray(0, 100_000));
      };
      server.behave(begins);
      const first = install(planOf(k3s));
      first.fetch('binary');
      await until(first, ({ work }) => work?.kind === 'fetching' && work.bytes > 50_000);
      await first.close();
      const [part = ''] = await beside();
      assert.match(part, /^\.k3s\.[0-9a-f]{16}\.mooring-part$/);
      const held = (await stat(join(dirname(path), part))).size;
      server.behave(serveFile({ bytes: k3s, etag: '"1"' }));
      assert.equal((await brought(install(planOf(k3s)))).state, 'in-place');
      assert.equal(server.seen.at(-1)?.headers.range, `bytes=${held}-`);
      assert.equal(server.seen.at(-1)?.headers['if-range'], '"1"');
      assert.deepEqual(await beside(), []);
      assert.deepEqual(wakes, ['k3s: a download ended']);
    },
  );

  test('ends a download that a new plan has no use for, and takes its part away', bounded, async () => {
    server.behave((_request, response) => {
      response.writeHead(200, { 'Content-Length': k3s.length }).write(k3s.subarray(0, 100_000));
    });
    const start = async () => {
      const one = install(planOf(k3s));
      one.fetch('binary');
      await until(one, ({ work }) => work?.kind === 'fetching' && work.bytes > 0);
      return one;
    };
    await (await start()).close(planOf(k3s, { url: `${server.url}/other` }));
    assert.equal((await beside()).length, 1);
    await (await start()).close({ kind: 'off' });
    assert.deepEqual(await beside(), []);
    await (await start()).close(planOf(upgrade));
    assert.deepEqual(await beside(), []);
  });

  test('clears away what another version left unfinished, and nothing else', bounded, async () => {
    await mkdir(dirname(path));
    const strangers = [
      '.k3s.0123456789abcdef.mooring-part',
      '.other.0123456789abcdef.mooring-part',
      'kubectl',
    ];
    for (const name of strangers) await writeFile(join(dirname(path), name), 'x');
    await brought(install(planOf(k3s)));
    assert.deepEqual((await beside()).sort(), strangers.slice(1));
  });

  test('replaces a link, and what it leads to stays', bounded, async () => {
    await mkdir(dirname(path));
    const victim = join(folder, 'victim');
    await writeFile(victim, 'mine');
    await symlink(victim, path);
    const one = install(planOf(k3s));
    await until(one, settled);
    await brought(one);
    assert.equal(await readFile(victim, 'utf8'), 'mine');
    assert.deepEqual(await readFile(path), k3s);
  });

  test('tells what cannot be written', bounded, async () => {
    await writeFile(join(folder, 'bin'), 'a file where the folder should be');
    const { work } = await brought(install(planOf(k3s)));
    assert.ok(work?.kind === 'failed');
    assert.match(work.code, /no-such-folder|write-failed/);
    assert.match(lines.at(-1) ?? '', /^warning k3s: cannot write/);
  });

  test('tells what the server says, and how long it wants to be left alone', bounded, async () => {
    server.behave(answerWith(404, ''));
    const one = install(planOf(k3s));
    const { work } = await brought(one);
    assert.ok(work?.kind === 'failed');
    assert.match(
      work.message,
      /cannot download http.*\/k3s: .*status 404; are k3s.install.version and k3s.install.url right\?/,
    );
    server.behave(answerWith(503, '', { 'Retry-After': '7' }));
    const { work: second } = await brought(one);
    assert.ok(second?.kind === 'failed');
    assert.equal(second.retryAfterMs, 7_000);
  });

  test('begins one download at a time', bounded, async () => {
    const one = install(planOf(k3s));
    for (let times = 0; times < 5; times += 1) one.fetch('binary');
    await until(one, (file) => file.state === 'in-place');
    assert.equal(server.seen.length, 1);
    one.fetch('images');
    assert.equal(server.seen.length, 1);
  });

  test('believes no record that is damaged', bounded, async () => {
    await brought(install(planOf(k3s)));
    for (const text of ['', '{', 'null', '{"files":[]}', '{"files":{"x":1}}', '{"files":null}']) {
      await writeFile(join(folder, 'state/k3s-files.json'), text);
      assert.equal((await until(install(planOf(k3s)), settled)).state, 'in-place', text);
    }
  });

  test('is looked at once and for all by a single look', bounded, async () => {
    await mkdir(dirname(path));
    await writeFile(path, k3s, { mode: 0o755 });
    const one = install(planOf(k3s));
    await one.look();
    assert.equal((await fileOf(one)).state, 'in-place');
  });
});
