/**
 * A reporter for node's test runner that writes one JSON line for each test as it ends, so that a run that is killed has
 * been counted as far as it came. Counted are tests, not the suites around them; a file that cannot be loaded is a failed test.
 */
import type { TestEvent } from 'node:test/reporters';

/** One test's end. */
export interface Counted {
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** `file: name` */
  readonly name: string;
}

/** How one event counts; undefined for everything that is no test's end. */
export function count(event: TestEvent): Counted | undefined {
  if (event.type === 'test:fail') {
    const { name, file, details } = event.data;
    // A suite or parent that failed only because something inside did is no failure of its own.
    const isInside = Reflect.get(details.error, 'failureType') === 'subtestsFailed';
    return isInside ? undefined : { outcome: 'failed', name: `${file ?? ''}: ${name}` };
  }
  if (event.type !== 'test:pass' || event.data.details.type === 'suite') return undefined;
  const { name, file, skip, todo } = event.data;
  const outcome = isMarked(skip) || isMarked(todo) ? 'skipped' : 'passed';
  return { outcome, name: `${file ?? ''}: ${name}` };
}

const isMarked = (mark: string | boolean | undefined): boolean => mark !== undefined && mark !== false;

export default async function* countReporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    const counted = count(event);
    if (counted !== undefined) yield `${JSON.stringify(counted)}\n`;
  }
}
