/** mooring's status document as far as the bed reads it. */

/** mooring's status document; only what the bed looks at. */
export interface StatusDocument {
  readonly version: string;
  /** ISO 8601, of the pass that it tells of. */
  readonly time: string;
  readonly ready: boolean;
  readonly sentence: string;
  readonly conditions: readonly {
    readonly type: string;
    readonly status: 'true' | 'false' | 'unknown';
    readonly reason: string;
    readonly message: string;
    /** ISO 8601, since when the status is what it is. */
    readonly since: string;
  }[];
  readonly networks: readonly {
    readonly id: string;
    readonly status: string;
    readonly device: string;
    readonly ifindex?: number;
    readonly addresses: readonly string[];
    readonly flaps: number;
    readonly outages: number;
  }[];
  /** Starts and restarts asked for so far, by `unit reason`. */
  readonly k3s: { readonly restarts: Readonly<Record<string, number>> };
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
    Array.isArray(value.conditions) &&
    'networks' in value &&
    Array.isArray(value.networks) &&
    'k3s' in value &&
    typeof value.k3s === 'object' &&
    value.k3s !== null &&
    'restarts' in value.k3s
  );
}
