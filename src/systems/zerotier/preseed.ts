/**
 * Writes ZeroTier's `local.conf` before its first start. Once it has started, its own API does that, and this leaves the file
 * alone. The folder may belong to the user `zerotier-one`, so links in it are not followed.
 */
import { chmod, lstat, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf, SystemError } from '../error.ts';
import { readFileText, writeFileAtomic } from '../files/atomic.ts';

/** What becomes of the file's text; `invalid` where the existing text cannot be merged into. */
export type LocalConfMerge =
  | { readonly kind: 'write'; readonly text: string }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'invalid'; readonly error: string };

/** What was done. */
export type PreseedOutcome =
  /** There is an identity: ZeroTier has run here before. */
  | { readonly kind: 'already-started' }
  | { readonly kind: 'written'; readonly path: string }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'invalid'; readonly error: string };

const maxBytes = 1024 * 1024;

/** Undefined where nothing is there. */
async function lstatIfAny(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new SystemError('zerotier-home-unreadable', `cannot read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/**
 * Merges into `local.conf` in ZeroTier's home folder (made with 0755 where missing), keeping owner and mode of what is there.
 * Throws SystemError as `writeFileAtomic` does, or `zerotier-home-unreadable`.
 */
export async function preseedLocalConf(options: {
  readonly home: string;
  readonly merge: (existing: string | undefined) => LocalConfMerge;
}): Promise<PreseedOutcome> {
  const { home, merge } = options;
  if (await lstatIfAny(join(home, 'identity.secret'))) return { kind: 'already-started' };
  const path = join(home, 'local.conf');
  const there = await lstatIfAny(path);
  if (there?.isSymbolicLink()) {
    return { kind: 'invalid', error: `${path} is a symbolic link; put the file itself there` };
  }
  const existing = await readFileText(path, maxBytes);
  if (existing.kind === 'unreadable') {
    return { kind: 'invalid', error: `cannot read ${path}: ${existing.error}` };
  }
  const merged = merge(existing.kind === 'present' ? existing.text : undefined);
  if (merged.kind !== 'write') return merged;
  try {
    const made = await mkdir(home, { recursive: true });
    if (made !== undefined) await chmod(home, 0o755);
  } catch (error) {
    throw new SystemError('write-failed', `cannot make ${home}: ${messageOf(error)}`, { cause: error });
  }
  const { uid, gid } = there ?? (await stat(home));
  const mode = existing.kind === 'present' ? existing.mode : 0o644;
  const changed = await writeFileAtomic(path, merged.text, { mode, owner: { uid, gid } });
  return changed ? { kind: 'written', path } : { kind: 'unchanged' };
}
