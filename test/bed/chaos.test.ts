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

  test('and a node that is not moored again, or k3s started for nothing, is found', async () => {
    const nobody: Fault = {
      name: 'mooring stopped for good, and the link changed by others',
      touches: ['mooring', 'resolved'],
      k3sStarts: 0,
      begin: async (scene) => {
        await scene.strike('systemctl', 'stop', 'mooring.service');
        await scene.strike('resolvectl', 'revert', scene.device);
        return undefined;
      },
    };
    const lost = await storm.round({ faults: [nobody], lastsMs: 0 }, 3_000);
    assert.equal(lost.recoveredMs, undefined);
    assert.match(
      lost.wrong.join('\n'),
      /readyz answers 000.*resolved's servers.*nas\.home\.example: no answer/s,
    );

    const restarted = faults.find(({ name }) => name === 'zerotier-one restarted');
    assert.ok(restarted !== undefined);
    const counted = await storm.round({ faults: [{ ...restarted, k3sStarts: 0 }], lastsMs: 0 });
    assert.deepEqual(counted.wrong, ['mooring started k3s 1 times, with a reason for 0']);
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
