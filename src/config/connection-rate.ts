/** `newConnectionsPerClient`: how fast a client may open connections. Rates are those that the kernel's limit knows: a number per second, minute or hour. */
import * as z from 'zod/mini';
import { text, wholeNumber } from './values.ts';

const periodsMs: Readonly<Record<string, number>> = { '1s': 1_000, '1m': 60_000, '1h': 3_600_000 };
const ratePattern = /^([1-9]\d{0,4})\/(1s|1m|1h)$/;

/** `20/1s` -> twenty in a second. */
const rate = z.pipe(
  text('up to 10000 connections per 1s, 1m or 1h, such as 20/1s', (v) => {
    const [, count] = ratePattern.exec(v) ?? [];
    return count !== undefined && Number(count) <= 10_000;
  }),
  z.pipe(
    z.transform((v: string) => {
      const [, count, period = ''] = ratePattern.exec(v) ?? [];
      return { count: Number(count), periodMs: periodsMs[period] ?? Number.NaN };
    }),
    z.strictObject({ count: z.number(), periodMs: z.number() }),
  ),
);

/** A rate alone, or with how many may come at once. */
export const connectionRate = z.union(
  [rate, z.strictObject({ rate, burst: wholeNumber(1, 10_000) })],
  'up to 10000 connections per 1s, 1m or 1h, such as 20/1s, or {rate: 20/1s, burst: 60}',
);
