/**
 * Which SHA-256 a file has, without reading its 70 MB in each pass: what was computed once is kept on disk beside what the file
 * looked like then, and is believed for as long as it looks so.
 */
import { stat } from 'node:fs/promises';
import { sha256OfFile } from '../download/hash.ts';
import { messageOf } from '../error.ts';
import { loadJson, saveJson } from '../files/json-file.ts';
import type { Log } from '../log.ts';

export interface FileHashesOptions {
  readonly recordFile: string;
  readonly log: Log;
  /** Told when a hash that was not known is. */
  readonly computed: () => void;
  /** Ends what is being computed. */
  readonly signal: AbortSignal;
}

/** A file as it is now. */
export type FileState =
  | { readonly kind: 'absent' }
  | { readonly kind: 'computing' }
  | { readonly kind: 'known'; readonly sha256: string; readonly mode: number };

export interface FileHashes {
  /** Begins to compute a hash that is not known, unless told not to, and does not wait for it. */
  stateOf(path: string, mayCompute?: boolean): Promise<FileState>;
  /** Notes what a file was just seen to have. */
  note(path: string, sha256: string): Promise<void>;
  /** Waits for what is being computed. */
  settled(): Promise<void>;
}

interface Known {
  readonly identity: string;
  readonly sha256: string;
}

/** Stands for a file that cannot be read: no file has it. */
const unreadable = 'unreadable';

/** Loads the record at the first question. */
export function createFileHashes({ recordFile, log, computed, signal }: FileHashesOptions): FileHashes {
  const computing = new Map<string, Promise<void>>();
  let record: Promise<Map<string, Known>> | undefined;
  const loaded = () => {
    record ??= loadJson(recordFile).then(knownFiles);
    return record;
  };

  async function keep(path: string, known: Known): Promise<void> {
    const files = await loaded();
    files.set(path, known);
    try {
      await saveJson(recordFile, { files: Object.fromEntries(files) });
    } catch (error) {
      log(
        'warning',
        `k3s: cannot keep a file's hash, which is computed again at the next start: ${messageOf(error)}`,
      );
    }
  }

  async function compute(path: string, identity: string): Promise<void> {
    const sha256 = await sha256OfFile(path, signal).catch((error: unknown) => {
      if (!signal.aborted) log('warning', `k3s: cannot read ${path}: ${messageOf(error)}`);
      return unreadable;
    });
    if (signal.aborted) return;
    // A file that changed meanwhile has another identity by now, and is read anew.
    await keep(path, { identity, sha256 });
    computed();
  }

  return {
    async stateOf(path, mayCompute = true) {
      const found = await identityOf(path);
      if (found === undefined) return { kind: 'absent' };
      const known = (await loaded()).get(path);
      if (known?.identity === found.identity)
        return { kind: 'known', sha256: known.sha256, mode: found.mode };
      if (mayCompute && !computing.has(path)) {
        const work = compute(path, found.identity).finally(() => computing.delete(path));
        computing.set(path, work);
      }
      return { kind: 'computing' };
    },
    async note(path, sha256) {
      const found = await identityOf(path);
      if (found !== undefined) await keep(path, { identity: found.identity, sha256 });
    },
    async settled() {
      await Promise.all(computing.values());
    },
  };
}

/** Device, inode, size and both times, to the nanosecond: what is written anew differs in one of them. */
async function identityOf(path: string): Promise<{ identity: string; mode: number } | undefined> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs, mode } = await stat(path, { bigint: true });
    return { identity: [dev, ino, size, mtimeNs, ctimeNs].join(':'), mode: Number(mode & 0o7777n) };
  } catch {
    return undefined;
  }
}

/** What can be believed of the record; nothing where it is damaged. */
function knownFiles(value: unknown): Map<string, Known> {
  const files = typeof value === 'object' && value !== null && 'files' in value ? value.files : undefined;
  const entries: readonly (readonly [string, unknown])[] =
    typeof files === 'object' && files !== null ? Object.entries(files) : [];
  return new Map(entries.flatMap(([path, known]) => (isKnown(known) ? [[path, known] as const] : [])));
}

function isKnown(value: unknown): value is Known {
  return (
    typeof value === 'object' &&
    value !== null &&
    'identity' in value &&
    typeof value.identity === 'string' &&
    'sha256' in value &&
    typeof value.sha256 === 'string'
  );
}
