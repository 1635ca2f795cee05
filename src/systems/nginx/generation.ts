/** Asks the running nginx workers, over their unix socket, which config they serve. */
import { askGeneration } from '../ask-generation.ts';

/** The generation, 16 hex digits, or undefined where none came whole within `deadlineMs`. */
export function readGeneration(socketPath: string, deadlineMs: number): Promise<string | undefined> {
  return askGeneration({ path: socketPath }, deadlineMs);
}
