/** Files that mooring generates. */

/** One file. */
export type FileReading =
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreadable'; readonly error: string }
  | { readonly kind: 'present'; readonly text: string; readonly mode: number };
