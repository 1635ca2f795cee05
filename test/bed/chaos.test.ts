/** Twenty-five random faults on one moored node. `make chaos` draws as many as there is time for, and says how fast it was. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Bed } from './bed.ts';
import { draw, type Round } from './chaos/draw.ts';
import { type Fault, faults } from './chaos/faults.ts';
import { mooredBed, Storm } from './chaos/storm.ts';

const count = 25;
const seed = 20_261;

/** As many rounds as have `count` faults together. */
function rounds(): Round[] {
  const drawn: Round[] = [];
  const isLeftOut = ({ standinOnly }: Fault) => standinOnly === true && isReal;
  const source = draw({ seed, spansMs: [0, 200, 800], isLeftOut });
  while (drawn.flatMap((round) => round.faults).length < count) drawn.push(source.next().value);
  return drawn;
}
const isReal = (process.env['MOORING_BED_ZEROTIER'] ?? '') !== '';

describe('a node that faults come upon is moored again by itself', () => {
  let bed: Bed;
  let storm: Storm;
  const told: string[] = [];

  before(async () => {
    bed = await mooredBed(() => undefined);
    storm = await Storm.on(bed, { boundMs: isReal ? 150_000 : 45_000, tell: (line) => told.push(line) });
  });
  after(async () => {
    await bed?.stop();
  });

  for (const round of rounds())
    test(`after: ${round.faults.map(({ name }) => name).join(' and ')}`, async () => {
      const { wrong } = await storm.round(round);
      assert.deepEqual(wrong, [], told.join('\n'));
    });
});

describe('the faults of a seed', () => {
  test('are the same each time, and each comes before any comes again', () => {
    const first = draw({ seed, spansMs: [1] });
    const again = draw({ seed, spansMs: [1] });
    const names: string[] = [];
    while (names.length < faults.length) {
      const round = first.next().value;
      assert.deepEqual(again.next().value, round);
      names.push(...round.faults.map(({ name }) => name));
    }
    assert.equal(new Set(names).size, faults.length);
  });
});
