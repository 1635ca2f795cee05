/** Each brain that is broken on purpose is caught within the schedules that the whole one holds. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { brokenBrains } from './broken-brains.ts';
import { runSchedule } from './schedule.ts';

const schedules = 10_000;

describe('the simulation notices a brain that', () => {
  for (const broken of brokenBrains) {
    test(broken().name, async (context) => {
      for (let seed = 1; seed <= schedules; seed += 1) {
        const { violations } = await runSchedule(seed, broken());
        if (violations.length === 0) continue;
        context.diagnostic(`seed ${seed}: ${violations[0]}`);
        return;
      }
      assert.fail(`all of ${schedules} schedules hold`);
    });
  }
});
