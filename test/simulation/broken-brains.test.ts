/** Each brain that is broken on purpose is caught within the schedules that the whole one holds. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { brokenBrains } from './broken-brains.ts';
import { runSchedule } from './schedule.ts';

const schedules = 10_000;

describe('the simulation notices a brain that', () => {
  for (const broken of brokenBrains) {
    test(broken().name, async (context) => {
      assert.ok(broken().by, 'it must be told by which violation it is to be caught');
      for (let seed = 1; seed <= schedules; seed += 1) {
        const sabotage = broken();
        const { violations } = await runSchedule(seed, sabotage);
        if (!violations.some((violation) => sabotage.by?.test(violation))) continue;
        context.diagnostic(`seed ${seed}: ${violations.join('; ')}`);
        return;
      }
      assert.fail(`all of ${schedules} schedules hold`);
    });
  }
});
