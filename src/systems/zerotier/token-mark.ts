/**
 * The mark of the API token that this start of mooring was given: its SHA-256, so that the unit that watches the token's file
 * can tell a new token from a file that was merely touched (zerotier-one hands its home to its user at every start).
 */
import { createHash } from 'node:crypto';
import { readFileBytes, writeFileAtomic } from '../files/atomic.ts';

const maxBytes = 64 * 1024;

/** What `sha256sum` prints for these bytes on its standard input. */
export function tokenMark(token: Buffer): string {
  return `${createHash('sha256').update(token).digest('hex')}  -\n`;
}

/** Writes the mark (0600). A token that cannot be read gets none, and the next touch of its file restarts mooring. */
export async function markToken(tokenFile: string, markFile: string): Promise<void> {
  const read = await readFileBytes(tokenFile, maxBytes);
  if (read.kind !== 'present') return;
  await writeFileAtomic(markFile, tokenMark(read.bytes), { mode: 0o600 });
}
