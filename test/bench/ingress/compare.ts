/** Figures of several rivals, taken in turn, side by side: medians, ratios of what was taken in the same round, and the table. */
import { median, shown } from '../figures.ts';
import { type Rival, rivals } from './rivals.ts';

/** One figure, a value for each round. Absent for whom it was not taken. */
export interface Compared {
  readonly name: string;
  readonly unit: string;
  /** Which is the better one. */
  readonly better: 'more' | 'less';
  readonly values: Partial<Readonly<Record<Rival, readonly number[]>>>;
  readonly note?: string;
}

/** A part of the results, with a line on how they came about. */
export interface ComparedSection {
  readonly title: string;
  readonly method: string;
  readonly figures: readonly Compared[];
}

/** The ratios that are shown, as columns. */
const ratioColumns = [
  ['mooring', 'haproxy', 'mooring/HAProxy'],
  ['mooring', 'direct', 'mooring/direct'],
  ['haproxy', 'direct', 'HAProxy/direct'],
] as const;

const headings: Readonly<Record<Rival, string>> = {
  mooring: 'mooring',
  byHand: 'by hand',
  haproxy: 'HAProxy',
  direct: 'direct',
};

/** The middle one of the values; undefined where there are none. */
export function middleOf(figure: Compared, rival: Rival): number | undefined {
  const values = figure.values[rival] ?? [];
  return values.length === 0 ? undefined : median(values);
}

/**
 * The middle one of the ratios round by round: what the machine was busy with otherwise changes from round to round, less
 * within one. Undefined where there is nothing to divide.
 */
export function pairedRatio(figure: Compared, over: Rival, under: Rival): number | undefined {
  const unders = figure.values[under] ?? [];
  const ratios = (figure.values[over] ?? []).flatMap((value, round) => {
    const other = unders[round];
    return other === undefined || other === 0 ? [] : [value / other];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

/** All sections as text. */
export function renderComparison(sections: readonly ComparedSection[]): string {
  const header = ['', ...rivals.map((rival) => headings[rival]), ...ratioColumns.map(([, , name]) => name)];
  const rows = sections.map(({ figures }) =>
    figures.map((figure) => [
      figure.name,
      ...rivals.map((rival) => orNothing(middleOf(figure, rival))),
      ...ratioColumns.map(([over, under]) => orNothing(pairedRatio(figure, over, under), ' x')),
      figure.unit,
      [`${figure.better} is better`, ...(figure.note === undefined ? [] : [figure.note])].join('; '),
    ]),
  );
  const columns = [...header, 'unit', ''];
  const widths = columns.map((title, column) =>
    Math.max(title.length, ...rows.flat().map((row) => row[column]?.length ?? 0)),
  );
  const numbers = header.length;
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column > 0 && column < numbers ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return sections
    .map(({ title, method }, index) =>
      [
        title,
        `  ${method}`,
        `  ${line(columns)}`,
        ...(rows[index] ?? []).map((row) => `  ${line(row)}`),
      ].join('\n'),
    )
    .join('\n\n');
}

/** The same for programs: medians, ratios, and every value. */
export function comparisonAsJson(sections: readonly ComparedSection[]) {
  return sections.map(({ title, method, figures }) => ({
    title,
    method,
    figures: figures.map((figure) => ({
      ...figure,
      medians: Object.fromEntries(rivals.map((rival) => [rival, middleOf(figure, rival)])),
      ratios: Object.fromEntries(
        ratioColumns.map(([over, under, name]) => [name, pairedRatio(figure, over, under)]),
      ),
    })),
  }));
}

function orNothing(value: number | undefined, suffix = ''): string {
  return value === undefined ? '' : `${shown(value)}${suffix}`;
}
