import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Action } from '../../../src/agent/actions.ts';
import { begun, cleared, emptyMemory, ended, parseMemory } from '../../../src/agent/memory.ts';

const context = {
  nowMs: 1_000,
  random: 0.5,
  budget: { count: 5, periodMs: 600_000, maxDelayMs: 600_000 },
};
const restart: Action = { do: 'unit.restart', unit: 'k3s-node.service', reason: 'ifindex' };

describe('the memory', () => {
  test('survives being written and read', () => {
    const memory = begun(emptyMemory(5), restart, context);
    assert.deepEqual(parseMemory(JSON.parse(JSON.stringify(memory)))?.budgets, memory.budgets);
    assert.deepEqual(parseMemory(JSON.parse(JSON.stringify(memory)))?.restarts, memory.restarts);
  });

  for (const [what, value] of [
    ['nothing', undefined],
    ['another version', { ...emptyMemory(0), version: 2 }],
    ['a list', []],
    ['a field of another type', { ...emptyMemory(0), attempts: 'x' }],
    ['conditions that are no list', { ...emptyMemory(0), conditions: {} }],
  ] as const) {
    test(`is not believed when it is ${what}`, () => {
      assert.equal(parseMemory(value), undefined);
    });
  }

  test('of an earlier version is taken over, and what it did not know has its first value', () => {
    const { podNetwork: _, ...earlier } = emptyMemory(5);
    assert.deepEqual(parseMemory(earlier), emptyMemory(5));
  });

  test('a restart draws from the budget and is counted', () => {
    const memory = begun(emptyMemory(0), restart, context);
    assert.equal(memory.budgets['k3s-node.service']?.tokens, 4);
    assert.deepEqual(memory.restarts, { 'k3s-node.service ifindex': 1 });
  });

  test('DNS that could not be reverted stays to be reverted', () => {
    const revert: Action = { do: 'dns.revert', device: 'ztabcdefgh', ifindex: 7 };
    const set = { ...emptyMemory(0), dnsSet: { ztabcdefgh: 7 } };
    const failed = ended(begun(set, revert, context), revert, { ok: false, code: 'x', message: 'busy' });
    assert.deepEqual(failed.dnsSet, { ztabcdefgh: 7 });
    const done = ended(failed, revert, { ok: true });
    assert.deepEqual([done.dnsSet, done.attempts], [{}, {}]);
  });

  test('a failure is kept with its words until the thing is so', () => {
    const tried = ended(begun(emptyMemory(0), restart, context), restart, {
      ok: false,
      code: 'x',
      message: 'refused',
    });
    assert.equal(tried.attempts['unit.restart:k3s-node.service']?.error, 'refused');
    assert.deepEqual(cleared(tried, ['unit.restart:k3s-node.service']).attempts, {});
  });
});
