/** Reads the config from disk and chooses between it and the last good one, which a bad new one never replaces. */
import { chooseConfig, type FreshConfig, parseLastGood, serializeLastGood } from '../config/last-good.ts';
import { parseConfig } from '../config/parse.ts';
import type { Config } from '../config/schema.ts';
import { messageOf } from '../systems/error.ts';
import { readFileText, writeFileAtomic } from '../systems/files/atomic.ts';
import { type ConfigSource, readConfigSources } from '../systems/files/config-sources.ts';
import type { Log } from '../systems/log.ts';
import { paths } from './paths.ts';

/** Which config rules. `problems` are messages for people. */
export type LoadedConfig =
  | { readonly kind: 'accepted'; readonly config: Config; readonly sources: readonly ConfigSource[] }
  | { readonly kind: 'last-good'; readonly config: Config; readonly problems: readonly string[] }
  | { readonly kind: 'none'; readonly problems: readonly string[] };

const maxLastGoodBytes = 16 * 1024 * 1024;

export async function loadConfig(configFile: string): Promise<LoadedConfig> {
  let sources: readonly ConfigSource[] = [];
  let fresh: FreshConfig;
  try {
    sources = await readConfigSources(configFile);
    fresh = parseConfig(sources);
  } catch (error) {
    fresh = { kind: 'unreadable', error: messageOf(error) };
  }
  if ('ok' in fresh && fresh.ok) return { kind: 'accepted', config: fresh.config, sources };
  const kept = await readFileText(paths.lastGood, maxLastGoodBytes);
  const choice = chooseConfig(fresh, parseLastGood(kept.kind === 'present' ? kept.text : undefined));
  return choice.kind === 'fresh' ? { ...choice, kind: 'accepted', sources } : choice;
}

/** Keeps an accepted config for the day on which the one on disk is not acceptable. A failure is told, not fatal. */
export async function keepLastGood(
  loaded: { config: Config; sources: readonly ConfigSource[] },
  log: Log,
): Promise<void> {
  try {
    await writeFileAtomic(paths.lastGood, serializeLastGood(loaded.sources, loaded.config), { mode: 0o600 });
  } catch (error) {
    log('warning', `the accepted config could not be kept as the last good one: ${messageOf(error)}`);
  }
}
