/**
 * ZeroTier's local.conf with the interface blacklist in it. Everything else in the file is the user's and stays, in its
 * order. ZeroTier exits when the file is not valid JSON and silently ignores a blacklist that is not a list, so what is
 * written is always a whole JSON object, and a lone string becomes a list.
 */

/** What to do with the file. */
export type LocalConfMerge =
  | { readonly kind: 'write'; readonly text: string }
  | { readonly kind: 'unchanged' }
  /** Not ours to repair; `error` says what a person should do. */
  | { readonly kind: 'invalid'; readonly error: string };

const blacklistKey = 'interfacePrefixBlacklist';

/**
 * Sets `settings.interfacePrefixBlacklist` to the user's entries followed by those of `prefixes` that are not among them.
 * @param existing the file's text; undefined where there is none
 */
export function mergeLocalConf(existing: string | undefined, prefixes: readonly string[]): LocalConfMerge {
  const isAbsent = existing === undefined || existing.trim() === '';
  const parsed = isAbsent ? {} : parse(existing);
  if (!isObject(parsed)) return invalid('local.conf is not a JSON object; ZeroTier does not start with it');
  const settings = Object.hasOwn(parsed, 'settings') ? parsed['settings'] : {};
  if (!isObject(settings)) return invalid('"settings" in local.conf is not an object');

  const present = Object.hasOwn(settings, blacklistKey) ? settings[blacklistKey] : undefined;
  const listed = listOf(present);
  if (!listed) return invalid(`"settings.${blacklistKey}" in local.conf is neither a list nor a string`);
  const missing = [...new Set(prefixes)].filter((prefix) => !listed.includes(prefix));
  if (Array.isArray(present) && missing.length === 0) return { kind: 'unchanged' };
  const merged = { ...parsed, settings: { ...settings, [blacklistKey]: [...listed, ...missing] } };
  return { kind: 'write', text: `${JSON.stringify(merged, null, 4)}\n` };
}

function invalid(what: string): LocalConfMerge {
  return { kind: 'invalid', error: `${what}; correct it or delete it, mooring leaves it as it is` };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The user's entries as a list: a list as it is, a string as its one entry, nothing as none. */
function listOf(value: unknown): readonly unknown[] | undefined {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  return typeof value === 'string' ? [value] : undefined;
}
