/**
 * Brings a file of known SHA-256 from a URL into a part file, going on where an earlier attempt was cut.
 *
 * Always true here: the part counts only once all of it was read back and has the wanted hash; what has another hash is thrown
 * away, never kept or put in place; memory does not grow with the file; a disk that is full gets its room back.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { SystemError } from '../error.ts';
import { writeError } from '../files/atomic.ts';
import { causeOf } from '../http.ts';
import { DownloadError, type OpenAnswer, openAnswer } from './answer.ts';
import { sha256OfHandle } from './hash.ts';
import { guardAgainstStall, type StallGuard } from './stall.ts';

export interface Wanted {
  /** `http:` only where the user wrote so: the hash decides what the bytes are worth. */
  readonly url: string;
  /** In hex, lower case. */
  readonly sha256: string;
  /** No file of this kind is larger. */
  readonly maxBytes: number;
}

export interface DownloadOptions extends Wanted {
  /** Where the unfinished file is, and the finished one in the end. In it is nothing, or a beginning of the file. */
  readonly part: string;
  /** The ETag of what the part holds, where it is known. */
  readonly etag: string | undefined;
  /** Told before the first byte of another body is written. */
  readonly keepEtag: (etag: string | undefined) => Promise<void>;
  readonly stallMs: number;
  readonly signal: AbortSignal;
  /** Bytes in the part, and of the whole where that is known. */
  readonly progress: (bytes: number, totalBytes: number | undefined) => void;
  /** Certificates to trust, in PEM; this host's where absent. */
  readonly caFile?: string;
}

/**
 * Returns when the part is the wanted file. Throws DownloadError as `openAnswer`, or `cut`, `stalled`, `cancelled`, `too-large`,
 * `wrong-hash`; SystemError as `writeFileAtomic` where the part cannot be written. The part stays where another attempt can use it.
 */
export async function download(options: DownloadOptions): Promise<void> {
  const { part, signal } = options;
  const handle = await openPart(part);
  try {
    await fill(handle, options);
  } catch (error) {
    if (signal.aborted) throw new DownloadError('cancelled', 'the download was cancelled', { cause: error });
    if (error instanceof SystemError) throw error;
    const failure = writeError(part, error);
    if (failure.code === 'disk-full') await unlink(part).catch(() => undefined);
    throw failure;
  } finally {
    await handle.close();
  }
}

async function openPart(part: string): Promise<FileHandle> {
  try {
    // Neither a link nor a pipe that somebody put there.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const handle = await open(part, flags, 0o600);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
  } catch (error) {
    throw writeError(part, error);
  }
  throw new SystemError('not-a-file', `cannot write ${part}: it is no regular file; move it away`);
}

async function fill(handle: FileHandle, options: DownloadOptions): Promise<void> {
  const { signal, sha256 } = options;
  let offset = (await handle.stat()).size;
  let etag = options.etag;
  // Whole already, as when the power went before it was put in place.
  if (offset > 0 && (await sha256OfHandle(handle, signal)) === sha256) return;
  for (;;) {
    const from = offset;
    const host = await receive(handle, { ...options, etag }, from);
    if (host !== undefined) {
      const found = await sha256OfHandle(handle, signal);
      if (found === sha256) return;
      if (host.isWhole) {
        await handle.truncate(0);
        throw new DownloadError(
          'wrong-hash',
          `what ${host.name} sends has the SHA-256 ${found}, wanted is ${sha256}`,
        );
      }
    }
    // The beginning was of another file, or the server does not go on with it: once more, as a whole.
    await handle.truncate(0);
    offset = 0;
    etag = undefined;
  }
}

/** Who sent what is in the part now, and whether all of it came in one piece. Undefined where the beginning is of no use. */
type Received = { readonly name: string; readonly isWhole: boolean } | undefined;

