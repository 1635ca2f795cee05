/** mooring's status document as far as the bed reads it. */

/** mooring's status document; only what the bed looks at. */
export interface StatusDocument {
  readonly ready: boolean;
  readonly sentence: string;
  readonly conditions: readonly {
    readonly type: string;
    readonly status: 'true' | 'false' | 'unknown';
    readonly reason: string;
    readonly message: string;
  }[];
}

/** The document, or undefined where the text is none. */
export function parseStatus(text: string): StatusDocument | undefined {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isStatus(document) ? document : undefined;
}

function isStatus(value: unknown): value is StatusDocument {
  return (
    typeof value === 'object' &&
    value !== null &&
    'ready' in value &&
    typeof value.ready === 'boolean' &&
    'conditions' in value &&
    Array.isArray(value.conditions)
  );
}
