/**
 * The one error an adapter throws for a failure that it understands. Everything else that an adapter lets through
 * is a fault of the program, and keeps its stack.
 */

/** Names a failure of an outside system so that the brain can decide by `code` and a person can act on `message`. */
export class SystemError extends Error {
  /** Stable, kebab-case, e.g. `zerotier-unreachable`, `link-busy`, `no-such-unit`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SystemError';
    this.code = code;
  }
}

/** The message of anything that was thrown, for a log line or a reading's `error`. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node.js or system error, or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
