/**
 * Values that mooring keeps for its next run. A file that is missing, cut short or damaged counts as never written: what is
 * kept here saves a restart or a question, and must not stop a start.
 */
import { readFileText, writeFileAtomic } from './atomic.ts';

const maxBytes = 4 * 1024 * 1024;

/** The value kept in `path`, or undefined. Its shape is the caller's to check. */
export async function loadJson(path: string): Promise<unknown> {
  const read = await readFileText(path, maxBytes);
  if (read.kind !== 'present') return undefined;
  try {
    return JSON.parse(read.text);
  } catch {
    return undefined;
  }
}

/** Keeps `value` (0600 unless told) and returns whether it differed from what stood there. Throws as `writeFileAtomic`. */
export async function saveJson(path: string, value: unknown, mode = 0o600): Promise<boolean> {
  return writeFileAtomic(path, `${JSON.stringify(value)}\n`, { mode });
}
