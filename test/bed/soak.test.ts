/** A short soak of a moored node; `make soak` does the long one. And the judge of it, with made-up samples. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mooredBed } from './chaos/storm.ts';
import { courses, renderCourses, type Sample } from './soak/judge.ts';
import { soak } from './soak/soak.ts';

/** Samples after 0, 100, 200, … renewals. */
function samples(count: number, of: (renewals: number) => Partial<Sample>): Sample[] {
  return Array.from({ length: count }, (_, index) => ({
    renewals: index * 100,
    busRestarts: index * 10,
    openFiles: 35,
    matchRules: 19,
    listeners: 350,
    resources: 11,
    processes: 2,
    heapBytes: 13_000_000,
    externalBytes: 3_000_000,
    rssBytes: 95_000_000,
    ...of(index * 100),
  }));
}
const wrongOnes = (made: readonly Sample[]) =>
  courses(made).flatMap(({ name, wrong }) => (wrong === undefined ? [] : [name]));

describe('a soak', () => {
  test('finds what stays flat in order, and what swings', () => {
    assert.deepEqual(wrongOnes(samples(21, () => ({}))), []);
    const swings = (renewals: number) => ({
      openFiles: renewals === 2000 ? 36 : 35,
      listeners: renewals % 300 === 0 ? 352 : 350,
      heapBytes: 13_000_000 + (renewals % 200 === 0 ? 100_000 : 0),
    });
    assert.deepEqual(wrongOnes(samples(21, swings)), []);
  });

  test('does not judge the beginning', () => {
    const settles = (renewals: number) => ({ heapBytes: renewals < 500 ? 9_000_000 : 13_000_000 });
    assert.deepEqual(wrongOnes(samples(21, settles)), []);
  });

  test('finds a file, a match rule or a listener that is left behind each time, or each tenth time', () => {
    for (const key of ['openFiles', 'matchRules', 'listeners', 'resources', 'processes'] as const) {
      for (const share of [1, 0.1, 0.005]) {
        const leaks = samples(21, (renewals) => ({ [key]: 20 + Math.floor(renewals * share) }));
        assert.equal(wrongOnes(leaks).length, 1, `${key} ${share}`);
      }
    }
  });

  test('finds in a short soak what each new bus leaves behind, and no moment', () => {
    const listeners = (of: (restarts: number) => number) =>
      samples(4, () => ({})).map((sample, look) => ({
        ...sample,
        renewals: look * 20,
        busRestarts: look * 2,
        listeners: of(look * 2),
      }));
    assert.deepEqual(wrongOnes(listeners((restarts) => 350 + restarts)), ['event listeners']);
    assert.deepEqual(wrongOnes(listeners((restarts) => (restarts < 3 ? 375 : 376))), []);
  });

  test('finds memory that is left behind each time', () => {
    const leaks = (bytes: number) =>
      samples(21, (renewals) => ({ heapBytes: 13_000_000 + renewals * bytes }));
    assert.deepEqual(wrongOnes(leaks(200)), []);
    assert.deepEqual(wrongOnes(leaks(300)), ['heap after collection']);
    const short = samples(7, (renewals) => ({ heapBytes: 13_000_000 + renewals * 3_000 }));
    assert.deepEqual(wrongOnes(short), ['heap after collection']);
  });

  test('leaves nothing behind in mooring', async () => {
    const told: string[] = [];
    const bed = await mooredBed(() => undefined);
    try {
      const options = { renewals: 120, busRestarts: 12, rounds: 3, tell: (line: string) => told.push(line) };
      const all = courses(await soak(bed, options));
      assert.deepEqual(
        all.filter(({ wrong }) => wrong !== undefined),
        [],
        `${renderCourses(all)}\n${told.join('\n')}`,
      );
    } finally {
      await bed.stop();
    }
  });
});
