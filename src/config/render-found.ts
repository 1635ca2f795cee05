/**
 * What was found, in words that are safe in a log: short, on one line, without control or direction characters, and
 * never a secret, also where a person put it into the wrong place.
 */
import { looksSecret, redactText } from './redact.ts';

const maxShownCharacters = 60;
/** Longer text is cut before it is looked at; far beyond what is shown, so that no secret is cut into an unknown shape. */
const maxRead = 1000;

/** Whether a path such as `k3s.token.file` may hold a secret, so that its value must not be shown. */
export function isSecretPath(path: string): boolean {
  return path.split(/[.[\]]/).some((part) => looksSecret(part));
}

/** Escapes what could forge lines or hide text in a terminal. */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, (c) => {
    if (c === '\n') return '\\n';
    if (c === '\t') return '\\t';
    if (c === '\r') return '\\r';
    return `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`;
  });
}

function shorten(text: string): string {
  const characters = [...text];
  return characters.length <= maxShownCharacters
    ? text
    : `${characters.slice(0, maxShownCharacters).join('')}… (${characters.length} characters)`;
}

/** A scalar as written, ready for a message: redacted, shortened, escaped, in quotes where it is text. */
export function shownText(text: string): string {
  return `"${visible(shorten(redactText(text.slice(0, maxRead))))}"`;
}

/** A key as it may be shown below `path`. Keys under a secret's path that do not look like option names are left out. */
export function safeKey(path: string, key: string): string {
  if (isSecretPath(path) && !/^[A-Za-z][A-Za-z_-]{0,15}$/.test(key)) return '(key not shown)';
  const redacted = visible(shorten(redactText(key.slice(0, maxRead))));
  return /^[A-Za-z0-9_-]+$/.test(redacted) ? redacted : `"${redacted}"`;
}

/** What a value is, in words. `value` is as YAML read it, `source` as it was written. */
export function renderFound(value: unknown, source: string | undefined, path: string): string {
  const hidden = isSecretPath(path);
  if (value === undefined) return 'nothing';
  if (value === null) return 'an empty value';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  if (typeof value === 'object') {
    const keys = Object.keys(value);
    if (keys.length === 0) return 'an empty mapping';
    const shown = keys.slice(0, 5).map((key) => safeKey(path, key));
    return `a mapping with ${keys.length === 1 ? 'the key' : 'the keys'} ${shown.join(', ')}${keys.length > 5 ? ', …' : ''}`;
  }
  if (hidden) {
    const kind = typeof value === 'string' ? `text of ${[...value].length} characters` : `a ${typeof value}`;
    return `${kind} (not shown, it may be a secret)`;
  }
  if (typeof value === 'string') return value === '' ? 'empty text' : `the text ${shownText(value)}`;
  if (typeof value === 'number') return `the number ${visible(shorten(source ?? String(value)))}`;
  return `the boolean ${visible(source ?? String(value))}`;
}
