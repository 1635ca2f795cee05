/**
 * An instance's tags from EC2's API. The SDK for that takes more memory than all of mooring, so it runs in a child that ends with its
 * answer (aws-tags-program.ts, a bundle of its own).
 *
 * Always true here: EC2 is asked at long intervals; the child has a deadline, its output a size limit and its environment nothing but what
 * is named below. Its credentials are the instance's role, which the SDK fetches itself: they never pass through here.
 */
import { execa } from 'execa';
import { messageOf, SystemError } from '../error.ts';

/** Whose tags, and how to get at AWS. */
export interface Ec2Instance {
  readonly instanceId: string;
  readonly region: string;
  /** The instance reaches its metadata service by IPv6 only. */
  readonly isIpv6: boolean;
}

/** Asks EC2, or remembers what it said. */
export interface AwsTags {
  /** All tags of the instance. Throws SystemError `cloud-unavailable`, also for a failure that was not long ago. */
  read(instance: Ec2Instance): Promise<Readonly<Record<string, string>>>;
}

/** How to run the child. */
export interface AwsTagsOptions {
  readonly command: readonly [program: string, ...words: string[]];
  /** Some of these are handed on: `passedOn`. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Ends the child. */
  readonly signal: AbortSignal;
  /** Monotonic, ms. */
  readonly now: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly deadlineMs?: number;
  readonly calmMs?: number;
  readonly retryMs?: number;
}

/** What of the environment the child gets: where AWS is, as the SDK's guide calls it, and Node.js' cache. No secret goes this way. */
const passedOn = [
  'AWS_ENDPOINT_URL_EC2',
  'AWS_EC2_METADATA_SERVICE_ENDPOINT',
  'AWS_CA_BUNDLE',
  'NODE_COMPILE_CACHE',
];
/** Fifty tags of 128 and 256 characters, in any script. */
const maxOutputBytes = 128 * 1024;

/** Nothing is asked before the first `read`. */
export function createAwsTags(options: AwsTagsOptions): AwsTags {
  const { now, random, signal, deadlineMs = 15_000, calmMs = 900_000, retryMs = 120_000 } = options;
  let last:
    | {
        readonly key: string;
        readonly dueMs: number;
        readonly outcome: Readonly<Record<string, string>> | SystemError;
      }
    | undefined;

  async function ask({ instanceId, region, isIpv6 }: Ec2Instance): Promise<Readonly<Record<string, string>>> {
    const [program, ...words] = options.command;
    const handedOn = passedOn.flatMap((name) => {
      const value = options.environment[name];
      return value === undefined ? [] : [[name, value]];
    });
    const overIpv6 = isIpv6
      ? { AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: 'IPv6', AWS_USE_DUALSTACK_ENDPOINT: 'true' }
      : {};
    const { failed, timedOut, isMaxBuffer, stdout } = await execa(program, [...words, region, instanceId], {
      reject: false,
      extendEnv: false,
      env: { ...overIpv6, ...Object.fromEntries(handedOn) },
      stdin: 'ignore',
      stderr: 'ignore',
      timeout: deadlineMs,
      maxBuffer: maxOutputBytes,
      killSignal: 'SIGKILL',
      cancelSignal: signal,
    });
    if (timedOut) throw failure(`no answer within ${deadlineMs} ms`);
    if (isMaxBuffer) throw failure(`its answer is larger than ${maxOutputBytes} bytes`);
    const answer = parse(stdout);
    if (answer?.kind === 'tags' && !failed) return answer.tags;
    throw failure(answer?.kind === 'error' ? answer.error : 'the program that asks it failed');
  }

  return {
    async read(instance) {
      const key = JSON.stringify(instance);
      if (last === undefined || last.key !== key || now() >= last.dueMs) {
        const outcome = await ask(instance).catch((error: unknown) =>
          error instanceof SystemError ? error : failure(messageOf(error)),
        );
        const pauseMs = outcome instanceof SystemError ? retryMs : calmMs;
        // Full jitter over the upper half, so that a fleet booted at once spreads out.
        last = { key, outcome, dueMs: now() + pauseMs * (0.5 + random() / 2) };
      }
      if (last.outcome instanceof SystemError) throw last.outcome;
      return last.outcome;
    },
  };
}

function failure(message: string): SystemError {
  return new SystemError('cloud-unavailable', `EC2's API: ${message}`);
}

type ChildAnswer =
  | { readonly kind: 'tags'; readonly tags: Readonly<Record<string, string>> }
  | { readonly kind: 'error'; readonly error: string };

/** What the child printed: `{"tags": {…}}` or `{"error": "…"}`; undefined for anything else. */
function parse(text: string): ChildAnswer | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if ('error' in value && typeof value.error === 'string') return { kind: 'error', error: value.error };
  if (!('tags' in value) || typeof value.tags !== 'object' || value.tags === null) return undefined;
  const entries = Object.entries(value.tags).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return { kind: 'tags', tags: Object.fromEntries(entries) };
}
