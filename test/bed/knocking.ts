/**
 * Knocks at doors until it is killed: `knocking.ts HOST NAME=KIND:PORT…`, KIND being http, https or udp. Each knock is a
 * connection (for udp: a socket) of its own, one after the other at each door, and one line of JSON on standard output:
 * {"door", "ok", "at" (Unix ms when it began), "ms", "said"}. `said` is the start of the answer, or why there is none.
 */
import { createSocket } from 'node:dgram';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';

const deadlineMs = 3_000;
const pauseMs = 15;
/** What a QUIC client waits for its first answer before it sends again: RFC 9002, sections 6.2.1 and 6.2.2. */
const sendAgainMs = 1_000;
const maxSaid = 400;

const [host = '', ...doors] = process.argv.slice(2);

/** The body of the answer. Rejects where it does not come whole and in time. */
function http(kind: 'http' | 'https', port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const send = kind === 'https' ? httpsRequest : httpRequest;
    // No agent: a new connection each time. Any certificate: what is tested is the way there.
    const options = {
      host,
      port,
      path: '/knock',
      agent: false,
      rejectUnauthorized: false,
      signal: AbortSignal.timeout(deadlineMs),
    };
    const request = send(options, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('end', () => resolve(body));
      response.on('error', reject);
      response.on('aborted', () => reject(new Error('the answer was cut short')));
    });
    request.on('error', reject);
    request.end();
  });
}

/**
 * The answer to a datagram, which is sent again as a QUIC client would: an nginx worker that is told to end closes the socket
 * that it answers on (ngx_close_listening_sockets), so that an answer under way in a reload is lost.
 */
function udp(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const end = (finish: () => void) => {
      clearTimeout(timer);
      clearInterval(again);
      socket.close(finish);
    };
    const send = () => socket.send('knock');
    const again = setInterval(send, sendAgainMs);
    const timer = setTimeout(() => end(() => reject(new Error('no answer'))), deadlineMs);
    socket.on('message', (message) => end(() => resolve(message.toString())));
    socket.on('error', (error) => end(() => reject(error)));
    socket.connect(port, host, send);
  });
}

async function knock(kind: string, port: number): Promise<string> {
  if (kind === 'udp') return udp(port);
  if (kind === 'http' || kind === 'https') return http(kind, port);
  throw new Error(`no such kind of door: ${kind}`);
}

async function keepKnocking(door: string): Promise<never> {
  const [name = '', rest = ''] = door.split('=');
  const [kind = '', port = ''] = rest.split(':');
  while (true) {
    const at = Date.now();
    const startedMs = performance.now();
    const [ok, said] = await knock(kind, Number(port)).then(
      (body) => [true, body] as const,
      (error: unknown) => [false, error instanceof Error ? error.message : String(error)] as const,
    );
    const ms = Math.round(performance.now() - startedMs);
    process.stdout.write(`${JSON.stringify({ door: name, ok, at, ms, said: said.slice(0, maxSaid) })}\n`);
    await delay(pauseMs);
  }
}

await Promise.all(doors.map(keepKnocking));
