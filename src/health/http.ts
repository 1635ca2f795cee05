/**
 * The HTTP server: the same pages on the unix socket and on TCP. It listens on loopback and the ZeroTier addresses, or
 * what the config says, and moves with them; an address that cannot be bound yet is tried again with the next pass.
 */

import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** What the pages show; asked at the moment of the request. */
export interface HealthPages {
  readonly isTurning: () => boolean;
  readonly isReady: () => boolean;
  /** The status document as JSON text; undefined before the first pass. */
  readonly status: () => Promise<string | undefined>;
  /** The page for people, whole. */
  readonly page: () => Promise<string>;
  readonly metrics: () => Promise<string>;
  readonly metricsType: string;
}

export interface HealthServer {
  /** Listens on exactly these addresses from now on. Returns what could not be bound, with why. */
  listenOn(addresses: readonly string[], port: number): Promise<readonly string[]>;
  /** Listens on the unix socket, replacing what a former run left. */
  listenOnSocket(path: string): Promise<void>;
  close(): Promise<void>;
}

export function createHealthServer(pages: HealthPages): HealthServer {
  const servers = new Map<string, Server>();
  let socketServer: Server | undefined;

  async function close(key: string): Promise<void> {
    const server = servers.get(key);
    servers.delete(key);
    if (server !== undefined) await closed(server);
  }

  return {
    async listenOn(addresses, port) {
      const wanted = new Set(addresses.map((address) => `${address} ${port}`));
      for (const key of [...servers.keys()]) if (!wanted.has(key)) await close(key);
      const failures: string[] = [];
      for (const key of wanted) {
        if (servers.has(key)) continue;
        const [host = ''] = key.split(' ');
        const server = newServer(pages);
        const error = await listening(server, { host, port });
        if (error === undefined) servers.set(key, server);
        else failures.push(`${host} port ${port}: ${error.message}`);
      }
      return failures;
    },
    async listenOnSocket(path) {
      rmSync(path, { force: true });
      const server = newServer(pages);
      const error = await listening(server, { path });
      if (error !== undefined) throw error;
      chmodSync(path, 0o666);
      socketServer = server;
    },
    async close() {
      for (const key of [...servers.keys()]) await close(key);
      if (socketServer !== undefined) await closed(socketServer);
    },
  };
}

function newServer(pages: HealthPages): Server {
  const server = createServer(
    { requestTimeout: 5_000, headersTimeout: 5_000, keepAliveTimeout: 5_000 },
    (request, response) => {
      answer(pages, request, response).catch(() => response.destroy());
    },
  );
  server.maxConnections = 64;
  return server;
}

function listening(
  server: Server,
  where: { host: string; port: number } | { path: string },
): Promise<Error | undefined> {
  return new Promise((resolve) => {
    server.once('error', resolve);
    server.listen(where, () => {
      server.off('error', resolve);
      server.on('error', () => undefined);
      resolve(undefined);
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function answer(pages: HealthPages, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const send = (status: number, type: string, text: string, more: Readonly<Record<string, string>> = {}) => {
    response.writeHead(status, {
      ...more,
      'content-type': type,
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
    });
    response.end(request.method === 'HEAD' ? undefined : text);
  };
  const plain = 'text/plain; charset=utf-8';
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return send(405, plain, 'only GET and HEAD\n', { allow: 'GET, HEAD' });
  const path = (request.url ?? '/').split('?')[0];
  switch (path) {
    case '/healthz':
      return pages.isTurning() ? send(200, plain, 'ok\n') : send(503, plain, 'the loop is stuck\n');
    case '/readyz':
      return pages.isReady() ? send(200, plain, 'ready\n') : send(503, plain, 'not ready, see /status\n');
    case '/status': {
      const status = await pages.status();
      return status === undefined
        ? send(503, plain, 'starting\n')
        : send(200, 'application/json; charset=utf-8', status);
    }
    case '/metrics':
      return send(200, pages.metricsType, await pages.metrics());
    case '/':
      return send(200, 'text/html; charset=utf-8', await pages.page());
    default:
      return send(404, plain, 'there are /, /status, /metrics, /healthz and /readyz\n');
  }
}
