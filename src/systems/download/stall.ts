/**
 * The deadline of a large download: not how long it takes as a whole, which a slow line decides, but how long it may make no
 * headway. A server that drips a byte now and then makes none.
 */

/** So much has to come in each period: at a minute a period, a line of nine kilobits a second is fast enough. */
const headwayBytes = 64 * 1024;

export interface StallGuard {
  /** Aborted when there was no headway for too long, or when the caller's signal is. */
  readonly signal: AbortSignal;
  readonly isStalled: () => boolean;
  /** An answer has begun, which is headway. */
  answered(): void;
  received(bytes: number): void;
  end(): void;
}

/** Begins the first period. */
export function guardAgainstStall(periodMs: number, ending: AbortSignal): StallGuard {
  const stall = new AbortController();
  let bytes = 0;
  let timer = setTimeout(() => stall.abort(), periodMs);
  const renew = () => {
    bytes = 0;
    clearTimeout(timer);
    timer = setTimeout(() => stall.abort(), periodMs);
  };
  return {
    signal: AbortSignal.any([stall.signal, ending]),
    isStalled: () => stall.signal.aborted,
    answered: renew,
    received(more) {
      bytes += more;
      if (bytes >= headwayBytes) renew();
    },
    end: () => clearTimeout(timer),
  };
}
