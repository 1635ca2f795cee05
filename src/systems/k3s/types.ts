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

/** A file that is to be there with a known SHA-256. */
export interface PinnedFile {
  readonly name: 'binary' | 'images';
  readonly path: string;
  readonly sha256: string;
  /** `checking`: its hash is not known yet. `other`: another file is there, or nobody may run it. */
  readonly state: 'in-place' | 'missing' | 'other' | 'checking';
  /** What is being done about it, or how that ended last; undefined where nothing was tried since mooring's start. */
  readonly work: PinnedWork | undefined;
}

export type PinnedWork =
  | { readonly kind: 'fetching'; readonly bytes: number; readonly totalBytes: number | undefined }
  | {
      readonly kind: 'failed';
      readonly code: string;
      readonly message: string;
      /** How long the server wants to be left alone. */
      readonly retryAfterMs: number | undefined;
      /** More of the file is there than before. */
      readonly gained: boolean;
    };

/** The k3s that the config pins. */
export type InstallReading =
  | { readonly kind: 'off' }
  /** The config has no hash for this machine; `key` is the one that is missing. */
  | { readonly kind: 'no-hash'; readonly version: string; readonly key: string }
  /** In the order in which they are to be put in place. */
  | { readonly kind: 'pinned'; readonly version: string; readonly files: readonly PinnedFile[] };

/** Failures throw SystemError. */
export interface K3sInstall {
  read(): Promise<InstallReading>;
  /** Begins to bring a file, and returns at once; the reading tells how it goes. Nothing where that is under way. */
  fetch(name: PinnedFile['name']): void;
}
