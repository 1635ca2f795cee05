/**
 * Questions to a metadata service. Always true here: a request has a deadline and its answer a size limit; one that was throttled or
 * met a fault is repeated twice, with a pause; whatever fails is a SystemError `cloud-unavailable` that names the service.
 */
import { messageOf, SystemError } from '../error.ts';
import type { HttpAnswer, HttpClient } from '../http.ts';

/** How to ask one service. */
export interface QuestionOptions {
  readonly http: HttpClient;
  /** For messages, such as `AWS`. */
  readonly name: string;
  /** For each request. */
  readonly deadlineMs: number;
  /** Before the second and third attempt at a request that was throttled or met a fault; `attempt` counts from 0. */
  readonly pause: (attempt: number) => Promise<void>;
}

/** One request. */
export interface Question {
  readonly method?: 'GET' | 'PUT';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of the usual deadline, for an answer that is meant to take long. */
  readonly deadlineMs?: number;
  readonly maxBytes?: number;
}

/** Asks one service. */
export interface Questions {
  /** The answer, of whatever status. Throws `cloud-unavailable`. */
  ask(question: Question): Promise<HttpAnswer>;
  /** The text of an answer with status 200, undefined for 404. Throws `cloud-unavailable` for any other. */
  text(question: Question): Promise<string | undefined>;
  /** What `text` holds as JSON. Throws `cloud-unavailable` where it is absent, `cloud-malformed` where it is no JSON. */
  json(question: Question): Promise<unknown>;
  /** An error of this service; `message` is the rest of the sentence. */
  unavailable(message: string, cause?: unknown): SystemError;
  malformed(message: string): SystemError;
}

/** More than any single fact; whole documents have limits of their own. */
const factBytes = 4096;
/** More than any metadata document without user data. */
export const documentBytes = 256 * 1024;
const attempts = 3;

const worthRepeating = (status: number) => status === 429 || status >= 500;

export function createQuestions(options: QuestionOptions): Questions {
  const { http, name, pause } = options;
  const unavailable = (message: string, cause?: unknown) =>
    new SystemError('cloud-unavailable', `the ${name} metadata service ${message}`, { cause });
  const malformed = (message: string) =>
    new SystemError('cloud-malformed', `the ${name} metadata service ${message}`);
  const pathOf = (url: string) => new URL(url).pathname;

  async function ask(question: Question): Promise<HttpAnswer> {
    const { method = 'GET', url, headers = {}, maxBytes = factBytes } = question;
    const deadlineMs = question.deadlineMs ?? options.deadlineMs;
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

  async function text(question: Question): Promise<string | undefined> {
    const answer = await ask(question);
    if (answer.status === 200) return answer.text.trim();
    if (answer.status === 404) return undefined;
    throw unavailable(`answers ${pathOf(question.url)} with status ${answer.status}`);
  }

  async function json(question: Question): Promise<unknown> {
    const told = await text({ maxBytes: documentBytes, ...question });
    if (told === undefined) throw unavailable(`answers ${pathOf(question.url)} with status 404`);
    try {
      return JSON.parse(told);
    } catch {
      throw malformed(`answers ${pathOf(question.url)} with something that is no JSON`);
    }
  }

  return { ask, text, json, unavailable, malformed };
}
