/** Files that mooring generates. */

/** One file. */
export type FileReading =
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreadable'; readonly error: string }
  | { readonly kind: 'present'; readonly text: string; readonly mode: number };

/** A file with a secret that others than its owner may read. */
export interface ExposedFile {
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
}
