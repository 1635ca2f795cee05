/**
 * One GET over TLS to a server whose certificate is looked at, not relied on: whoever answers gets nothing but a path.
 *
 * Always true here: the caller's signal bounds all of it; an answer has a size limit; redirects are not followed; no
 * credential, and no certificate of this node, is sent; the connection ends with the answer.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import request from 'undici/lib/api/api-request.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import { codeOf, messageOf } from '../error.ts';
import type { ProbeStage } from './types.ts';

export interface TlsQuestion {
  readonly host: string;
  readonly port: number;
  /** Where `host` is; tried one after the other. */
  readonly addresses: readonly { readonly address: string; readonly family: number }[];
  readonly path: string;
  /** Whom to judge the certificate by. */
  readonly judge: SecureContext;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

export interface TlsAnswer {
  readonly status: number;
  readonly body: Buffer;
  /** Why the certificate is not valid by `judge`; undefined where it is. */
  readonly distrust: string | undefined;
}

/** A question that failed, and how far it had come. */
export class ProbeError extends Error {
  readonly stage: ProbeStage;
  /** Whether anything came back from the other side. */
  readonly heard: boolean;

  constructor(stage: ProbeStage, message: string, heard: boolean, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ProbeError';
    this.stage = stage;
    this.heard = heard;
  }
}

const causes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection reset',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no route to it',
  ETIMEDOUT: 'no answer',
  EPROTO: 'it does not speak TLS',
  UND_ERR_SOCKET: 'connection ended within the answer',
  UND_ERR_HEADERS_OVERFLOW: 'its headers are too large',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'its answer is shorter than announced',
};

function causeOf(error: unknown): string {
  if (error instanceof Error && error.name === 'HTTPParserError') return 'its answer is no HTTP';
  const code = codeOf(error) ?? '';
  return causes[code] ?? (code.startsWith('ERR_SSL') ? 'it does not speak TLS' : messageOf(error));
}

/** Judges by these CAs, in PEM. To be kept: it holds much memory outside of the heap. Throws where one is damaged. */
export function judgeOf(ca: readonly string[]): SecureContext {
  // An empty list keeps Node.js from loading the hundred and more roots that it brings along. And as for k3s, every CA of
  // the bundle is one to end at, whether or not it is a root.
  return createSecureContext({ ca: [...ca], allowPartialTrustChain: true });
}

/** What comes after the question has ended is of no interest. */
const ignore = () => undefined;

/** Asks. Throws ProbeError; where `signal` ended it, its message tells no more than that. */
export async function getOverTls(question: TlsQuestion): Promise<TlsAnswer> {
  const { host, port, path, signal } = question;
  const reached: Reached = { stage: 'connect', tcp: undefined, tls: undefined };
  const agent = new Agent({
    pipelining: 0,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 16_384,
    connect: (_options, callback) => {
      const fail = (error: Error) => callback(error, null);
      const tcp = openTcp(question);
      reached.tcp = tcp;
      tcp.on('error', ignore).once('error', fail);
      tcp.once('connect', () => {
        tcp.off('error', fail);
        const tls = openTls(question, tcp);
        Object.assign(reached, { stage: 'tls', tls });
        tls.on('error', ignore).once('error', fail);
        tls.once('secureConnect', () => {
          reached.stage = 'http';
          tls.off('error', fail);
          callback(null, tls);
        });
      });
    },
  });
  // With an error: undici ends a question that still waits for its connection only when that fails.
  const end = () => (reached.tls ?? reached.tcp)?.destroy(new Error('ended'));
  signal.addEventListener('abort', end, { once: true });
  try {
    const origin = `https://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
    const { statusCode, body } = await request.call(agent, { origin, path, method: 'GET', signal });
    const bytes = await readLimited(body, question.maxBytes);
    return { status: statusCode, body: bytes, distrust: distrustOf(reached.tls) };
  } catch (error) {
    if (error instanceof ProbeError) throw error;
    const { stage } = reached;
    const answered = stage !== 'connect' || ['ECONNREFUSED', 'ECONNRESET'].includes(codeOf(error) ?? '');
    throw new ProbeError(stage, signal.aborted ? 'no answer in time' : causeOf(error), answered, {
      cause: error,
    });
  } finally {
    signal.removeEventListener('abort', end);
    (reached.tls ?? reached.tcp)?.destroy();
    await agent.destroy();
  }
}

/** How far a question has come, and what is to be closed. */
interface Reached {
  stage: ProbeStage;
  tcp: Socket | undefined;
  tls: TLSSocket | undefined;
}

function openTcp({ host, port, addresses }: TlsQuestion): Socket {
  return connectTcp({
    host,
    port,
    autoSelectFamily: true,
    // A way that ZeroTier has yet to find takes longer than the 250 ms that Node.js gives each address.
    autoSelectFamilyAttemptTimeout: 1_000,
    lookup: (_name, _options, callback) => callback(null, [...addresses]),
  });
}

function openTls({ host, judge }: TlsQuestion, socket: Socket): TLSSocket {
  return connectTls({
    socket,
    host,
    secureContext: judge,
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    ...(isIP(host) === 0 ? { servername: host } : {}),
  });
}

function distrustOf(socket: TLSSocket | undefined): string | undefined {
  if (socket?.authorized === true) return undefined;
  const error: unknown = socket?.authorizationError;
  return error === undefined || error === null ? 'no certificate' : (codeOf(error) ?? messageOf(error));
}

async function readLimited(body: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new ProbeError('http', `its answer is larger than ${maxBytes} bytes`, true);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
