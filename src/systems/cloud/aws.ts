/**
 * AWS' instance metadata service, version 2 (IMDSv2: a session token first, then questions with it).
 *
 * Always true here: 404 means that a fact does not exist; any other failure fails the whole answer, so a half of one is
 * never taken for all there is. The session token is kept over questions and renewed when it is refused.
 */
import { codeOf, messageOf, SystemError } from '../error.ts';
import type { HttpAnswer, HttpClient } from '../http.ts';
import { checkFacts, isToken } from './facts.ts';
import type { CloudFacts } from './types.ts';

/** How to ask. */
export interface AwsOptions {
  readonly http: HttpClient;
  /** Tried in this order until one gives a session token; the one that did is tried first from then on. */
  readonly baseUrls: readonly string[];
  /** For each request. */
  readonly deadlineMs: number;
  /** Before the second and third attempt at a request that was throttled or met a fault; `attempt` counts from 0. */
  readonly pause: (attempt: number) => Promise<void>;
  /** Told of the instance id as soon as it is known, also where the rest of the answer fails. */
  readonly onInstanceId: (instanceId: string) => Promise<void>;
}

/** Asks for everything. Throws SystemError `cloud-unavailable`, or `cloud-malformed` naming the fact that is none. */
export type AskAws = () => Promise<CloudFacts>;

const maxBytes = 4096;
const tokenSeconds = '21600';
const attempts = 3;

const worthRepeating = (status: number) => status === 429 || status >= 500;

/** A client that remembers its session token and the address that works. */
export function createAws(options: AwsOptions): AskAws {
  const { http, deadlineMs, pause } = options;
  let session: { readonly baseUrl: string; readonly token: string } | undefined;
  let preferred: string | undefined;

  const unavailable = (message: string, cause?: unknown) =>
    new SystemError('cloud-unavailable', `the AWS metadata service ${message}`, { cause });

  /** One request, repeated while the service says that it is busy or at fault. */
  async function ask(
    method: 'GET' | 'PUT',
    url: string,
    headers: Record<string, string>,
  ): Promise<HttpAnswer> {
    for (let attempt = 0; ; attempt++) {
      const answer = await http
        .ask({ method, url, headers, deadlineMs, maxBytes })
        .catch((error: unknown) => {
          throw unavailable(`at ${new URL(url).origin}: ${messageOf(error)}`, error);
        });
      if (!worthRepeating(answer.status) || attempt + 1 >= attempts) return answer;
      await pause(attempt);
    }
  }

  async function openSession(): Promise<{ readonly baseUrl: string; readonly token: string }> {
    const order = [preferred, ...options.baseUrls.filter((url) => url !== preferred)];
    let lastError: unknown = unavailable('has no address');
    for (const baseUrl of order) {
      if (baseUrl === undefined) continue;
      try {
        const { status, text } = await ask('PUT', `${baseUrl}/latest/api/token`, {
          'X-aws-ec2-metadata-token-ttl-seconds': tokenSeconds,
        });
        if (status === 200 && /^[\x21-\x7e]{1,1024}$/.test(text)) {
          preferred = baseUrl;
          return { baseUrl, token: text };
        }
        lastError =
          status === 403
            ? unavailable('is switched off for this instance (HttpEndpoint)')
            : unavailable(`gives no session token (status ${status})`);
      } catch (error) {
        lastError = error;
      }
    }
    throw lastError;
  }

  /** One fact, undefined where there is none. A refused session token is renewed once. */
  async function fact(path: string): Promise<string | undefined> {
    for (let renewed = false; ; renewed = true) {
      session ??= await openSession();
      const { status, text } = await ask('GET', `${session.baseUrl}/latest/meta-data/${path}`, {
        'X-aws-ec2-metadata-token': session.token,
      });
      if (status === 200) return text.trim();
      if (status === 404) return undefined;
      if (status !== 401 || renewed) throw unavailable(`answers ${path} with status ${status}`);
      session = undefined;
    }
  }

  async function askAll(): Promise<CloudFacts> {
    const instanceId = await fact('instance-id');
    if (instanceId !== undefined && isToken(instanceId)) await options.onInstanceId(instanceId);
    const answer = {
      provider: 'aws',
      instanceId,
      instanceType: await fact('instance-type'),
      region: await fact('placement/region'),
      zone: await fact('placement/availability-zone'),
      publicIpv4: await fact('public-ipv4'),
      publicIpv6: await fact('ipv6'),
    };
    const checked = checkFacts(answer);
    if (checked.kind === 'valid') return checked.facts;
    throw new SystemError('cloud-malformed', `the AWS metadata service gives no valid ${checked.field}`);
  }

  return async () => {
    try {
      return await askAll();
    } catch (error) {
      // The next question starts over: the service may have moved to its other address.
      if (codeOf(error) === 'cloud-unavailable') session = undefined;
      throw error;
    }
  };
}
