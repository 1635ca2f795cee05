/** The kernel's limits of new connections per client. */
import type { FileReading } from '../files/types.ts';

export interface LimitsReading {
  /** Whether nft is installed. */
  readonly installed: boolean;
  /** The rules that are in force, as they were given to nft; absent where none are. */
  readonly loaded: FileReading;
}

/** Failures throw SystemError. */
export interface Limits {
  read(): Promise<LimitsReading>;
  /** Puts these rules in force, in place of others, in one step. Throws `limits-refused` with nft's own words; the others stay then. */
  load(text: string): Promise<void>;
  /** Takes the rules out of force, also for the next boot. */
  remove(): Promise<void>;
}
