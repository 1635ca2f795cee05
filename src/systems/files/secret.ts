/** Reading secrets. Their contents never appear in an error, and leave this folder only as the returned value. */
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SystemError } from '../error.ts';
import { readFileBytes } from './atomic.ts';
import type { ExposedFile } from './types.ts';

/** A secret, for the one who needs it. */
export interface Secret {
  readonly text: string;
}

const maxBytes = 64 * 1024;

/**
 * Reads one, without one trailing newline. Throws SystemError `secret-missing`, `secret-unreadable`, `secret-too-large`
 * (over 64 KiB), `secret-empty` or `secret-malformed` (control characters, such as a second line, or no UTF-8).
 */
export async function readSecret(path: string): Promise<Secret> {
  const read = await readFileBytes(path, maxBytes);
  if (read.kind === 'absent') {
    throw new SystemError('secret-missing', `there is no ${path}; put the secret there, mode 0600`);
  }
  if (read.kind === 'unreadable') {
    const code = read.error.startsWith('it is larger') ? 'secret-too-large' : 'secret-unreadable';
    throw new SystemError(code, `cannot read the secret in ${path}: ${read.error}`);
  }
  const text = decode(path, read.bytes).replace(/\r?\n$/, '');
  if (text === '') throw new SystemError('secret-empty', `${path} is empty; put the secret there, mode 0600`);
  if (/\p{Cc}/u.test(text)) {
    throw new SystemError(
      'secret-malformed',
      `${path} holds more than one line, or control characters; it must hold the secret alone, on one line`,
    );
  }
  return { text };
}

/** The cause is left out: it may quote the bytes. */
function decode(path: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new SystemError('secret-malformed', `${path} is not UTF-8 text`);
  }
}

/**
 * Those of the files that others than their owner may read, which is worth a warning, and no error: of a file in a folder that
 * others cannot enter, nothing is told. What is not there, or cannot be looked at, is left out: whoever reads it tells.
 */
export async function exposedFiles(paths: readonly string[]): Promise<readonly ExposedFile[]> {
  const found = await Promise.all(paths.map(exposure));
  return found.flatMap((one) => (one === undefined ? [] : [one]));
}

async function exposure(path: string): Promise<ExposedFile | undefined> {
  try {
    const mode = (await stat(path)).mode & 0o7777;
    if ((mode & 0o044) === 0) return undefined;
    for (let folder = dirname(path); ; folder = dirname(folder)) {
      if (((await stat(folder)).mode & 0o011) === 0) return undefined;
      if (folder === '/') return { path, mode };
    }
  } catch {
    return undefined;
  }
}
