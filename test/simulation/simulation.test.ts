/** The brain against a simulated node: ten thousand drawn schedules, and what makes a seed worth something. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runCampaign } from './campaign.ts';
import { runSchedule } from './schedule.ts';
import { tellFailure } from './shorten.ts';

const schedules = 10_000;

describe('the brain', () => {
  test(`holds ${schedules} schedules of faults`, async (context) => {
    const { failedSeed, livedMs } = await runCampaign({ first: 1, count: schedules });
    if (failedSeed !== undefined) assert.fail(await tellFailure(failedSeed));
    context.diagnostic(`${(livedMs / 3_600_000).toFixed(0)} virtual hours`);
  });

  test('does the same for the same seed', async () => {
    const [first, second] = [await runSchedule(7), await runSchedule(7)];
    assert.deepEqual(first.trail, second.trail);
    assert.equal(first.recoveredAfterMs, second.recoveredAfterMs);
  });
});
