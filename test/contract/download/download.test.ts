/** The download against a server of this machine that cuts, lies, drips, hangs and redirects: the right bytes in the end, or an error. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { parseRetryAfter } from '#src/systems/download/answer.ts';
import { type DownloadOptions, download } from '#src/systems/download/download.ts';
import { SystemError } from '#src/systems/error.ts';
import {
  answerWith,
  type BadHttpServer,
  type Behaviour,
  inTurn,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { identity } from '../../support/certificates.ts';
import { serveFile } from '../../support/file-server.ts';
import { seeded } from '../../support/random.ts';

const bounded = { timeout: 20_000 };
const sha256Of = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const fileOf = (length: number, seed: number) => {
  const random = seeded(seed);
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(random.between(0, 0xffffffff), at);
  return bytes;
};

const file = fileOf(300_000, 1);
const sha256 = sha256Of(file);
const other = fileOf(300_000, 2);

describe('a download', () => {
  let folder: string;
  let part: string;
  let etag: string | undefined;
  const servers: BadHttpServer[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-download-'));
    part = join(folder, '.k3s.part');
  });
  after(() => rm(folder, { recursive: true }));
  beforeEach(async () => {
    await rm(part, { force: true });
    etag = undefined;
  });
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((one) => one.close()));
  });

  async function serve(behaviour: Behaviour, tls?: { key: string; cert: string }): Promise<BadHttpServer> {
    const server = await startBadHttpServer(behaviour, tls);
    servers.push(server);
    return server;
  }
  const get = (url: string, options: Partial<DownloadOptions> = {}) =>
    download({
      url,
      part,
      sha256,
      maxBytes: 1_000_000,
      etag,
      keepEtag: async (told) => {
        etag = told;
      },
      stallMs: 5_000,
      signal: new AbortController().signal,
      progress: () => undefined,
      ...options,
    });
  const isWhole = async () => (await readFile(part)).equals(file);
  const fails = (code: string, message: RegExp) => (error: unknown) => {
    assert.ok(error instanceof SystemError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

  test('takes a file, and tells how far it is', bounded, async () => {
    const { url, seen } = await serve(serveFile({ bytes: file, etag: '"a"' }));
    const told: (readonly [number, number | undefined])[] = [];
    await get(`${url}/k3s`, { progress: (bytes, total) => told.push([bytes, total]) });
    assert.ok(await isWhole());
    assert.deepEqual(told[0], [0, file.length]);
    assert.deepEqual(told.at(-1), [file.length, file.length]);
    assert.equal(etag, '"a"');
    assert.equal(seen[0]?.headers['accept-encoding'], 'identity');
    assert.equal((await stat(part)).mode & 0o777, 0o600);
  });

  test('goes on where it was cut, with the ETag of what it has', bounded, async () => {
    let cut: () => void = () => undefined;
    const begins: Behaviour = (_request, response, socket) => {
      response
        .writeHead(200, { ETag: '"a"', 'Content-Length': file.length })
        .write(file.subarray(0, 100_000));
      cut = () => socket.resetAndDestroy();
    };
    const { url, seen } = await serve(inTurn(begins, serveFile({ bytes: file, etag: '"a"' })));
    const progress = (bytes: number) => {
      if (bytes >= 30_000) cut();
    };
    await assert.rejects(get(url, { progress }), fails('cut', /ended within|reset|shorter/));
    const held = (await stat(part)).size;
    assert.ok(held >= 30_000 && held <= 100_000);
    await get(url);
    assert.equal(seen[1]?.headers.range, `bytes=${held}-`);
    assert.equal(seen[1]?.headers['if-range'], '"a"');
    assert.ok(await isWhole());
  });

  for (const mode of ['with an ETag', 'without', 'with one that is weak', 'without ranges'] as const) {
    test(
      `ends in the right bytes or in nothing, cut 60 times at random, from a server ${mode}`,
      bounded,
      async () => {
        const tags = {
          'with an ETag': '"a"',
          without: '',
          'with one that is weak': 'W/"a"',
          'without ranges': '"a"',
        };
        const tag = tags[mode];
        for (let seed = 1; seed <= 60; seed += 1) {
          const random = seeded(seed);
          const small = fileOf(random.between(1, 60_000), seed);
          const cuts = Array.from({ length: random.between(1, 4) }, () => random.between(0, small.length));
          const server = await startBadHttpServer(
            serveFile({
              bytes: small,
              ...(tag === '' ? {} : { etag: tag }),
              ignoresRange: mode === 'without ranges',
              cutAfter: (request) => cuts[request],
            }),
          );
          await rm(part, { force: true });
          etag = undefined;
          let attempts = 0;
          for (let isDone = false; !isDone; ) {
            attempts += 1;
            assert.ok(attempts <= cuts.length + 1, `seed ${seed}: still not done`);
            isDone = await get(server.url, { sha256: sha256Of(small) }).then(
              () => true,
              (error: unknown) =>
                !(error instanceof SystemError && error.code === 'cut') && Promise.reject(error),
            );
            const held = await readFile(part);
            // Never anything but a beginning of the file.
            assert.ok(held.equals(small.subarray(0, held.length)), `seed ${seed}`);
            if (isDone) assert.equal(held.length, small.length, `seed ${seed}`);
          }
          await server.close();
        }
      },
    );
  }

  test('begins anew where the server has another file by now', bounded, async () => {
    await writeFile(part, other.subarray(0, 120_000));
    etag = '"old"';
    const { url, seen } = await serve(serveFile({ bytes: file, etag: '"new"' }));
    await get(url);
    assert.ok(await isWhole());
    assert.equal(seen.length, 1);
    assert.equal(etag, '"new"');
  });

  test('begins anew where the beginning turns out to be of another file', bounded, async () => {
    await writeFile(part, other.subarray(0, 120_000));
    const { url, seen } = await serve(serveFile({ bytes: file }));
    await get(url);
    assert.ok(await isWhole());
    assert.deepEqual(
      seen.map((request) => request.headers.range),
      ['bytes=120000-', undefined],
    );
  });

  test(
    'begins anew where the part is longer than the file, and takes one that is whole as it is',
    bounded,
    async () => {
      const { url, seen } = await serve(serveFile({ bytes: file, etag: '"a"' }));
      await writeFile(part, Buffer.concat([file, file]));
      await get(url);
      assert.ok(await isWhole());
      await get(url);
      assert.equal(seen.length, 2);
    },
  );

  test('begins anew where the server goes on at another place than was asked for', bounded, async () => {
    await writeFile(part, file.subarray(0, 1_000));
    const range = { 'Content-Range': `bytes 500-${file.length - 1}/${file.length}` };
    const wrong: Behaviour = (_request, response) => {
      response.writeHead(206, range).end(file.subarray(500));
    };
    const { url } = await serve(inTurn(wrong, serveFile({ bytes: file })));
    await get(url);
    assert.ok(await isWhole());
  });

  test('refuses a part of a file that it did not ask for', bounded, async () => {
    const { url } = await serve((_request, response) => {
      response.writeHead(206, { 'Content-Range': 'bytes 0-9/10' }).end('0123456789');
    });
    await assert.rejects(get(url), fails('refused', /unasked/));
  });

  test('throws away what has another hash, and tells both', bounded, async () => {
    const { url } = await serve(serveFile({ bytes: other }));
    await assert.rejects(
      get(url),
      fails('wrong-hash', new RegExp(`${sha256Of(other)}.*wanted is ${sha256}`)),
    );
    assert.equal((await stat(part)).size, 0);
  });

  test(
    'takes a shorter answer than announced for a cut, and a longer one for as long as announced',
    bounded,
    async () => {
      const head = `HTTP/1.1 200 OK\r\nContent-Length: ${file.length}\r\n\r\n`;
      const short = await serve((_request, _response, socket) => {
        socket.write(head);
        socket.end(file.subarray(0, 1_000));
      });
      await assert.rejects(get(short.url), fails('cut', /ended within|shorter|ended at/));
      assert.ok((await stat(part)).size <= 1_000);
      const long = await serve((_request, _response, socket) => {
        socket.write(head);
        socket.end(Buffer.concat([file, file]));
      });
      await rm(part);
      await get(long.url).catch(() => undefined);
      assert.ok((await stat(part)).size <= file.length);
    },
  );

  test('takes a file of unannounced length', bounded, async () => {
    const { url } = await serve((_request, response) => {
      response.writeHead(200).write(file.subarray(0, 1_000));
      response.end(file.subarray(1_000));
    });
    await get(url);
    assert.ok(await isWhole());
  });

  test('takes no more than the limit, announced or not', bounded, async () => {
    const announced = await serve(serveFile({ bytes: file }));
    await assert.rejects(
      get(announced.url, { maxBytes: 100_000 }),
      fails('too-large', /more than 100000 bytes/),
    );
    const endless = await serve((_request, response) => {
      response.writeHead(200);
      const more = () => {
        while (response.write(other));
      };
      response.on('drain', more);
      more();
    });
    await assert.rejects(get(endless.url), fails('too-large', /more than 1000000 bytes/));
    assert.ok((await stat(part)).size <= 1_000_000);
  });

  const silences: Readonly<Record<string, Behaviour>> = {
    'never answers': () => undefined,
    'stops in the middle': (_request, response) => {
      response.writeHead(200, { 'Content-Length': file.length }).write(file.subarray(0, 70_000));
    },
    'drips a byte now and then': (_request, response) => {
      response.writeHead(200, { 'Content-Length': file.length });
      const timer = setInterval(() => response.write('x'), 5);
      response.on('close', () => clearInterval(timer));
    },
    'drips headers': (_request, _response, socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write('X-A: b\r\n'), 50);
      socket.on('close', () => clearInterval(timer));
    },
  };
  for (const [name, behaviour] of Object.entries(silences)) {
    test(`gives up on a server that ${name}`, bounded, async () => {
      const { url } = await serve(behaviour);
      await assert.rejects(get(url, { stallMs: 300 }), fails('stalled', /no headway within 0.3 s/));
    });
  }

  test('has no deadline for a whole file that keeps coming', bounded, async () => {
    const { url } = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Length': file.length });
      let sent = 0;
      const timer = setInterval(() => {
        response.write(file.subarray(sent, sent + 33_000));
        sent += 33_000;
        if (sent >= file.length) clearInterval(timer);
      }, 60);
      response.on('close', () => clearInterval(timer));
    });
    const startedMs = performance.now();
    await get(url, { stallMs: 300 });
    assert.ok(performance.now() - startedMs > 500);
    assert.ok(await isWhole());
  });

  const refusals: readonly (readonly [number, string])[] = [
    [400, 'refused'],
    [401, 'refused'],
    [403, 'refused'],
    [404, 'not-found'],
    [410, 'not-found'],
    [429, 'busy'],
    [500, 'busy'],
    [503, 'busy'],
  ];
  for (const [status, code] of refusals) {
    test(`tells status ${status}, and keeps what it has`, bounded, async () => {
      await writeFile(part, file.subarray(0, 500));
      const { url } = await serve(answerWith(status, '<html>'));
      await assert.rejects(get(url), fails(code, new RegExp(`status ${status}`)));
      assert.equal((await stat(part)).size, 500);
    });
  }

  test('hears how long the server wants to be left alone, up to an hour', bounded, async () => {
    const { url } = await serve(answerWith(429, '', { 'Retry-After': '120' }));
    await assert.rejects(get(url), { code: 'busy', retryAfterMs: 120_000 });
    const nowMs = Date.parse('2026-01-01T00:00:00Z');
    assert.equal(parseRetryAfter('Thu, 01 Jan 2026 00:05:00 GMT', nowMs), 300_000);
    assert.equal(parseRetryAfter('999999999', nowMs), 3_600_000);
    assert.equal(parseRetryAfter('Thu, 01 Jan 2020 00:00:00 GMT', nowMs), 0);
    for (const odd of [undefined, '', 'soon', '-1x', '1e9'])
      assert.equal(parseRetryAfter(odd, nowMs), undefined);
  });

  test('follows redirects to the file, and tells nothing of their query', bounded, async () => {
    const behaviour: Behaviour = (request, response, socket) => {
      if (request.path === '/k3s')
        answerWith(302, '', { Location: '/a/b?sig=5ecret' })(request, response, socket);
      else if (request.path === '/a/b?sig=5ecret') serveFile({ bytes: file })(request, response, socket);
      else answerWith(404, '')(request, response, socket);
    };
    const server = await serve(behaviour);
    await get(`${server.url}/k3s`);
    assert.ok(await isWhole());
    const broken = await serve((request, response, socket) => {
      const next = request.path === '/k3s' ? [302, '/x?sig=5ecret'] : [403, ''];
      answerWith(Number(next[0]), '', { Location: String(next[1]) })(request, response, socket);
    });
    await rm(part);
    await assert.rejects(get(`${broken.url}/k3s`), (error: unknown) => {
      assert.doesNotMatch(String(error), /5ecret/);
      return fails('refused', /status 403/)(error);
    });
  });

  test(
    'follows neither a circle, nor another protocol, nor a redirect with a password',
    bounded,
    async () => {
      const circle = await serve(answerWith(302, '', { Location: '/again' }));
      await assert.rejects(get(circle.url), fails('redirects', /more than 5 times/));
      assert.equal(circle.seen.length, 6);
      for (const location of [
        'file:///etc/shadow',
        'ftp://127.0.0.1/k3s',
        'http://a:b@127.0.0.1/',
        'http://[bad',
        'data:,x',
      ]) {
        const { url } = await serve(answerWith(301, '', { Location: location }));
        await assert.rejects(get(url), fails('redirects', /not followed/));
      }
      const nowhere = await serve(answerWith(302, ''));
      await assert.rejects(get(nowhere.url), fails('refused', /status 302/));
    },
  );

  test('trusts the CAs that it is told to, and never goes from https to http', bounded, async () => {
    const ca = identity('mirror-ca');
    const tls = identity('mirror', ca, 'IP:127.0.0.1');
    const caFile = join(folder, 'ca.pem');
    await writeFile(caFile, ca.cert);
    const plain = await serve(serveFile({ bytes: file }));
    const server = await serve(serveFile({ bytes: file }), tls);
    await get(server.url, { caFile });
    assert.ok(await isWhole());
    await rm(part);
    await assert.rejects(get(server.url), fails('unreachable', /certificate|issuer/));
    const down = await serve(answerWith(302, '', { Location: plain.url }), tls);
    await assert.rejects(get(down.url, { caFile }), fails('redirects', /redirects to http:.*not followed/));
    assert.equal(plain.seen.length, 0);
  });

  test('takes no body that is encoded, and no proxy from the environment', bounded, async () => {
    const { url } = await serve(answerWith(200, 'x', { 'Content-Encoding': 'gzip' }));
    process.env['http_proxy'] = 'http://127.0.0.1:9';
    try {
      await assert.rejects(get(url), fails('encoded', /gzip/));
    } finally {
      delete process.env['http_proxy'];
    }
  });

  const broken: Readonly<Record<string, Behaviour>> = {
    'resets the connection': (_q, _r, socket) => socket.resetAndDestroy(),
    'closes without a word': (_q, _r, socket) => socket.end(),
    'answers no HTTP': (_q, _r, socket) => socket.end('SSH-2.0-OpenSSH_9.2p1\r\n\r\n'),
    'sends huge headers': (_q, _r, socket) =>
      socket.write(`HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(100_000)}\r\n\r\n`),
  };
  for (const [name, behaviour] of Object.entries(broken)) {
    test(`survives a server that ${name}`, bounded, async () => {
      const { url } = await serve(behaviour);
      await assert.rejects(get(url), fails('unreachable', /127\.0\.0\.1/));
    });
  }

  test('tells that nobody is there', bounded, async () => {
    await assert.rejects(get('http://127.0.0.1:1/k3s'), fails('unreachable', /connection refused/));
    await assert.rejects(get('http://no-such-host.invalid/k3s'), fails('unreachable', /no-such-host/));
  });

  test('ends at once when it is cancelled, and keeps what it has', bounded, async () => {
    const ending = new AbortController();
    const { url } = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Length': file.length }).write(file.subarray(0, 10_000));
    });
    const running = get(url, {
      signal: ending.signal,
      progress: (bytes) => {
        if (bytes === 10_000) ending.abort();
      },
    });
    await assert.rejects(running, fails('cancelled', /cancelled/));
    assert.equal((await stat(part)).size, 10_000);
  });

  test('follows no link at the place of the part, and tells what cannot be written', bounded, async () => {
    const { url, seen } = await serve(serveFile({ bytes: file }));
    const victim = join(folder, 'victim');
    await writeFile(victim, 'mine');
    await symlink(victim, part);
    await assert.rejects(get(url), SystemError);
    assert.equal(await readFile(victim, 'utf8'), 'mine');
    await assert.rejects(
      get(url, { part: join(folder, 'no/such/part') }),
      fails('no-such-folder', /create it/),
    );
    assert.equal(seen.length, 0);
  });

  test('writes to nothing but a file', bounded, async () => {
    const { url, seen } = await serve(serveFile({ bytes: file }));
    await assert.rejects(get(url, { part: '/dev/null' }), fails('not-a-file', /no regular file/));
    await assert.rejects(get(url, { part: folder }), fails('not-a-file', /folder/));
    assert.equal(seen.length, 0);
  });
});
