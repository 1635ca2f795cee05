/**
 * Asks the k3s server whether it is there and whether it is the one that the token names, before which k3s itself sends
 * nothing either: the CA bundle of `/cacerts` has the token's hash, and the server's certificate is valid by that bundle.
 *
 * Always true here: the token is read anew each time and none of it leaves this file; one deadline covers a question, the
 * look-up of the name included; a bundle once verified is kept, so that a question in calm times is one connection.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { SecureContext } from 'node:tls';
import { codeOf, messageOf, SystemError } from '../error.ts';
import { readFileBytes } from '../files/atomic.ts';
import { readSecret } from '../files/secret.ts';
import { caHash, tokenCaHash } from './ca-hash.ts';
import { getOverTls, judgeOf, ProbeError, type TlsAnswer } from './tls-get.ts';
import type { ServerReading } from './types.ts';

export interface ServerOptions {
  /** `https://host[:port]`. */
  readonly server: string;
  /** Undefined where the token is a credential that was not passed on. */
  readonly tokenPath: string | undefined;
  readonly deadlineMs: number;
  /** What this host trusts, in PEM; a server that it vouches for needs no hash. */
  readonly hostBundle?: string;
}

type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;
/** One answer: a reading without its times. */
export type ServerAnswer = Without<Exclude<ServerReading, { kind: 'unprobed' }>, 'atMs' | 'sinceMs'>;

/** Asks once; `ending` ends it early. Never throws for what the other side does. */
export type AskServer = (ending: AbortSignal) => Promise<ServerAnswer>;

type Address = { readonly address: string; readonly family: number };
const maxBundleBytes = 256 * 1024;
const maxPongBytes = 1024;

export function createAskServer(options: ServerOptions): AskServer {
  const url = new URL(options.server);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? 443 : Number(url.port);
  /** The CAs that stood for this hash. */
  let anchors: { readonly hash: string; readonly judge: SecureContext } | undefined;
  /** Trusts nobody. */
  let nobody: SecureContext | undefined;
  /** A look-up cannot be ended; while one hangs there is no second, which would take another thread. */
  let lookingUp: Promise<readonly Address[]> | undefined;

  async function addressesOf(signal: AbortSignal): Promise<readonly Address[]> {
    if (isIP(host) !== 0) return [{ address: host, family: isIP(host) }];
    lookingUp ??= lookup(host, { all: true }).finally(() => {
      lookingUp = undefined;
    });
    try {
      return await unlessAborted(lookingUp, signal);
    } catch (error) {
      const isUnknown = codeOf(error) === 'ENOTFOUND';
      const silent = signal.aborted ? 'its name was not looked up in time' : 'its name cannot be looked up';
      throw new ProbeError('dns', isUnknown ? `nobody knows the name ${host}` : silent, false, {
        cause: error,
      });
    }
  }

  async function ask(signal: AbortSignal): Promise<ServerAnswer> {
    const wanted = await wantedHash(options.tokenPath);
    const addresses = await addressesOf(signal);
    nobody ??= judgeOf([]);
    const get = (path: string, judge: SecureContext, maxBytes: number) =>
      getOverTls({ host, port, addresses, path, judge, maxBytes, signal });
    const ping = async (judge: SecureContext) => {
      const startedMs = performance.now();
      const answer = await get('/ping', judge, maxPongBytes);
      return { answer, latencyMs: Math.round(performance.now() - startedMs) };
    };
    if (wanted.kind !== 'hash') {
      const { answer, latencyMs } = await ping(nobody);
      needPong(answer);
      return { kind: 'reachable', trust: wanted.kind, latencyMs };
    }
    if (anchors?.hash === wanted.hash) {
      const { answer, latencyMs } = await ping(anchors.judge);
      if (answer.distrust === undefined) {
        needPong(answer);
        return { kind: 'reachable', trust: 'verified', latencyMs };
      }
    }
    anchors = undefined;
    const bundle = needStatus(await get('/cacerts', nobody, maxBundleBytes), '/cacerts');
    const isNamed = caHash(bundle) === wanted.hash;
    const ca = isNamed ? bundle.toString('latin1') : await hostBundle(options.hostBundle);
    const judge = judgeBy(ca) ?? nobody;
    const { answer, latencyMs } = await ping(judge);
    if (answer.distrust !== undefined)
      return isNamed
        ? { kind: 'untrusted', reason: 'certificate', error: answer.distrust }
        : { kind: 'untrusted', reason: 'ca', error: 'its CA is not the one that the token names' };
    needPong(answer);
    anchors = { hash: wanted.hash, judge };
    return { kind: 'reachable', trust: 'verified', latencyMs };
  }

  return async (ending) => {
    const deadline = new AbortController();
    const giveUp = () => deadline.abort();
    const timer = setTimeout(giveUp, options.deadlineMs);
    ending.addEventListener('abort', giveUp, { once: true });
    if (ending.aborted) giveUp();
    try {
      return await ask(deadline.signal);
    } catch (error) {
      if (!(error instanceof ProbeError)) throw error;
      const { stage, heard, message } = error;
      const words = deadline.signal.aborted ? `no answer within ${options.deadlineMs} ms` : message;
      return { kind: 'unreachable', stage, heard, error: words };
    } finally {
      clearTimeout(timer);
      ending.removeEventListener('abort', giveUp);
    }
  };
}

/** What `work` comes to, or an error once `signal` is aborted. Leaves nothing behind on the signal. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const fail = () => reject(new Error('no answer in time'));
  signal.addEventListener('abort', fail, { once: true });
  if (signal.aborted) fail();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', fail);
  }
}

type WantedHash =
  | { readonly kind: 'hash'; readonly hash: string }
  | { readonly kind: 'no-hash' }
  | { readonly kind: 'no-token' };

async function wantedHash(path: string | undefined): Promise<WantedHash> {
  if (path === undefined) return { kind: 'no-token' };
  try {
    const hash = tokenCaHash((await readSecret(path)).text);
    return hash === undefined ? { kind: 'no-hash' } : { kind: 'hash', hash };
  } catch (error) {
    if (!(error instanceof SystemError)) throw new Error(`the token: ${messageOf(error)}`, { cause: error });
    return { kind: 'no-token' };
  }
}

function needStatus(answer: TlsAnswer, path: string): Buffer {
  if (answer.status === 200) return answer.body;
  throw new ProbeError('http', `it answers ${path} with status ${answer.status}`, true);
}

function needPong(answer: TlsAnswer): void {
  if (needStatus(answer, '/ping').toString('latin1').trim() === 'pong') return;
  throw new ProbeError('http', 'it answers /ping with something else than k3s does', true);
}

/** Undefined where there is none, or it is damaged. */
function judgeBy(ca: string | undefined): SecureContext | undefined {
  try {
    return ca === undefined ? undefined : judgeOf([ca]);
  } catch {
    return undefined;
  }
}

/** What this host trusts; undefined where there is no such file. */
async function hostBundle(path = '/etc/ssl/certs/ca-certificates.crt'): Promise<string | undefined> {
  const read = await readFileBytes(path, 4 * 1024 * 1024);
  return read.kind === 'present' ? read.bytes.toString('latin1') : undefined;
}
