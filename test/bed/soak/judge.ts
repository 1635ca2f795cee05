/** Whether what was counted during a soak stays flat. Pure: from samples to figures, and to what is wrong with them. */
import { slopeOf } from '../../bench/figures.ts';

/** mooring after so many renewals of its link and restarts of the bus. */
export interface Sample {
  readonly renewals: number;
  readonly busRestarts: number;
  readonly openFiles: number;
  /** At the bus, of all of mooring's connections. */
  readonly matchRules: number;
  readonly listeners: number;
  /** Timers, sockets and the like that keep Node.js running. */
  readonly resources: number;
  readonly processes: number;
  /** After a collection. */
  readonly heapBytes: number;
  /** Buffers and the like that belong to objects in the heap. */
  readonly externalBytes: number;
  readonly rssBytes: number;
}

/** One figure over the whole soak, in its unit. */
export interface Course {
  readonly name: string;
  readonly unit: string;
  readonly first: number;
  readonly last: number;
  readonly most: number;
  /** By least squares over the judged samples, per 1,000 renewals of the link. */
  readonly slope: number;
  /** What is wrong with it; undefined where it is flat enough, or not judged. */
  readonly wrong: string | undefined;
}

/** Code that is compiled late, and caches that fill once, are no leak: this part of the samples is not judged. */
const warmUp = 0.25;
/**
 * A count has grown where its line rises by one from the first judged sample to the last. Less is a moment in which
 * something was under way.
 */
const leastGrowth = 1;
/**
 * With the few looks of a short soak such a moment can make a line: 375, 376, 376 listeners were seen, and 358 ever after. So a
 * short one has to have twice the renewals for the same certainty: what each new bus leaves behind is eight by then.
 */
const leastShortGrowth = 2;
/**
 * 256 bytes each time: a link that comes anew every minute costs 128 MiB in a year, which a daemon of 95 MiB has left below
 * its MemoryMax= for three years. Smaller slopes cannot be told from what the compiler keeps and drops (some 100 KiB).
 */
export const heapSlopeBound = 256;
/** Over fewer renewals than this a slope is mere noise: there the growth itself is judged. */
const slopeFrom = 1_000;
/** Twice what the heap was seen to swing by in the first minutes after a start. */
export const heapGrowthBound = 1024;

type Judge = (growth: number, slope: number, renewals: number) => string | undefined;

const isCount: Judge = (growth, _slope, renewals) =>
  growth >= (renewals >= slopeFrom ? leastGrowth : leastShortGrowth)
    ? `grows, by ${growth.toFixed(1)} in this soak`
    : undefined;
const isMemory: Judge = (growth, slope, renewals) => {
  if (renewals >= slopeFrom)
    return slope > heapSlopeBound ? `grows by more than ${heapSlopeBound} KiB per 1,000 renewals` : undefined;
  return growth > heapGrowthBound ? `grew by more than ${heapGrowthBound} KiB` : undefined;
};
/** The kernel takes pages back when it needs them, not before. */
const isToldOnly: Judge = () => undefined;

const kib = 1024;
const figures: readonly (readonly [keyof Sample, string, string, number, Judge])[] = [
  ['openFiles', 'open files', '', 1, isCount],
  ['matchRules', 'match rules at the bus', '', 1, isCount],
  ['listeners', 'event listeners', '', 1, isCount],
  ['resources', 'timers, sockets, handles', '', 1, isCount],
  ['processes', 'processes', '', 1, isCount],
  ['heapBytes', 'heap after collection', 'KiB', kib, isMemory],
  ['externalBytes', 'buffers after collection', 'KiB', kib, isMemory],
  ['rssBytes', 'RSS, not judged', 'KiB', kib, isToldOnly],
];

/** What became of each figure. Throws for fewer than three judged samples: two are on a line always. */
export function courses(samples: readonly Sample[]): Course[] {
  const judged = samples.slice(Math.round(samples.length * warmUp));
  if (judged.length < 3) throw new Error(`${samples.length} samples are too few to tell a slope`);
  const renewals = judged.map((sample) => sample.renewals);
  const span = Math.max(...renewals) - Math.min(...renewals);
  return figures.map(([key, name, unit, per, judge]) => {
    const values = judged.map((sample) => sample[key] / per);
    const slope = slopeOf(renewals, values) * 1000;
    return {
      name,
      unit,
      first: values[0] ?? 0,
      last: values.at(-1) ?? 0,
      most: Math.max(...values),
      slope,
      wrong: judge((slope * span) / 1000, slope, span),
    };
  });
}

/** The table that a person reads. */
export function renderCourses(all: readonly Course[]): string {
  const rows = all.map(({ name, unit, first, last, most, slope, wrong }) => [
    name,
    ...[first, last, most].map((value) => Math.round(value).toString()),
    slope.toFixed(1),
    unit,
    wrong === undefined ? '' : `WRONG: ${wrong}`,
  ]);
  const table = [['', 'first', 'last', 'most', 'slope per 1,000', '', ''], ...rows];
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  return table
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return column >= 1 && column <= 4 ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
