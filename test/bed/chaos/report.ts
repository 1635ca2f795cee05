/** What a storm came to, by fault: for a person as a table, for programs as it is. */
import { faults, notDrawn } from './faults.ts';
import { type Outcome, seconds } from './storm.ts';

/** The table, the totals, and what went wrong. */
export function renderReport(outcomes: readonly Outcome[]): string {
  const names = [...new Set(outcomes.map(nameOf))].sort(byCatalogue);
  const width = Math.max(...names.map((name) => name.length));
  const head = `${'fault'.padEnd(width)}  count  median     p99   worst  k3s starts  not recovered`;
  const rows = names.map((name) =>
    row(
      name.padEnd(width),
      outcomes.filter((one) => nameOf(one) === name),
    ),
  );
  const never = faults.filter(({ name }) => !outcomes.some((one) => one.faults.includes(name)));
  return [
    `${head}\n${rows.join('\n')}\n${row('all'.padEnd(width), outcomes)}`,
    ...(never.length === 0 ? [] : [`not drawn this time: ${never.map(({ name }) => name).join(', ')}`]),
    ...Object.entries(notDrawn).map(([name, why]) => `never drawn: ${name} (${why})`),
    ...outcomes
      .filter(({ wrong }) => wrong.length > 0)
      .map((one) => `WRONG: ${nameOf(one)}: ${one.wrong.join('; ')}`),
  ].join('\n');
}

function row(title: string, outcomes: readonly Outcome[]): string {
  const times = outcomes.flatMap(({ recoveredMs }) => (recoveredMs === undefined ? [] : [recoveredMs]));
  times.sort((left, right) => left - right);
  const at = (share: number) => {
    const ms = times[Math.max(0, Math.ceil(times.length * share) - 1)];
    return (ms === undefined ? '-' : `${seconds(ms)} s`).padStart(6);
  };
  const starts = outcomes.reduce((sum, { k3sStarts }) => sum + k3sStarts, 0);
  const lost = outcomes.length - times.length;
  return `${title}  ${String(outcomes.length).padStart(5)}  ${at(0.5)}  ${at(0.99)}  ${at(1)}  ${String(starts).padStart(10)}  ${String(lost).padStart(13)}`;
}

const nameOf = ({ faults: names }: Outcome): string => names.join(' + ');

/** In the order of the catalogue, those that came together last. */
function byCatalogue(left: string, right: string): number {
  const place = (name: string) => {
    const at = faults.findIndex((fault) => fault.name === name);
    return at === -1 ? faults.length : at;
  };
  return place(left) - place(right) || left.localeCompare(right);
}
