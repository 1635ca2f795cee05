/**
 * zerotier-one's local API (as of 1.14).
 *
 * Always true here: a reading never throws for what zerotier-one does; each request has a deadline, and a call makes a second
 * round only where the token was refused and a newer one is there; the token goes into a header of a request to the local
 * API and nowhere else. A POST carries a body, since without one zerotier-one waits 5 s.
 */

import { messageOf, SystemError } from '../error.ts';
import { readSecret } from '../files/secret.ts';
import { createHttpClient, type HttpAnswer } from '../http.ts';
import { decodeReading, isNetworkAnswer, joinBody } from './decode.ts';
import type { ZeroTier, ZeroTierReading } from './types.ts';

/** How to reach it. */
export interface ZeroTierOptions {
  /** Holds the API token; undefined, absent or empty where zerotier-one has never started. */
  readonly tokenFile: string | undefined;
  readonly baseUrl?: string;
  readonly deadlineMs?: number;
}

const maxBytes = 1024 * 1024;

/** The client and its end. */
export interface ZeroTierClient extends ZeroTier {
  /** Ends what is under way. */
  close(): Promise<void>;
}

/** A client of the local API. No connection is made before the first call. */
export function createZeroTier(options: ZeroTierOptions): ZeroTierClient {
  const baseUrl = options.baseUrl ?? 'http://127.0.0.1:9993';
  const deadlineMs = options.deadlineMs ?? 2000;
  const http = createHttpClient();
  /** Kept until it is refused: the file is read again then, so a replaced token is picked up. */
  let token: string | undefined;

  /** Undefined where there is none yet. */
  async function readToken(): Promise<string | undefined> {
    if (options.tokenFile === undefined) return undefined;
    try {
      const { text } = await readSecret(options.tokenFile);
      if (!/^[\x21-\x7e]{1,256}$/.test(text)) {
        throw new SystemError('secret-malformed', `${options.tokenFile} does not hold a ZeroTier API token`);
      }
      return text;
    } catch (error) {
      const absent =
        error instanceof SystemError && (error.code === 'secret-missing' || error.code === 'secret-empty');
      if (absent) return undefined;
      throw error;
    }
  }

  /** One request with the given token. A network failure is `zerotier-unreachable`. */
  async function ask(
    auth: string,
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body?: string,
  ): Promise<HttpAnswer> {
    const headers = {
      'X-ZT1-Auth': auth,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    };
    try {
      const question = { method, url: baseUrl + path, headers, deadlineMs, maxBytes };
      return await http.ask(body === undefined ? question : { ...question, body });
    } catch (error) {
      throw new SystemError('zerotier-unreachable', `zerotier-one at ${baseUrl}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** Runs `attempt` with the token, and once more with a newer one if it is refused. */
  async function withToken<T>(
    attempt: (auth: string) => Promise<T | 'unauthorized'>,
  ): Promise<T | 'no-token' | 'unauthorized'> {
    token ??= await readToken();
    if (token === undefined) return 'no-token';
    const result = await attempt(token);
    if (result !== 'unauthorized') return result;
    const refused = token;
    token = await readToken();
    if (token === undefined) return 'no-token';
    const again = token === refused ? 'unauthorized' : await attempt(token);
    if (again === 'unauthorized') token = undefined;
    return again;
  }

  async function readOnce(auth: string): Promise<ZeroTierReading | 'unauthorized'> {
    const paths = ['/status', '/network', '/peer'];
    const answers = await Promise.all(paths.map((path) => ask(auth, 'GET', path)));
    const texts = answers.map((answer, index) => {
      if (answer.status === 401) return undefined;
      if (answer.status === 200) return answer.text;
      throw new SystemError(
        'zerotier-unexpected',
        `it answers ${paths[index]} with status ${answer.status}; another program may use its port`,
      );
    });
    const [status, network, peer] = texts;
    if (status === undefined || network === undefined || peer === undefined) return 'unauthorized';
    return decodeReading({ status, network, peer });
  }

  /** A verb's request; anything but 200 is an error. */
  async function act(method: 'GET' | 'POST' | 'DELETE', path: string, body?: string): Promise<string> {
    const answer = await withToken(async (auth) => {
      const got = await ask(auth, method, path, body);
      return got.status === 401 ? 'unauthorized' : got;
    });
    if (answer === 'no-token') {
      throw new SystemError(
        'zerotier-no-token',
        'zerotier-one has no API token yet; it makes one at its first start',
      );
    }
    if (answer === 'unauthorized') {
      throw new SystemError(
        'zerotier-unauthorized',
        'zerotier-one refuses the API token; restart mooring.service',
      );
    }
    if (answer.status !== 200) {
      throw new SystemError(
        'zerotier-unexpected',
        `zerotier-one answers ${path} with status ${answer.status}`,
      );
    }
    return answer.text;
  }

  function networkPath(networkId: string): string {
    if (/^[0-9a-f]{16}$/.test(networkId)) return `/network/${networkId}`;
    throw new SystemError('zerotier-bad-network', 'a ZeroTier network id has 16 lower-case hex digits');
  }

  async function joinWith(networkId: string, body: string): Promise<void> {
    if (isNetworkAnswer(await act('POST', networkPath(networkId), body), networkId)) return;
    throw new SystemError(
      'zerotier-join-refused',
      `zerotier-one could not make an interface for network ${networkId}; see that /dev/net/tun exists (modprobe tun) and what journalctl -u zerotier-one says`,
    );
  }

  return {
    async read() {
      try {
        const reading = await withToken(readOnce);
        return typeof reading === 'string' ? { kind: reading } : reading;
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        return { kind: 'unreachable', error: error.message };
      }
    },
    join: (networkId) => joinWith(networkId, '{}'),
    async rejoin(networkId) {
      const settings = joinBody(await act('GET', networkPath(networkId)), networkId);
      await act('DELETE', networkPath(networkId));
      await joinWith(networkId, settings);
    },
    async leave(networkId) {
      await act('DELETE', networkPath(networkId));
    },
    async setInterfacePrefixBlacklist(prefixes) {
      await act('POST', '/config/settings', JSON.stringify({ interfacePrefixBlacklist: prefixes }));
    },
    close: () => http.close(),
  };
}
