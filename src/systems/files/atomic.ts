/**
 * Reading and replacing small text files.
 *
 * Always true here: a reader sees the old text or the new one, never a mixture, also after a power cut; nothing is written
 * where the same text stands with the same mode; a temporary file left by a crash goes with the next write of the same path.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { codeOf, messageOf, SystemError } from '../error.ts';
import type { FileReading } from './types.ts';

/** How a file is to stand on disk. */
export interface WriteOptions {
  /** Permission bits, set whatever the umask is. */
  readonly mode: number;
  /** The new file's owner; the process' own where absent. Changing it needs CAP_CHOWN. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

const permissionBits = 0o7777;
/** Temporary files being written by this process now; another write of the same path leaves them alone. */
const underWay = new Set<string>();

/** The temporary files of one path, `.name.<16 hex>.mooring-tmp`, so that leftovers are known by their name. */
function isTempOf(path: string, name: string): boolean {
  const prefix = `.${basename(path)}.`;
  return name.startsWith(prefix) && /^[0-9a-f]{16}\.mooring-tmp$/.test(name.slice(prefix.length));
}

const remedies: Readonly<Record<string, readonly [code: string, remedy: string]>> = {
  ENOSPC: ['disk-full', 'the disk is full; free some space'],
  EDQUOT: ['disk-full', 'the disk quota is used up; free some space'],
  EROFS: [
    'read-only-filesystem',
    'it is on a read-only file system; where the folder was made after mooring started, restart mooring',
  ],
  EACCES: ['permission-denied', 'permission denied; the folder must belong to root and be writable for it'],
  EPERM: ['permission-denied', 'not permitted; look for an immutable flag or another owner'],
  ENOENT: ['no-such-folder', 'its folder does not exist; create it or reinstall the package'],
  ENOTDIR: ['no-such-folder', 'a part of its path is no folder'],
  EISDIR: ['not-a-file', 'a folder stands at its place; move that away'],
};

/** Turns a failed write into an error that says what to do. */
export function writeError(path: string, error: unknown): SystemError {
  const [code, remedy] = remedies[codeOf(error) ?? ''] ?? ['write-failed', messageOf(error)];
  return new SystemError(code, `cannot write ${path}: ${remedy}`, { cause: error });
}

/** Makes a rename in `folder` survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder)) {
    if (!isTempOf(path, name) || underWay.has(join(folder, name))) continue;
    await unlink(join(folder, name)).catch(() => undefined);
  }
}

/** Whether exactly this stands at `path` already: a regular file, not a link to one. */
async function standsAlready(path: string, text: Buffer, options: WriteOptions): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return false;
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile() || stat.size !== text.length || (stat.mode & permissionBits) !== options.mode)
      return false;
    if (options.owner && (stat.uid !== options.owner.uid || stat.gid !== options.owner.gid)) return false;
    return text.equals(await handle.readFile());
  } finally {
    await handle.close();
  }
}

/** Writes, syncs and closes a new file. */
async function writeTemp(temp: string, text: Buffer, options: WriteOptions): Promise<void> {
  const handle = await open(temp, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    const { uid, gid } = await handle.stat();
    const { owner } = options;
    if (owner && (owner.uid !== uid || owner.gid !== gid)) await handle.chown(owner.uid, owner.gid);
    await handle.chmod(options.mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Replaces `path` by `text` (UTF-8) and returns whether anything was written. A link at `path` is replaced, not followed.
 * Throws SystemError `disk-full`, `read-only-filesystem`, `permission-denied`, `no-such-folder`, `not-a-file` or
 * `write-failed`; what stood there before stands there then.
 */
export async function writeFileAtomic(path: string, text: string, options: WriteOptions): Promise<boolean> {
  const bytes = Buffer.from(text, 'utf8');
  const temp = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString('hex')}.mooring-tmp`);
  underWay.add(temp);
  try {
    if (await standsAlready(path, bytes, options)) return false;
    await removeLeftovers(path);
    try {
      await writeTemp(temp, bytes, options);
      await rename(temp, path);
    } catch (error) {
      await unlink(temp).catch(() => undefined);
      throw error;
    }
    await syncFolder(dirname(path));
    return true;
  } catch (error) {
    throw writeError(path, error);
  } finally {
    underWay.delete(temp);
  }
}

/** What reading a file gives before decoding. */
type BytesReading =
  | Exclude<FileReading, { kind: 'present' }>
  | { readonly kind: 'present'; readonly bytes: Buffer; readonly mode: number };

/** Why a file cannot be read, as the rest of a sentence. */
function readProblem(error: unknown): string {
  const code = codeOf(error);
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  if (code === 'ELOOP') return 'its links go round in a circle';
  if (code === 'ENOTDIR') return 'a part of its path is no folder';
  return messageOf(error);
}

async function openProblem(path: string, error: unknown): Promise<BytesReading> {
  if (codeOf(error) !== 'ENOENT') return { kind: 'unreadable', error: readProblem(error) };
  const dangling = await lstat(path).then(
    () => true,
    () => false,
  );
  return dangling
    ? { kind: 'unreadable', error: 'it is a link to a file that does not exist' }
    : { kind: 'absent' };
}

/** As `readFileText`, undecoded. */
export async function readFileBytes(path: string, maxBytes: number): Promise<BytesReading> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    return openProblem(path, error);
  }
  try {
    const stat = await handle.stat();
    if (stat.isDirectory()) return { kind: 'unreadable', error: 'it is a folder' };
    if (!stat.isFile()) return { kind: 'unreadable', error: 'it is no regular file' };
    if (stat.size > maxBytes) return { kind: 'unreadable', error: `it is larger than ${maxBytes} bytes` };
    return { kind: 'present', bytes: await handle.readFile(), mode: stat.mode & permissionBits };
  } catch (error) {
    return { kind: 'unreadable', error: readProblem(error) };
  } finally {
    await handle.close();
  }
}

/**
 * Reads a regular file of up to `maxBytes` as UTF-8. A pipe or device is unreadable, and never waited for. Links are
 * followed; a dangling one is unreadable, since `absent` would hide it.
 */
export async function readFileText(path: string, maxBytes: number): Promise<FileReading> {
  const read = await readFileBytes(path, maxBytes);
  return read.kind === 'present'
    ? { kind: 'present', text: read.bytes.toString('utf8'), mode: read.mode }
    : read;
}
