/** Figures of a bench: medians and quantiles of what was measured, and the table that a person reads. No clock here. */

/** One line of the table. `bare` is absent where there is nothing to compare with. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly mooring: number;
  readonly bare?: number;
  /** What a reader must know to read the figure right. */
  readonly note?: string;
}

/** A part of the results, with a line on how they came about. */
export interface Section {
  readonly title: string;
  readonly method: string;
  readonly figures: readonly Figure[];
}

/** The smallest value that a share `q` (0 to 1) of the values does not exceed. Throws for no values. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  const found = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
  if (found === undefined) throw new Error('no quantile of no values');
  return found;
}

/** The middle value, or the mean of the two in the middle. Throws for no values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (upper === undefined || lower === undefined) throw new Error('no median of no values');
  return (lower + upper) / 2;
}

/** Least squares: by how much `ys` grow per unit of `xs`; 0 where there is only one x. */
export function slopeOf(xs: readonly number[], ys: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
  const [meanX, meanY] = [mean(xs), mean(ys)];
  const over = xs.reduce((sum, x, index) => sum + (x - meanX) * ((ys[index] ?? 0) - meanY), 0);
  const under = xs.reduce((sum, x) => sum + (x - meanX) ** 2, 0);
  return under === 0 ? 0 : over / under;
}

/** Short, with as many digits as say something. */
export function shown(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return value.toFixed(digits);
}

/** The ratio of a figure, undefined where there is no bare one or it is zero. */
export function ratioOf(figure: Figure): number | undefined {
  return figure.bare === undefined || figure.bare === 0 ? undefined : figure.mooring / figure.bare;
}

/** All sections as text. */
export function renderTable(sections: readonly Section[]): string {
  const header = ['', 'mooring', 'bare', 'ratio', 'unit', ''];
  const rows = sections.map(({ figures }) =>
    figures.map((figure) => {
      const ratio = ratioOf(figure);
      return [
        figure.name,
        shown(figure.mooring),
        figure.bare === undefined ? '' : shown(figure.bare),
        ratio === undefined ? '' : `${shown(ratio)} x`,
        figure.unit,
        figure.note ?? '',
      ];
    }),
  );
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.flat().map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column >= 1 && column <= 3 ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return sections
    .map(({ title, method }, index) =>
      [
        `${title}`,
        `  ${method}`,
        `  ${line(header)}`,
        ...(rows[index] ?? []).map((row) => `  ${line(row)}`),
      ].join('\n'),
    )
    .join('\n\n');
}
