/** The `--timeout` of verbs that wait. */

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** What is said of one that `parseTimeout` does not take. */
export const badTimeout = (text: string | boolean | undefined) =>
  `--timeout: found "${text}"; allowed: a duration such as 90s, 10m or 1h`;

/** ms; `absentMs` without the flag, undefined where it is no duration. */
export function parseTimeout(text: string | boolean | undefined, absentMs: number): number | undefined {
  if (text === undefined) return absentMs;
  const match = typeof text === 'string' ? /^(\d{1,6})(s|m|h)$/.exec(text) : null;
  return match?.[1] && match[2] ? Number(match[1]) * (unitsMs[match[2]] ?? 0) : undefined;
}
