/** What a storm came to, by fault: for a person as a table, for programs as it is. */
import { faults, notDrawn } from './faults.ts';
import { type Outcome, seconds } from './storm.ts';

/** Rounds with two faults have one line together: nobody can say which of them took the time. */
const together = 'two at a time';
/** How many of the slowest rounds are told one by one. */
const slowest = 5;

/** The table, the slowest rounds with their causes, and what went wrong. */
export function renderReport(outcomes: readonly Outcome[]): string {
  const titles = [...faults.map(({ name }) => name), together];
  const width = Math.max(...titles.map((title) => title.length));
  const rows = titles
    .map((title) => ({ title, own: outcomes.filter((outcome) => titleOf(outcome) === title) }))
    .filter(({ own }) => own.length > 0)
    .map(({ title, own }) => row(title.padEnd(width), own));
  const never = faults.filter(({ name }) => !outcomes.some((one) => one.faults.includes(name)));
  const bySlowness = outcomes
    .filter(({ recoveredMs }) => recoveredMs !== undefined)
    .sort((left, right) => (right.recoveredMs ?? 0) - (left.recoveredMs ?? 0));
  return [
    `${'fault'.padEnd(width)}  count  median     p99   worst  k3s starts  not recovered`,
    ...rows,
    row('all'.padEnd(width), outcomes),
    'slowest:',
    ...bySlowness.slice(0, slowest).map((one) => `  ${seconds(one.recoveredMs ?? 0)} s  ${namesOf(one)}`),
    ...(never.length === 0 ? [] : [`not drawn this time: ${never.map(({ name }) => name).join(', ')}`]),
    ...Object.entries(notDrawn).map(([name, why]) => `never drawn: ${name} (${why})`),
    ...outcomes
      .filter(({ wrong }) => wrong.length > 0)
      .map((one) => `WRONG: ${namesOf(one)}: ${one.wrong.join('; ')}`),
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

const namesOf = ({ faults: names }: Outcome): string => names.join(' + ');

function titleOf(outcome: Outcome): string {
  return outcome.faults.length > 1 ? together : namesOf(outcome);
}
