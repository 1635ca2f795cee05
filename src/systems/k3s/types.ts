/** The k3s agent's files. */
import type { FileReading } from '../files/types.ts';

/** How a secret's copy compares with its source; the contents never leave the adapter. */
export type SecretReading =
  | { readonly kind: 'missing'; readonly error: string }
  | { readonly kind: 'present'; readonly copyInSync: boolean };

/** What is on disk for the agent. */
export interface K3sReading {
  /** Identity of the executable (`size:mtime:inode` or the like), undefined where it is missing or not executable. */
  readonly binary: string | undefined;
  readonly config: FileReading;
  readonly token: SecretReading;
}

/** Failures throw SystemError. */
export interface K3sFiles {
  read(): Promise<K3sReading>;
  writeConfig(text: string): Promise<void>;
  /** Copies the token from its source to where k3s reads it, 0600. */
  copyToken(): Promise<void>;
}
