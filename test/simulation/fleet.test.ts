/** What `make fleet` measures with 10,000 nodes, with 300: its claims that do not depend on the number. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { seeded } from '../support/random.ts';
import { runningAgent, startingAgent } from './fleet-k3s.ts';
import { dial, type Outage, outageOf, type Scenario } from './fleet-outage.ts';
import { never, peakOf, shareBackMs, simulateFleet, sumOf, together } from './fleet-run.ts';

const scenario: Scenario = {
  name: 'home is cut off',
  link: 'unnoticed',
  dialing: 'on-link',
  outageMs: 600_000,
  startingPercent: 5,
};
const part = { seed: 1, first: 0, end: 300, step: 1 };
const cut: Outage = {
  dialing: 'on-link',
  cutMs: 90_000,
  homeMs: 690_000,
  backMs: 690_000,
  refused: undefined,
};

describe('300 nodes that lost home for ten minutes', async () => {
  const fleet = await simulateFleet(scenario, part);
  const { today, moored } = fleet;

  test('had connections to make again, each of them', () => {
    assert.equal(today.backMs.length, 300);
    assert.ok(sumOf(today.k3s) >= 2 * 300, `${sumOf(today.k3s)} attempts`);
    assert.ok(sumOf(moored.probes) >= 300, `${sumOf(moored.probes)} probes`);
  });

  test('ask the server at different times: no second holds more than 5 % of the probes of 3 minutes', () => {
    const share = peakOf(moored.probes).count / sumOf(moored.probes);
    assert.ok(share <= 0.05, `${(share * 100).toFixed(1)} %`);
  });

  test('are restarted once each, since everything beyond their links was silent, and not all at once', () => {
    const restarts = sumOf(moored.restartBegins);
    // Not those that booted just before home came back.
    assert.ok(restarts > 290 && restarts <= 300, `${restarts}`);
    const share = peakOf(moored.restartBegins).count / 300;
    assert.ok(share <= 0.08, `${(share * 100).toFixed(1)} % in one second`);
  });

  test('are all back within a minute, and known to be within the calm pause of the probes', () => {
    assert.ok(shareBackMs(moored.backMs, 1) <= 60_000);
    assert.ok(shareBackMs(moored.toldMs, 1) <= 80_000);
  });
});

describe('a fleet', () => {
  const few = { ...part, end: 20 };

  test('is the same for the same seed, in one part or in several', async () => {
    const whole = await simulateFleet(scenario, few);
    const again = await simulateFleet(scenario, few);
    const parts = [
      await simulateFleet(scenario, { ...few, step: 2 }),
      await simulateFleet(scenario, { ...few, first: 1, step: 2 }),
    ];
    assert.deepEqual(again, whole);
    assert.deepEqual(together(parts).moored.probes, whole.moored.probes);
    assert.deepEqual(together(parts).today.k3s, whole.today.k3s);
  });

  test('is another one for another seed', async () => {
    const one = await simulateFleet(scenario, few);
    const other = await simulateFleet(scenario, { ...few, seed: 2 });
    assert.notDeepEqual(other.moored.probes, one.moored.probes);
  });

  test('restarts each k3s once when the links themselves were lost for longer than an outage', async () => {
    const { moored, nodes } = await simulateFleet({ ...scenario, link: 'refused', startingPercent: 0 }, few);
    assert.equal(sumOf(moored.restartBegins), nodes);
    assert.notEqual(shareBackMs(moored.backMs, 1), never);
  });
});

describe('the model of k3s', () => {
  test('reaches nobody while home is away, and gives up as the kernel does', () => {
    assert.deepEqual(dial(cut, 100_000), { reached: false, atMs: 103_000 });
    assert.deepEqual(dial(cut, 100_000, 2_500), { reached: false, atMs: 102_500 });
    assert.deepEqual(dial({ ...cut, dialing: 'silent' }, 100_000), { reached: false, atMs: 227_000 });
  });

  test('is heard by the first question after home is back', () => {
    assert.deepEqual(dial(cut, 688_500), { reached: true, atMs: 690_500 });
    assert.deepEqual(dial({ ...cut, dialing: 'silent' }, 680_000), { reached: true, atMs: 695_000 });
  });

  test('keeps the connections of a running agent through an outage that is shorter than its patience', () => {
    const short = outageOf({ ...scenario, outageMs: 50_000 }, seeded(1));
    assert.deepEqual(runningAgent(short, seeded(1)).attemptsMs, []);
  });

  test('brings a running agent back within seconds, and a starting one after its burst', () => {
    const running = runningAgent(cut, seeded(1));
    assert.equal(running.attemptsMs.length, 2);
    assert.ok(running.attemptsMs.every((atMs) => atMs >= cut.backMs && atMs < cut.backMs + 11_000));
    const starting = startingAgent(cut, seeded(1), 300_000);
    assert.equal(starting.attemptsMs.length, 17);
    assert.ok(starting.backMs >= cut.backMs + 5_000 && starting.backMs < cut.backMs + 13_000);
  });
});
