/** SHA-256 of a file of any size, a block at a time, so that neither memory nor the event loop notices. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

const blockBytes = 512 * 1024;

/** Of what `handle` is open on, in hex. Throws what reading throws, or the signal's reason once it is aborted. */
export async function sha256OfHandle(handle: FileHandle, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const block = Buffer.allocUnsafe(blockBytes);
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(block, 0, blockBytes, position);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(block.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** Of a file, links followed. A pipe is never waited for. */
export async function sha256OfFile(path: string, signal: AbortSignal): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return await sha256OfHandle(handle, signal);
  } finally {
    await handle.close();
  }
}
