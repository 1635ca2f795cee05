/**
 * An HTTP server on loopback that answers as told: properly, by a script, or in one of the ways in which servers misbehave.
 * It keeps what it was asked, and `close` ends every connection, so that no test waits for a hanging one.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

/** One request as it came in. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** Answers one request. */
export type Behaviour = (request: SeenRequest, response: ServerResponse, socket: Socket) => void;

/** A way to misbehave, and what a client's error about it says. */
export interface Misbehaviour {
  readonly name: string;
  readonly behave: Behaviour;
  readonly error: RegExp;
}

/** Answers with `status` and `body`. */
export const answerWith =
  (status: number, body: string, headers: Readonly<Record<string, string>> = {}): Behaviour =>
  (_request, response) => {
    response.writeHead(status, { 'Content-Length': Buffer.byteLength(body), ...headers }).end(body);
  };

/** One after the other; the last one stays. */
export function inTurn(...behaviours: readonly [Behaviour, ...Behaviour[]]): Behaviour {
  let turn = 0;
  return (request, response, socket) => {
    const behave = behaviours[Math.min(turn++, behaviours.length - 1)] ?? behaviours[0];
    behave(request, response, socket);
  };
}

/** Writes `text` again and again, a piece every 5 ms, until the client goes. */
function drip(socket: Socket, text: string): void {
  const timer = setInterval(() => socket.write(text), 5);
  socket.on('close', () => clearInterval(timer));
}

/** Every way, with bodies that are JSON where they are anything, so that only the transport is at fault. */
export const misbehaviours: readonly Misbehaviour[] = [
  { name: 'never answers', behave: () => undefined, error: /no answer within/ },
  {
    name: 'resets the connection',
    behave: (_q, _r, socket) => socket.resetAndDestroy(),
    error: /reset|ended/,
  },
  { name: 'closes without a word', behave: (_q, _r, socket) => socket.end(), error: /ended/ },
  {
    name: 'drips headers for ever',
    behave: (_q, _r, socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      drip(socket, 'X-A: b\r\n');
    },
    error: /no answer within|headers are too large/,
  },
  {
    name: 'drips a body for ever',
    behave: (_q, _r, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n');
      drip(socket, ' ');
    },
    error: /no answer within/,
  },
  {
    name: 'announces interim answers for ever',
    behave: (_q, _r, socket) => drip(socket, 'HTTP/1.1 103 Early Hints\r\n\r\n'),
    error: /no answer within/,
  },
  {
    name: 'answers no HTTP',
    behave: (_q, _r, socket) => socket.end('SSH-2.0-OpenSSH_9.2p1\r\n\r\n'),
    error: /no HTTP/,
  },
  {
    name: 'cuts its answer short',
    behave: (_q, _r, socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a":'),
    error: /ended within the answer|shorter/,
  },
  {
    name: 'sends a huge answer',
    behave: (_q, response) => response.writeHead(200).end(`[${'1,'.repeat(2_000_000)}1]`),
    error: /larger than/,
  },
  {
    name: 'sends huge headers',
    behave: (_q, _r, socket) => socket.write(`HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(100_000)}\r\n\r\n`),
    error: /headers are too large/,
  },
  {
    name: 'redirects',
    behave: answerWith(302, '', { Location: '/elsewhere' }),
    error: /status 302/,
  },
  { name: 'has no such path', behave: answerWith(404, ''), error: /status 404|no valid instanceId/ },
  { name: 'is at fault', behave: answerWith(500, '{}'), error: /status 500/ },
];

/** The running server. */
export interface BadHttpServer {
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  /** From now on. */
  behave(behaviour: Behaviour): void;
  /** Ends each answer that is under way, in order. */
  endStreams(): void;
  close(): Promise<void>;
}

/** Listens on a free port of 127.0.0.1; over TLS where it is given a key and a certificate. */
export async function startBadHttpServer(
  initial: Behaviour,
  tls?: { readonly key: string; readonly cert: string; readonly ca?: string; readonly requestCert?: boolean },
): Promise<BadHttpServer> {
  let behaviour = initial;
  const seen: SeenRequest[] = [];
  const open = new Set<ServerResponse>();
  const listener = (message: IncomingMessage, response: ServerResponse) => {
    let body = '';
    message.setEncoding('utf8').on('data', (chunk) => {
      body += String(chunk);
    });
    message.socket.on('error', () => undefined);
    message.on('end', () => {
      const request = {
        method: message.method ?? '',
        path: message.url ?? '',
        headers: message.headers,
        body,
      };
      seen.push(request);
      open.add(response);
      response.on('close', () => open.delete(response));
      behaviour(request, response, message.socket);
    });
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer({ ...tls }, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    seen,
    behave(next) {
      behaviour = next;
    },
    endStreams() {
      for (const response of open) response.end();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
