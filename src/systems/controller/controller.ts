/**
 * Asks a network's controller about this node's membership, and changes it.
 *
 * Always true here: nobody is asked unless a verb is called; the token is read anew for each question, goes into one header, to
 * the configured controller and nowhere else, and appears in no error; redirects are not followed; a controller that asks for
 * quiet (429) is left alone by whoever heeds the reading. Certificates are judged by what this host trusts.
 */
import { parseRetryAfter } from '../download/answer.ts';
import { messageOf, SystemError } from '../error.ts';
import { readFileBytes } from '../files/atomic.ts';
import { loadJson } from '../files/json-file.ts';
import { readSecret } from '../files/secret.ts';
import { createHttpClient, type HttpAnswer, type HttpQuestion } from '../http.ts';
import { centralDialect, type Dialect, localDialect, type Told } from './decode.ts';
import type { Controller, MemberReading } from './types.ts';

export interface ControllerOptions {
  /** `central`, or the URL of a controller's own API; undefined where the config names none. */
  readonly controller: string | undefined;
  /** Undefined where the token is a credential that was not passed on. */
  readonly tokenPath: string | undefined;
  /** Monotonic ms. */
  readonly now: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** Where the node's own de-authorisations are noted, by network: Unix ms as the controller has them. */
  readonly leftFile?: string;
  readonly deadlineMs?: number;
  readonly centralUrl?: string;
  /** What this host trusts, in PEM. */
  readonly hostBundle?: string;
}

const maxBytes = 256 * 1024;
/** Without a Retry-After, and at most; Central counts by the second. */
const quietMs = { usual: 30_000, most: 3_600_000 };

export function createController(options: ControllerOptions): Controller {
  const { now, random, deadlineMs = 10_000 } = options;
  const members: Record<string, MemberReading> = {};
  let quietUntilMs: number | undefined;

  function dialect(): Dialect {
    const { controller } = options;
    if (controller === undefined)
      throw new SystemError('controller-unexpected', 'no controller is configured');
    return controller === 'central' ? centralDialect(options.centralUrl) : localDialect(controller);
  }

  async function token(): Promise<string> {
    if (options.tokenPath === undefined)
      throw new SystemError(
        'controller-no-token',
        'the systemd credential for the token was not passed to mooring; add LoadCredential= to mooring.service',
      );
    try {
      const { text } = await readSecret(options.tokenPath);
      if (/^[\x21-\x7e]{1,1024}$/.test(text)) return text;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      throw new SystemError('controller-no-token', error.message, { cause: error });
    }
    throw new SystemError('controller-no-token', `${options.tokenPath} does not hold an API token`);
  }

  /** One question; network failures are `controller-away`. A client a question: its certificates go with it. */
  async function ask(
    question: Pick<HttpQuestion, 'method' | 'url' | 'headers' | 'body'>,
  ): Promise<HttpAnswer> {
    const http = createHttpClient(
      question.url.startsWith('https:') ? { ca: await hostBundle(options.hostBundle) } : {},
    );
    try {
      return await http.ask({ ...question, deadlineMs, maxBytes });
    } catch (error) {
      throw new SystemError('controller-away', messageOf(error), { cause: error });
    } finally {
      await http.close();
    }
  }

  /** The answer's text where it is good; throws for every other status but 404. */
  function judge(answer: HttpAnswer): string {
    const { status } = answer;
    if (status === 200) return answer.text;
    if (status === 401 || status === 403)
      throw new SystemError('controller-refused', `it refuses the token (status ${status})`);
    if (status === 429) {
      const waitMs = Math.min(
        quietMs.most,
        parseRetryAfter(answer.header('retry-after'), Date.now()) ?? quietMs.usual,
      );
      // Spread, since it may have told many the same.
      quietUntilMs = now() + Math.round(waitMs * (1 + random() / 2));
      throw new SystemError('controller-busy', 'it is asked too often (status 429)');
    }
    throw new SystemError(
      status >= 500 ? 'controller-away' : 'controller-unexpected',
      `it answers with status ${status}`,
    );
  }

  /** Whether it has the network at all: a member and a network that it does not know are answered alike. */
  async function needNetwork(spoken: Dialect, headers: Readonly<Record<string, string>>, networkId: string) {
    const answer = await ask({ method: 'GET', url: spoken.networkUrl(networkId), headers });
    if (answer.status === 404)
      throw new SystemError(
        'controller-not-found',
        `it has no network ${networkId}, or none that this token may see`,
      );
    judge(answer);
  }

  async function note(networkId: string, told: Told): Promise<void> {
    const left = options.leftFile === undefined ? undefined : await loadJson(options.leftFile);
    const leftMs = typeof left === 'object' && left !== null ? Object.entries(left) : [];
    const hasLeft = leftMs.some(
      ([id, ms]) => id === networkId && !told.authorized && ms !== 0 && ms === told.lastDeauthorizedMs,
    );
    members[networkId] = { kind: 'known', atMs: now(), member: { ...told, hasLeft } };
  }

  return {
    read: () => ({ members: { ...members }, quietUntilMs }),
    async look(networkId, address) {
      const spoken = dialect();
      const headers = spoken.headers(await token());
      const answer = await ask({ method: 'GET', url: spoken.memberUrl(networkId, address), headers });
      if (answer.status === 404) {
        await needNetwork(spoken, headers, networkId);
        members[networkId] = { kind: 'absent', atMs: now() };
        return;
      }
      await note(networkId, spoken.decode(judge(answer), address));
    },
    async change(networkId, address, change) {
      const spoken = dialect();
      const headers = { ...spoken.headers(await token()), 'Content-Type': 'application/json' };
      const body = JSON.stringify(spoken.body(change));
      const answer = await ask({ method: 'POST', url: spoken.memberUrl(networkId, address), headers, body });
      if (answer.status === 404)
        throw new SystemError('controller-not-found', `it has no network ${networkId} for this token`);
      await note(networkId, spoken.decode(judge(answer), address));
    },
  };
}

/** What this host trusts; undefined, and so what Node.js brings along, where there is no such file. */
async function hostBundle(path = '/etc/ssl/certs/ca-certificates.crt'): Promise<string | undefined> {
  const read = await readFileBytes(path, 4 * 1024 * 1024);
  return read.kind === 'present' ? read.bytes.toString('latin1') : undefined;
}
