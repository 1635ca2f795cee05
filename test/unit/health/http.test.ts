import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import { createHealthServer, type HealthPages, type HealthServer } from '#src/health/http.ts';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** One request to a TCP port of loopback or to a unix socket. */
function ask(
  where: { host?: string; port: number } | { socketPath: string },
  path: string,
  method = 'GET',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const target = 'port' in where ? { host: '127.0.0.1', ...where } : where;
    const asked = request(
      { ...target, path, method, agent: false, signal: AbortSignal.timeout(5_000) },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        );
        response.on('error', reject);
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  server.close();
  await once(server, 'close');
  return address.port;
}

async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect', { signal: AbortSignal.timeout(5_000) });
  return socket;
}

async function refused(host: string, port: number): Promise<void> {
  await assert.rejects(ask({ host, port }, '/healthz'), { code: 'ECONNREFUSED' });
}

const folder = mkdtempSync(join(tmpdir(), 'mooring-health-'));
const open: HealthServer[] = [];
let state = { turning: true, ready: true, status: '{"ready":true}', metrics: 'up 1\n' };
const pages: HealthPages = {
  isTurning: () => state.turning,
  isReady: () => state.ready,
  status: async () => (state.status === '' ? undefined : state.status),
  page: async () => '<!doctype html>',
  metrics: async () => {
    if (state.metrics === '') throw new Error('no metrics today');
    return state.metrics;
  },
  metricsType: 'text/plain; version=0.0.4; charset=utf-8',
};

function serve(): HealthServer {
  const server = createHealthServer(pages);
  open.push(server);
  return server;
}

async function serveOnLoopback(): Promise<{ server: HealthServer; port: number }> {
  const server = serve();
  const port = await freePort();
  assert.deepEqual(await server.listenOn(['127.0.0.1'], port), []);
  return { server, port };
}

beforeEach(() => {
  state = { turning: true, ready: true, status: '{"ready":true}', metrics: 'up 1\n' };
});
after(async () => {
  await Promise.all(open.map((server) => server.close()));
  rmSync(folder, { recursive: true, force: true });
});

