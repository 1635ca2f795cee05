/**
 * The HTTP client of the adapters: short questions to local services.
 *
 * Always true here: one deadline covers a request from connecting to its answer's last byte; an answer has a size limit;
 * redirects are not followed; no proxy is used, whatever the environment says; connections are not kept, so nothing ticks
 * between two questions. Headers and bodies never appear in an error.
 */
import request from 'undici/lib/api/api-request.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import { codeOf, messageOf, SystemError } from './error.ts';

/** One question. */
export interface HttpQuestion {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Absolute. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent with its Content-Length. A POST or PUT without one gets `Content-Length: 0`. */
  readonly body?: string;
  readonly deadlineMs: number;
  readonly maxBytes: number;
}

/** The answer, of whatever status. */
export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
  /** The value of a header by its lower-case name; undefined where it is absent or repeated. */
  readonly header: (name: string) => string | undefined;
}

/** Asks; `close` ends what is under way, which then fails. */
export interface HttpClient {
  /** Throws SystemError `http-failed`, its message naming no more than the cause. */
  ask(question: HttpQuestion): Promise<HttpAnswer>;
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
};

/** What went wrong with a request, in a few words. */
export function causeOf(error: unknown): string {
  if (error instanceof Error && error.name === 'HTTPParserError') return 'its answer is no HTTP';
  return causes[codeOf(error) ?? ''] ?? messageOf(error);
}

/** Reads the whole body, or throws once it is larger than `maxBytes`. */
async function readLimited(body: AsyncIterable<Buffer>, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new SystemError('http-failed', `its answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** A client with connections of its own. `ca`, in PEM, replaces whom Node.js trusts over TLS. */
export function createHttpClient({ ca }: { readonly ca?: string | undefined } = {}): HttpClient {
  // Deadlines are kept here; the agent's own timers would tick on after the answer.
  const agent = new Agent({
    pipelining: 0,
    connect: { timeout: 0, ...(ca === undefined ? {} : { ca }) },
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 16_384,
  });

  async function ask(question: HttpQuestion): Promise<HttpAnswer> {
    const { origin, pathname, search } = new URL(question.url);
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), question.deadlineMs);
    try {
      const { statusCode, headers, body } = await request.call(agent, {
        origin,
        path: pathname + search,
        method: question.method,
        headers: question.headers ?? {},
        body: question.body ?? null,
        signal: deadline.signal,
      });
      const header = (name: string) => {
        const value = headers[name];
        return typeof value === 'string' ? value : undefined;
      };
      return { status: statusCode, text: await readLimited(body, question.maxBytes), header };
    } catch (error) {
      const cause = deadline.signal.aborted ? `no answer within ${question.deadlineMs} ms` : causeOf(error);
      throw new SystemError('http-failed', cause, { cause: error });
    } finally {
      clearTimeout(timer);
      deadline.abort();
    }
  }

  return { ask, close: () => agent.destroy() };
}
