/** Time as the brain sees it: handed in, never read there. */

/** One instant on both clocks. */
export interface Now {
  /** CLOCK_MONOTONIC, ms. The same for all processes until the next boot; what every decision is made by. */
  readonly monoMs: number;
  /** Unix time, ms. May jump; for people and timestamps only. */
  readonly wallMs: number;
}

/** Reads both clocks. */
export function systemNow(): Now {
  return { monoMs: Math.floor(Number(process.hrtime.bigint()) / 1e6), wallMs: Date.now() };
}
