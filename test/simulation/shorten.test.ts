/** The shortener, with bugs that were planted for it: in a schedule that is not run at all, and in a brain. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brokenBrains } from './broken-brains.ts';
import { faults } from './faults.ts';
import { type DrawnFault, draw, runSchedule } from './schedule.ts';
import { describeSchedule, shortened } from './shorten.ts';

function fault(name: string) {
  const found = faults.find((one) => one.name === name);
  assert.ok(found, `there is no fault "${name}"`);
  return found;
}

const aDrawn = (name: string, atMs: number, changes: Partial<DrawnFault> = {}): DrawnFault => ({
  atMs,
  lastsMs: 0,
  times: 1,
  seed: 1,
  fault: fault(name),
  ...changes,
});

const crowd = [
  aDrawn('mooring is upgraded', 1_234),
  aDrawn('the bus is away', 71_003, { lastsMs: 210_000 }),
  aDrawn('zerotier-one restarts again and again', 93_217, { times: 30 }),
  aDrawn('the API hangs', 95_001, { lastsMs: 45_000 }),
  aDrawn('k3s crashes', 400_000),
];

test('what does not matter goes, what does gets early, short and rare', async () => {
  const { drawn, result } = await shortened(crowd, async (faultsOfNow) => {
    const bus = faultsOfNow.find((one) => one.fault.name === 'the bus is away');
    const restarts = faultsOfNow.find((one) => one.fault.name.startsWith('zerotier-one restarts'));
    const isPlanted =
      bus !== undefined && restarts !== undefined && bus.lastsMs >= 20_000 && restarts.times >= 3;
    return { violations: isPlanted ? ['at 300.000 s: k3s began 12 times'] : [] };
  });

  assert.deepEqual(result.violations, ['at 300.000 s: k3s began 12 times']);
  assert.deepEqual(describeSchedule(drawn), [
    'at 60 s: the bus is away, until 90 s',
    'at 60 s: zerotier-one restarts again and again, 3 times, 7 s apart',
  ]);
});

test('a time that matters stays, as round as it can be', async () => {
  const { drawn } = await shortened(crowd, async (faultsOfNow) => {
    const isPlanted = faultsOfNow.some((one) => one.fault.name === 'k3s crashes' && one.atMs >= 333_333);
    return { violations: isPlanted ? ['at 500.000 s: planted'] : [] };
  });

  assert.deepEqual(describeSchedule(drawn), ['at 360 s: k3s crashes']);
});

test('it does not slip to another violation on the way', async () => {
  const { result } = await shortened(crowd, async (faultsOfNow) => ({
    violations: faultsOfNow.length > 2 ? ['at 500.000 s: planted'] : ['at 9.000 s: another one'],
  }));

  assert.deepEqual(result.violations, ['at 500.000 s: planted']);
});

test('what begins after the violation goes at once', async () => {
  let tries = 0;
  await shortened(crowd, async (faultsOfNow) => {
    tries += 1;
    if (tries === 2) assert.ok(faultsOfNow.every((one) => one.atMs <= 80_000));
    return { violations: ['at 80.000 s: planted'] };
  });
  assert.ok(tries >= 2);
});

test('a bug in a brain comes down to one fault, and that fault alone fails again', async () => {
  const broken = brokenBrains.find(
    (make) => make().name === 'believes that resolved keeps what it was once told',
  );
  assert.ok(broken);
  const run = (seed: number) => (drawn: readonly DrawnFault[]) => runSchedule(seed, broken(), drawn);
  let seed = 1;
  while ((await run(seed)(draw(seed))).violations.length === 0) seed += 1;

  const { drawn } = await shortened(draw(seed), run(seed));

  assert.equal(drawn.length, 1, describeSchedule(drawn).join('\n'));
  assert.notEqual((await run(seed)(drawn)).violations.length, 0);
});
