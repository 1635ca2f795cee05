/**
 * One GET of a large file: follows redirects, and answers as soon as the headers are there.
 *
 * Always true here: what was asked over https is never fetched over http; redirects are few; nothing of a redirect's target but
 * its host is told, since its query may be a signed permission; no proxy is used, whatever the environment says.
 */
import request from 'undici/lib/api/api-request.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import { SystemError } from '../error.ts';
import { readFileBytes } from '../files/atomic.ts';
import { causeOf } from '../http.ts';

/** Why a download did not come to its end. */
export class DownloadError extends SystemError {
  /** How long the server wants to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: string,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number } = {},
  ) {
    super(code, message, options);
    this.name = 'DownloadError';
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** An answer whose body has not been read yet. `end` drops the connection. */
export interface OpenAnswer {
  readonly status: 200 | 206 | 416;
  /** Of the server that gave the answer. */
  readonly host: string;
  readonly etag: string | undefined;
  readonly contentRange: string | undefined;
  readonly contentLength: number | undefined;
  readonly body: AsyncIterable<Buffer>;
  readonly end: () => Promise<void>;
}

/** GitHub takes one; mirrors in front of object stores two. */
const maxRedirects = 5;
/** Longer is not waited for, whatever the server says. */
const maxRetryAfterMs = 3_600_000;
/** What this host trusts, with the CAs that its administrator added; without the file it is what Node.js brings along. */
const hostBundle = '/etc/ssl/certs/ca-certificates.crt';

/**
 * Asks for `url`, from a byte on if `headers` say so. Throws DownloadError `unreachable`, `redirects`, `not-found`, `refused`,
 * `busy` (with the server's Retry-After) or `encoded`. `signal` ends it, and the reading of the body.
 */
export async function openAnswer(
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
  caFile: string = hostBundle,
): Promise<OpenAnswer> {
  const bundle = await readFileBytes(caFile, 4 * 1024 * 1024);
  const ca = bundle.kind === 'present' ? { ca: bundle.bytes.toString('latin1') } : {};
  const agent = new Agent({
    pipelining: 0,
    connect: { timeout: 0, ...ca },
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 16_384,
  });
  try {
    let target = new URL(url);
    for (let hop = 0; hop <= maxRedirects; hop += 1) {
      const answer = await getOnce(agent, target, headers, signal);
      if (answer.redirect === undefined) return { ...answer.open, end: () => agent.destroy() };
      target = nextTarget(target, answer.redirect);
    }
    throw new DownloadError('redirects', `${new URL(url).host} redirects more than ${maxRedirects} times`);
  } catch (error) {
    await agent.destroy();
    throw error;
  }
}

type Got =
  | { readonly redirect: string; readonly open?: undefined }
  | { readonly redirect?: undefined; readonly open: Omit<OpenAnswer, 'end'> };

async function getOnce(
  agent: InstanceType<typeof Agent>,
  target: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Got> {
  const { host } = target;
  const answer = await ask(agent, target, headers, signal);
  const { statusCode: status, body } = answer;
  const header = (name: string) => {
    const value = answer.headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  if (status === 200 || status === 206 || status === 416) {
    const encoding = header('content-encoding') ?? 'identity';
    if (encoding !== 'identity') {
      body.on('error', () => undefined).destroy();
      throw new DownloadError(
        'encoded',
        `${host} sends the file ${encoding}-encoded, which was not asked for`,
      );
    }
    const length = header('content-length');
    return {
      open: {
        status,
        host,
        etag: header('etag'),
        contentRange: header('content-range'),
        contentLength: length === undefined ? undefined : Number(length),
        body,
      },
    };
  }
  body.on('error', () => undefined).destroy();
  const location = header('location');
  if ([301, 302, 303, 307, 308].includes(status) && location !== undefined) return { redirect: location };
  throw refusal(status, host, header('retry-after'));
}

async function ask(
  agent: InstanceType<typeof Agent>,
  { origin, pathname, search, host }: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
) {
  try {
    return await request.call(agent, {
      origin,
      path: pathname + search,
      method: 'GET',
      headers: { 'user-agent': 'mooring', 'accept-encoding': 'identity', ...headers },
      signal,
    });
  } catch (error) {
    throw new DownloadError('unreachable', `${host}: ${causeOf(error)}`, { cause: error });
  }
}

/** Where a redirect leads. Throws where that is not followed. */
function nextTarget(from: URL, location: string): URL {
  const next = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  const isHttp = next?.protocol === 'https:' || (next?.protocol === 'http:' && from.protocol === 'http:');
  if (next === undefined || !isHttp || next.username !== '' || next.password !== '') {
    const where = next === undefined ? 'something that is no URL' : `${next.protocol}//${next.host}`;
    throw new DownloadError('redirects', `${from.host} redirects to ${where}, which is not followed`);
  }
  return next;
}

function refusal(status: number, host: string, retryAfter: string | undefined): DownloadError {
  const words = `${host} answers with status ${status}`;
  if (status === 404 || status === 410) return new DownloadError('not-found', words);
  if (status === 429 || status >= 500) {
    const retryAfterMs = parseRetryAfter(retryAfter, Date.now());
    return new DownloadError('busy', words, retryAfterMs === undefined ? {} : { retryAfterMs });
  }
  return new DownloadError('refused', words);
}

/** Seconds or an HTTP date (RFC 9110, 10.2.3), as ms from `nowMs` (Unix time) on, an hour at most; undefined where it is neither. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value)) return Math.min(Number(value) * 1000, maxRetryAfterMs);
  // A date begins with the day's name; Date.parse takes numbers for years.
  const waitMs = /^[A-Z]/i.test(value) ? Date.parse(value) - nowMs : Number.NaN;
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(waitMs, 0), maxRetryAfterMs);
}
