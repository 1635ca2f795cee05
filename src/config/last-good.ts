/**
 * The config that was accepted last, in a form that survives on disk, and the choice between it and a fresh one. The
 * texts are kept, so that they are read with the schema of the day; the result is kept beside them for the day on which
 * a stricter schema refuses the very texts that the node is running on.
 */
import { createHash } from 'node:crypto';
import { type ConfigResult, parseConfig } from './parse.ts';
import { formatProblem } from './problem.ts';
import type { Config } from './schema.ts';
import type { ConfigSource } from './source.ts';
import { adoptStoredConfig } from './stored-config.ts';

const format = 'mooring last good config';

/** What is kept from earlier. */
export type LastGood =
  | { readonly kind: 'absent' }
  /** Truncated, altered, or of another version's making; never in force. */
  | { readonly kind: 'corrupt'; readonly error: string }
  | { readonly kind: 'usable'; readonly config: Config; readonly sources: readonly ConfigSource[] };

/** A fresh config: parsed, or not even readable. */
export type FreshConfig = ConfigResult | { readonly kind: 'unreadable'; readonly error: string };

/** Which config rules. `problems` are messages for the condition ConfigAccepted. */
export type ConfigChoice =
  | { readonly kind: 'fresh'; readonly config: Config }
  | { readonly kind: 'last-good'; readonly config: Config; readonly problems: readonly string[] }
  /** Nothing to run on: exit 78. */
  | { readonly kind: 'none'; readonly problems: readonly string[] };

/** The text to keep once `config`, made from `sources`, is in force. The file is for root alone, as its sources are. */
export function serializeLastGood(sources: readonly ConfigSource[], config: Config): string {
  const body = { sources: sources.map(({ path, text }) => ({ path, text })), config };
  return `${JSON.stringify({ format, sha256: digest(body), ...body }, null, 2)}\n`;
}

/** @param text the kept text, undefined where there is none */
export function parseLastGood(text: string | undefined): LastGood {
  if (text === undefined) return { kind: 'absent' };
  const kept = readKept(text);
  if (typeof kept === 'string') return { kind: 'corrupt', error: kept };
  const result = parseConfig(kept.sources);
  const config = result.ok ? result.config : adoptStoredConfig(kept.config);
  if (config) return { kind: 'usable', config, sources: kept.sources };
  return {
    kind: 'corrupt',
    error: 'the last good config was written for another version and cannot be used',
  };
}

/** Which of the two is in force, and what to say about it. */
export function chooseConfig(fresh: FreshConfig, lastGood: LastGood): ConfigChoice {
  if ('ok' in fresh && fresh.ok) return { kind: 'fresh', config: fresh.config };
  const problems = 'ok' in fresh ? fresh.problems.map(formatProblem) : [fresh.error];
  switch (lastGood.kind) {
    case 'usable':
      return { kind: 'last-good', config: lastGood.config, problems };
    case 'corrupt':
      return { kind: 'none', problems: [...problems, lastGood.error] };
    case 'absent':
      return { kind: 'none', problems };
    default:
      return lastGood satisfies never;
  }
}

interface Kept {
  readonly sources: readonly ConfigSource[];
  readonly config: unknown;
}

/** What was kept, or why it cannot be believed. */
function readKept(text: string): Kept | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'the last good config is not complete JSON; it was cut short or altered';
  }
  if (!hasKeys(value, ['format', 'sha256', 'sources', 'config']) || value['format'] !== format)
    return 'the last good config has another format';
  const { sha256, sources, config } = value;
  if (!Array.isArray(sources) || sources.length === 0 || !sources.every(isSource))
    return 'the last good config holds no sources';
  if (digest({ sources, config }) !== sha256)
    return 'the last good config was altered: its hash does not fit';
  return { sources, config };
}

function digest(body: Kept): string {
  return createHash('sha256')
    .update(JSON.stringify([body.sources.map(({ path, text }) => [path, text]), body.config]))
    .digest('hex');
}

function hasKeys<K extends string>(value: unknown, keys: readonly K[]): value is Record<K, unknown> {
  return typeof value === 'object' && value !== null && keys.every((key) => Object.hasOwn(value, key));
}

function isSource(value: unknown): value is ConfigSource {
  return hasKeys(value, ['path', 'text']) && typeof value.path === 'string' && typeof value.text === 'string';
}
