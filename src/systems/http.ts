/**
 * The HTTP client of the adapters: short questions to local services.
 *
 * Always true here: one deadline covers a request from connecting to its answer's last byte; an answer has a size limit, that of
 * a compressed one for what it unfolds to; redirects are not followed; no proxy is used, whatever the environment says;
 * connections are not kept, so nothing ticks between two questions. Headers and bodies never appear in an error.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { pipeline, type Readable } from 'node:stream';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { createGunzip } from 'node:zlib';
import request from 'undici/lib/api/api-request.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import { codeOf, messageOf, SystemError } from './error.ts';

/** One question. */
export interface HttpQuestion {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Absolute. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent with its Content-Length. A POST or PUT without one gets `Content-Length: 0`. */
  readonly body?: string;
  readonly deadlineMs: number;
  /** Until the answer begins; `deadlineMs` where absent. */
  readonly beginMs?: number;
  readonly maxBytes: number;
  /** Takes the body of a 200 as it comes; the answer's text is empty then. What it throws ends the question. */
  readonly onChunk?: (chunk: Buffer) => void;
  /** Ends the question. */
  readonly signal?: AbortSignal;
}

/** The answer, of whatever status. */
export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
  /** The value of a header by its lower-case name; undefined where it is absent or repeated. */
  readonly header: (name: string) => string | undefined;
}

/** Who has to answer over TLS, and who asks. All in PEM. */
export interface TlsOptions {
  /** Replaces whom Node.js trusts. */
  readonly ca?: string | undefined;
  /** A certificate to show where one is asked for, with its key. */
  readonly cert?: string;
  readonly key?: string;
}

/** Asks; `close` ends what is under way, which then fails. */
export interface HttpClient {
  /** Throws SystemError `http-failed`, its message naming no more than the cause. */
  ask(question: HttpQuestion): Promise<HttpAnswer>;
  /** Ends what is under way; nothing is asked after that. */
  close(): Promise<void>;
}

const causes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no route to it',
  EPERM: 'connecting is not permitted',
  EACCES: 'connecting is not permitted',
  UND_ERR_SOCKET: 'connection ended within the answer',
  UND_ERR_HEADERS_OVERFLOW: 'its headers are too large',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'its answer is shorter than announced',
  UND_ERR_DESTROYED: 'mooring closed the connection',
  EPROTO: 'it does not speak TLS',
  Z_DATA_ERROR: 'its compressed answer is damaged',
  Z_BUF_ERROR: 'its compressed answer is cut short',
};

/** What went wrong with a request, in a few words. */
export function causeOf(error: unknown): string {
  if (error instanceof Error && error.name === 'HTTPParserError') return 'its answer is no HTTP';
  const code = codeOf(error) ?? '';
  return causes[code] ?? (code.startsWith('ERR_SSL') ? tlsCause(code) : messageOf(error));
}

/** Reads the whole body, or throws once it is larger than `maxBytes`. */
async function readLimited(
  body: AsyncIterable<Buffer>,
  maxBytes: number,
  onChunk: (chunk: Buffer) => void,
): Promise<void> {
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new SystemError('http-failed', `its answer is larger than ${maxBytes} bytes`);
    onChunk(chunk);
  }
}

/** A server that refuses our certificate ends the handshake, in TLS 1.3 after we believe that it is done. */
function tlsCause(code: string): string {
  return code.includes('ALERT')
    ? 'it refuses the TLS connection, or the certificate of this node'
    : 'it does not speak TLS';
}

/** A client whose connections end with their answers. */
export function createHttpClient(tls: TlsOptions = {}): HttpClient {
  /** Ends each question that is under way. */
  const underWay = new Set<() => void>();
  let isClosed = false;

  async function ask(question: HttpQuestion): Promise<HttpAnswer> {
    if (isClosed) throw new SystemError('http-failed', 'mooring closed the connection');
    const url = new URL(question.url);
    const line = openLine(url, tls);
    const ending = new AbortController();
    // Both: the line may not have a socket yet, and a socket that is connecting does not heed the signal.
    const end = () => {
      ending.abort();
      line.cut();
    };
    let allowedMs = question.beginMs ?? question.deadlineMs;
    let timer = setTimeout(end, allowedMs);
    underWay.add(end);
    question.signal?.addEventListener('abort', end);
    try {
      if (question.signal?.aborted === true) end();
      const { statusCode, headers, body } = await request.call(line.agent, {
        origin: url.origin,
        path: url.pathname + url.search,
        method: question.method,
        headers: question.headers ?? {},
        body: question.body ?? null,
        signal: ending.signal,
      });
      if (question.beginMs !== undefined) {
        clearTimeout(timer);
        allowedMs = question.deadlineMs;
        timer = setTimeout(end, allowedMs);
      }
      const plain = headers['content-encoding'] === 'gzip' ? unfolded(body) : body;
      const chunks: Buffer[] = [];
      const gather = (chunk: Buffer) => chunks.push(chunk);
      await readLimited(plain, question.maxBytes, (statusCode === 200 && question.onChunk) || gather);
      const header = (name: string) => {
        const value = headers[name];
        return typeof value === 'string' ? value : undefined;
      };
      return { status: statusCode, text: Buffer.concat(chunks).toString('utf8'), header };
    } catch (error) {
      const isLeft = isClosed || question.signal?.aborted === true;
      const late = isLeft ? 'mooring closed the connection' : `no answer within ${allowedMs} ms`;
      const cause = ending.signal.aborted ? late : causeOf(error);
      throw new SystemError('http-failed', cause, { cause: error });
    } finally {
      clearTimeout(timer);
      question.signal?.removeEventListener('abort', end);
      end();
      underWay.delete(end);
      await line.agent.destroy();
    }
  }

  return {
    ask,
    async close() {
      isClosed = true;
      for (const end of underWay) end();
    },
  };
}

/** One connection. */
interface Line {
  readonly agent: InstanceType<typeof Agent>;
  /** Ends it, also in the middle of connecting: undici would wait for that to succeed or fail. */
  cut(): void;
}

function openLine(url: URL, tls: TlsOptions): Line {
  let socket: Socket | undefined;
  // Deadlines are kept by who asks; the agent's own timers would tick on after the answer.
  const agent = new Agent({
    pipelining: 0,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 16_384,
    connect: (_options, callback) => {
      const fail = (error: Error) => callback(error, null);
      const opened = openSocket(url, tls);
      socket = opened;
      opened.on('error', ignore).once('error', fail);
      opened.once(opened instanceof TLSSocket ? 'secureConnect' : 'connect', () => {
        opened.off('error', fail);
        callback(null, opened);
      });
    },
  });
  return {
    agent,
    cut: () => socket?.destroy(new SystemError('http-failed', 'mooring closed the connection')),
  };
}

function openSocket({ protocol, hostname, port }: URL, { ca, ...given }: TlsOptions): Socket {
  const host = hostname.replace(/^\[|\]$/g, '');
  if (protocol !== 'https:') return connectTcp({ host, port: Number(port || 80) });
  return connectTls({
    host,
    port: Number(port || 443),
    ALPNProtocols: ['http/1.1'],
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...given,
    // As for k3s, every CA of the bundle is one to end at, whether or not it is a root.
    ...(ca === undefined ? {} : { ca, allowPartialTrustChain: true }),
  });
}

/** Unfolds no more than is read of it. */
function unfolded(body: Readable): AsyncIterable<Buffer> {
  const gunzip = createGunzip();
  // Destroys both, whichever ends the other.
  pipeline(body, gunzip, ignore);
  return gunzip;
}

/** What comes after the question has ended is of no interest. */
const ignore = () => undefined;
