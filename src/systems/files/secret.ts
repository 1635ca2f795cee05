/** Reading secrets. Their contents never appear in an error, and leave this folder only as the returned value. */
import { SystemError } from '../error.ts';
import { readFileBytes } from './atomic.ts';

/** A secret, for the one who needs it. */
export interface Secret {
  readonly text: string;
  /** Group or others may read the file: worth a warning, no error. */
  readonly exposed: boolean;
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
  return { text, exposed: (read.mode & 0o044) !== 0 };
}

/** The cause is left out: it may quote the bytes. */
function decode(path: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new SystemError('secret-malformed', `${path} is not UTF-8 text`);
  }
}