describe('the health server', () => {
  test('serves its pages with their types, uncached', async () => {
    const { port } = await serveOnLoopback();
    for (const [path, type, text] of [
      ['/healthz', 'text/plain; charset=utf-8', 'ok\n'],
      ['/readyz', 'text/plain; charset=utf-8', 'ready\n'],
      ['/status', 'application/json; charset=utf-8', '{"ready":true}'],
      ['/status?pretty', 'application/json; charset=utf-8', '{"ready":true}'],
      ['/metrics', 'text/plain; version=0.0.4; charset=utf-8', 'up 1\n'],
      ['/', 'text/html; charset=utf-8', '<!doctype html>'],
    ] as const) {
      const answer = await ask({ port }, path);
      assert.deepEqual([answer.status, answer.headers['content-type'], answer.text], [200, type, text], path);
      assert.equal(answer.headers['cache-control'], 'no-store');
    }
  });

  test('answers 503 where the loop is stuck, the node is not ready, or the first pass is not over', async () => {
    const { port } = await serveOnLoopback();
    state = { ...state, turning: false, ready: false, status: '' };
    assert.deepEqual(
      [await ask({ port }, '/healthz'), await ask({ port }, '/readyz'), await ask({ port }, '/status')].map(
        ({ status, text }) => [status, text],
      ),
      [
        [503, 'the loop is stuck\n'],
        [503, 'not ready, see /status\n'],
        [503, 'starting\n'],
      ],
    );
  });

  test('names its pages on 404, and its methods on 405', async () => {
    const { port } = await serveOnLoopback();
    const unknown = await ask({ port }, '/etc/passwd');
    assert.equal(unknown.status, 404);
    assert.match(unknown.text, /\/status/);
    const posted = await ask({ port }, '/status', 'POST');
    assert.deepEqual([posted.status, posted.headers['allow']], [405, 'GET, HEAD']);
  });

  test('answers HEAD with the length of the page and without its text', async () => {
    const { port } = await serveOnLoopback();
    const answer = await ask({ port }, '/status', 'HEAD');
    assert.deepEqual([answer.status, answer.headers['content-length'], answer.text], [200, '14', '']);
  });

  test('drops the connection where a page cannot be made, and goes on', async () => {
    const { port } = await serveOnLoopback();
    state = { ...state, metrics: '' };
    await assert.rejects(ask({ port }, '/metrics'), { code: 'ECONNRESET' });
    assert.equal((await ask({ port }, '/healthz')).status, 200);
  });

  test('serves the unix socket to every local user, also over what a former run left there', async () => {
    const socketPath = join(folder, 'mooring.sock');
    writeFileSync(socketPath, 'left over');
    await serve().listenOnSocket(socketPath);
    assert.equal(statSync(socketPath).mode & 0o777, 0o666);
    assert.equal((await ask({ socketPath }, '/status')).text, '{"ready":true}');
  });

  test('listens on exactly the wanted addresses, and moves with them', async () => {
    const { server, port } = await serveOnLoopback();
    assert.deepEqual(await server.listenOn(['127.0.0.1', '127.0.0.2'], port), []);
    assert.equal((await ask({ host: '127.0.0.2', port }, '/healthz')).status, 200);
    assert.deepEqual(await server.listenOn(['127.0.0.3'], port), []);
    assert.equal((await ask({ host: '127.0.0.3', port }, '/healthz')).status, 200);
    await refused('127.0.0.1', port);
    await refused('127.0.0.2', port);
    const other = await freePort();
    assert.deepEqual(await server.listenOn(['127.0.0.3'], other), []);
    assert.equal((await ask({ host: '127.0.0.3', port: other }, '/healthz')).status, 200);
    await refused('127.0.0.3', port);
  });

  test('keeps the connections of an address that stays wanted', async () => {
    const { server, port } = await serveOnLoopback();
    const held = await connected(port);
    let ended = false;
    held.once('close', () => {
      ended = true;
    });
    await server.listenOn(['127.0.0.1', '127.0.0.2'], port);
    held.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    const [chunk] = await once(held, 'data', { signal: AbortSignal.timeout(5_000) });
    assert.match(String(chunk), /^HTTP\/1\.1 200 /);
    assert.equal(ended, false);
    held.destroy();
  });

  test('tells an address that it cannot have, serves the others, and takes it once it can', async () => {
    const server = serve();
    const port = await freePort();
    const squatter = createServer().listen(port, '127.0.0.2');
    await once(squatter, 'listening');
    // 192.0.2.0/24 is for documentation: no host has an address of it.
    const failures = await server.listenOn(['127.0.0.1', '127.0.0.2', '192.0.2.1'], port);
    assert.match(failures[0] ?? '', /^127\.0\.0\.2 port \d+: .*EADDRINUSE/);
    assert.match(failures[1] ?? '', /^192\.0\.2\.1 port \d+: .*EADDRNOTAVAIL/);
    assert.equal(failures.length, 2);
    assert.equal((await ask({ port }, '/healthz')).status, 200);
    squatter.close();
    await once(squatter, 'close');
    const later = await server.listenOn(['127.0.0.1', '127.0.0.2', '192.0.2.1'], port);
    assert.equal(later.length, 1);
    assert.equal((await ask({ host: '127.0.0.2', port }, '/healthz')).status, 200);
  });

  test('is not held up by clients that never finish their request, neither in answering nor in closing', async () => {
    const { server, port } = await serveOnLoopback();
    const idle = await connected(port);
    const slow = await connected(port);
    slow.write('GET /metrics HTT');
    assert.equal((await ask({ port }, '/healthz')).status, 200);
    const gone = Promise.all(
      [idle, slow].map((socket) => once(socket, 'close', { signal: AbortSignal.timeout(5_000) })),
    );
    await server.close();
    await gone;
    await refused('127.0.0.1', port);
  });

  test('keeps to a number of connections an address, so that a flood on one leaves the others alone', async () => {
    const server = serve();
    const port = await freePort();
    assert.deepEqual(await server.listenOn(['127.0.0.1', '127.0.0.2'], port), []);
    const flood = await Promise.all(Array.from({ length: 64 }, () => connected(port)));
    const turnedAway = await connected(port);
    await once(turnedAway, 'close', { signal: AbortSignal.timeout(5_000) });
    assert.equal((await ask({ host: '127.0.0.2', port }, '/healthz')).status, 200);
    const [first] = flood;
    assert.ok(first);
    const served = once(first, 'data', { signal: AbortSignal.timeout(5_000) });
    first.write('GET /healthz HTTP/1.0\r\n\r\n');
    await served;
    for (const socket of flood) socket.destroy();
  });
});
