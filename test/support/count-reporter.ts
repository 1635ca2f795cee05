/**
 * A reporter for node's test runner that writes one JSON document: how many tests passed, failed and were skipped, and the
 * names of those that failed. Counted are tests, not the suites around them; a file that cannot be loaded is a failed test.
 */
import type { TestEvent } from 'node:test/reporters';

/** What is known of one run. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** `file: name` of each that failed. */
  readonly failures: readonly string[];
}

/** Yields once, at the end. */
export default async function* countReporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  let passed = 0;
  let skipped = 0;
  const failures: string[] = [];
  for await (const event of source) {
    if (event.type === 'test:fail') {
      const { name, file, details } = event.data;
      // A suite or parent that failed only because something inside did is no failure of its own.
      if (failureType(details.error) !== 'subtestsFailed') failures.push(`${file ?? ''}: ${name}`);
      continue;
    }
    if (event.type !== 'test:pass') continue;
    const { skip, todo, details } = event.data;
    if (details.type === 'suite') continue;
    if (isMarked(skip) || isMarked(todo)) skipped += 1;
    else passed += 1;
  }
  const counts: Counts = { passed, failed: failures.length, skipped, failures };
  yield `${JSON.stringify(counts)}\n`;
}

const isMarked = (mark: string | boolean | undefined): boolean => mark !== undefined && mark !== false;

function failureType(error: Error): unknown {
  return Reflect.get(error, 'failureType');
}
