import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { attemptBegun, backoffMs, mayTry } from '../../../src/agent/attempts.ts';
import {
  allowances,
  type Budget,
  type BudgetPolicy,
  drawn,
  fullBudget,
  nextAllowedMs,
} from '../../../src/agent/budget.ts';
import { aConfig, at } from '../../support/world.ts';

const policy: BudgetPolicy = { count: 5, periodMs: 600_000, maxDelayMs: 600_000 };

/** A small seeded source in [0, 1), mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

describe('the restart budget', () => {
  test('lets the whole bucket go at once, then asks to wait', () => {
    let budget = fullBudget(policy, 0);
    for (let restart = 0; restart < 5; restart += 1) {
      assert.ok(nextAllowedMs(budget, policy, 0) <= 0, `restart ${restart}`);
      budget = drawn(budget, policy, 0, 0);
    }
    assert.equal(nextAllowedMs(budget, policy, 0), 120_000);
  });

  test('backs off further the longer the bucket stays dry, within maxDelay', () => {
    const dry = (times: number): Budget => ({ tokens: 1, atMs: 0, dry: times, notBeforeMs: 0 });
    const waits = [0, 3, 30].map((times) => drawn(dry(times), policy, 0, 0.999).notBeforeMs);
    assert.ok((waits[0] ?? 0) < (waits[1] ?? 0) && (waits[1] ?? 0) < (waits[2] ?? 0));
    assert.ok((waits[2] ?? 0) <= policy.maxDelayMs);
  });

  test('never grants more than twice the count in any window of the period, however eager the caller is', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const random = seeded(seed);
      const grants: number[] = [];
      let budget = fullBudget(policy, 0);
      for (let nowMs = 0; nowMs < 3 * policy.periodMs; nowMs += 1_000) {
        if (nextAllowedMs(budget, policy, nowMs) > nowMs) continue;
        budget = drawn(budget, policy, nowMs, random());
        grants.push(nowMs);
      }
      const most = Math.max(
        ...grants.map((start) => grants.filter((at) => at >= start && at < start + policy.periodMs).length),
      );
      assert.ok(most <= 2 * policy.count, `seed ${seed}: ${most} in one period`);
      assert.ok(grants.length >= policy.count, `seed ${seed}: the budget must not dry up for good`);
    }
  });

  test('survives a clock that stands still or a memory from the future', () => {
    const budget = { tokens: 2, atMs: 1_000_000, dry: 0, notBeforeMs: 0 };
    assert.ok(nextAllowedMs(budget, policy, 5) <= 5);
  });
});

describe('what is told of the budgets', () => {
  test('is what is left of each, with its own limits, and until when an empty one withholds', () => {
    const empty: Budget = { tokens: 0.5, atMs: 1_000, dry: 1, notBeforeMs: 90_500 };
    const told = allowances(
      {
        'zerotier-one.service': { ...fullBudget(policy, 0), tokens: 2.7, atMs: 1_000 },
        'k3s-node.service': empty,
      },
      aConfig(),
      at(1_000),
    );
    assert.deepEqual(told, [
      { name: 'k3s-node.service', left: 0, of: 5, withheldUntilMs: at(91_000).wallMs },
      { name: 'zerotier-one.service', left: 2, of: 3, withheldUntilMs: undefined },
    ]);
    const [later] = allowances({ 'k3s-node.service': empty }, aConfig(), at(120_000));
    assert.deepEqual(later, { name: 'k3s-node.service', left: 1, of: 5, withheldUntilMs: undefined });
  });
});

describe('backoff between attempts', () => {
  const backoff = { firstMs: 200, maxMs: 30_000 };

  test('stays between half of the first wait and the ceiling', () => {
    for (const count of [1, 2, 5, 100]) {
      assert.equal(backoffMs(count, backoff, 0), 100);
      assert.ok(backoffMs(count, backoff, 0.9999) <= backoff.maxMs);
    }
    assert.ok(backoffMs(100, backoff, 0.9999) > 29_000);
  });

  test('an attempt is not repeated before its time', () => {
    const attempt = attemptBegun(undefined, 1_000, backoff, 0);
    assert.equal(mayTry(attempt, 1_099), false);
    assert.equal(mayTry(attempt, 1_100), true);
    assert.equal(mayTry(undefined, 0), true);
  });
});
