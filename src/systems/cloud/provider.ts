/**
 * What the clouds have in common: how one is asked, and how a document of unknown shape is read. Anything may stand in such a document,
 * so a field of another kind than wanted counts as absent, and what is left is judged by facts.ts.
 */
import type { Questions } from './questions.ts';
import type { CloudFacts, CloudName } from './types.ts';

/** What a provider is made from. */
export interface ProviderOptions {
  readonly questions: Questions;
  /** Without a path; tried in this order. */
  readonly baseUrls: readonly string[];
  /** Tags whose key begins with this are wanted; none where undefined. */
  readonly tagPrefix: string | undefined;
  /** Told of the instance id as soon as it is known, also where the rest of the answer fails. */
  readonly onInstanceId: (instanceId: string) => Promise<void>;
}

/** What a cloud says, before it is judged. */
export type Told = { readonly [Name in Exclude<keyof CloudFacts, 'provider' | 'tags'>]: unknown } & {
  readonly provider: CloudName;
  readonly tags: TagsTold;
};

/** The tags, or why there are none. */
export type TagsTold =
  | { readonly kind: 'not-wanted' }
  | { readonly kind: 'told'; readonly tags: Readonly<Record<string, string>> }
  | { readonly kind: 'unavailable'; readonly error: string };

/** One cloud's metadata service. */
export interface Provider {
  /** Asks for everything. Throws SystemError `cloud-unavailable` or `cloud-malformed`. */
  ask(): Promise<Told>;
  /** Resolves with true as soon as something may have changed, with false after `mostMs` or where the service cannot tell. */
  readonly waitForChange?: (mostMs: number) => Promise<boolean>;
}

const maxTags = 64;
/** A label's value has 63 characters at most; one that was cut here is told to be too long later. */
const maxTagLength = 256;

/** The tags that are wanted, bounded: by key, 64 at most. */
export function wantedTags(
  prefix: string | undefined,
  pairs: Iterable<readonly [key: string, value: string]>,
): TagsTold {
  if (prefix === undefined) return { kind: 'not-wanted' };
  const wanted = [...pairs]
    .filter(([key]) => key.startsWith(prefix))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, maxTags)
    .map(([key, value]) => [key.slice(0, maxTagLength), value.slice(0, maxTagLength)] as const);
  return { kind: 'told', tags: Object.fromEntries(wanted) };
}

/** What stands at this path of a document; undefined where nothing does. */
export function dig(document: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key)
        ? Reflect.get(value, key)
        : undefined,
    document,
  );
}

/** The text, or the number as text, at this path; undefined where there is neither, or it is empty. */
export function digText(document: unknown, ...path: readonly (string | number)[]): string | undefined {
  const value = dig(document, ...path);
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
}

/** The list at this path; empty where there is none. */
export function digList(document: unknown, ...path: readonly (string | number)[]): readonly unknown[] {
  const value = dig(document, ...path);
  return Array.isArray(value) ? value : [];
}

/** Whether an IPv6 address may be reached from the internet (2000::/3): not link-local, not unique-local. */
export const isGlobalIpv6 = (text: string): boolean => /^[23][0-9a-f]{3}:/i.test(text);
