/** `mooring version`. */
import type { CliContext } from './context.ts';
import { exitCode } from './context.ts';

declare const MOORING_VERSION: string | undefined;

/** Set by the bundler from package.json; a run from source says so. */
export const version: string = typeof MOORING_VERSION === 'string' ? MOORING_VERSION : '0.0.0-source';

export function showVersion(context: CliContext): number {
  context.print(`mooring ${version} (Node.js ${process.version})`);
  return exitCode.fine;
}