async function receive(handle: FileHandle, options: DownloadOptions, offset: number): Promise<Received> {
  const guard = guardAgainstStall(options.stallMs, options.signal);
  let answer: OpenAnswer | undefined;
  try {
    answer = await openAnswer(options.url, rangeHeaders(offset, options.etag), guard.signal, options.caFile);
    guard.answered();
    const start = startOf(answer, offset);
    if (start === undefined) {
      // A server that answers an ordinary question with a part of the file answers it so for ever.
      if (offset === 0)
        throw new DownloadError('refused', `${answer.host} sends a part of the file, unasked`);
      return undefined;
    }
    if (start === 'whole') return { name: answer.host, isWhole: false };
    if (start === 0) {
      await handle.truncate(0);
      await options.keepEtag(strong(answer.etag));
    }
    await pour(handle, answer, start, options, guard);
    return { name: answer.host, isWhole: start === 0 };
  } catch (error) {
    if (guard.isStalled()) {
      const host = answer?.host ?? new URL(options.url).host;
      throw new DownloadError('stalled', `${host}: no headway within ${options.stallMs / 1000} s`, {
        cause: error,
      });
    }
    throw error;
  } finally {
    guard.end();
    await answer?.end();
  }
}

/** Only a strong one says that every byte is the same (RFC 9110, 13.1.5). */
const strong = (etag: string | undefined) => (etag?.startsWith('W/') === true ? undefined : etag);

function rangeHeaders(offset: number, etag: string | undefined): Readonly<Record<string, string>> {
  if (offset === 0) return {};
  const range = { range: `bytes=${offset}-` };
  return etag === undefined ? range : { ...range, 'if-range': etag };
}

/** The byte at which the answer's body begins; `whole` where nothing is missing; undefined where it does not fit the part. */
function startOf(answer: OpenAnswer, offset: number): number | 'whole' | undefined {
  switch (answer.status) {
    case 200:
      return 0;
    case 206: {
      const [, first] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.contentRange ?? '') ?? [];
      return offset > 0 && Number(first) === offset ? offset : undefined;
    }
    case 416: {
      const [, total] = /^bytes \*\/(\d+)$/.exec(answer.contentRange ?? '') ?? [];
      return offset > 0 && Number(total) === offset ? 'whole' : undefined;
    }
    default:
      return answer.status satisfies never;
  }
}

/** Writes the body to the part from `start` on, each piece before the next one is taken. */
async function pour(
  handle: FileHandle,
  answer: OpenAnswer,
  start: number,
  { maxBytes, progress }: DownloadOptions,
  guard: StallGuard,
): Promise<void> {
  const total = answer.contentLength === undefined ? undefined : start + answer.contentLength;
  const limit = (bytes: number) => {
    if (bytes <= maxBytes) return;
    throw new DownloadError('too-large', `${answer.host} sends more than ${maxBytes} bytes: not the file`);
  };
  limit(total ?? 0);
  let position = start;
  progress(position, total);
  for await (const piece of pieces(answer)) {
    limit(position + piece.length);
    await writeAll(handle, piece, position);
    position += piece.length;
    guard.received(piece.length);
    progress(position, total);
  }
  if (total !== undefined && position !== total)
    throw new DownloadError('cut', `${answer.host}: the connection ended at ${position} of ${total} bytes`);
}

/** The body, its failures told apart from the disk's. */
async function* pieces({ body, host }: OpenAnswer): AsyncGenerator<Buffer> {
  const source = body[Symbol.asyncIterator]();
  for (;;) {
    const next = await source.next().catch((error: unknown) => {
      throw new DownloadError('cut', `${host}: ${causeOf(error)}`, { cause: error });
    });
    if (next.done === true) return;
    yield next.value;
  }
}

async function writeAll(handle: FileHandle, piece: Buffer, position: number): Promise<void> {
  for (let written = 0; written < piece.length; ) {
    const { bytesWritten } = await handle.write(piece, written, piece.length - written, position + written);
    if (bytesWritten === 0) throw Object.assign(new Error('nothing could be written'), { code: 'ENOSPC' });
    written += bytesWritten;
  }
}
