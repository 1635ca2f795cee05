/** Removing a file that may not be there. */
import { unlink } from 'node:fs/promises';
import { codeOf, messageOf, SystemError } from '../error.ts';

/** Removes it; that it is not there is fine. Throws SystemError `remove-failed`. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return;
    throw new SystemError('remove-failed', `cannot remove ${path}: ${messageOf(error)}`, { cause: error });
  }
}
