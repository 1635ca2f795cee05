import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Action } from '../../../src/agent/actions.ts';
import type { Epoch } from '../../../src/agent/epoch.ts';
import { begun, cleared, emptyMemory, ended, parseMemory } from '../../../src/agent/memory.ts';

const epoch: Epoch = { ifindex: 7, addresses: ['10.45.0.7/24'], config: 'text', binary: '1', outages: 0 };
const context = {
  nowMs: 1_000,
  random: 0.5,
  budget: { count: 5, periodMs: 600_000, maxDelayMs: 600_000 },
  epoch,
  k3sUnit: 'k3s-node.service',
};
const restart: Action = { do: 'unit.restart', unit: 'k3s-node.service', reason: 'ifindex' };

describe('the memory', () => {
  test('survives being written and read', () => {
    const memory = begun(emptyMemory(5), restart, context);
    assert.deepEqual(parseMemory(JSON.parse(JSON.stringify(memory)))?.budgets, memory.budgets);
    assert.deepEqual(parseMemory(JSON.parse(JSON.stringify(memory)))?.pending, epoch);
  });

  for (const [what, value] of [
    ['nothing', undefined],
    ['another version', { ...emptyMemory(0), version: 2 }],
    ['a list', []],
    ['a truncated object', { version: 1, startedMs: 3 }],
    ['a field of another type', { ...emptyMemory(0), attempts: 'x' }],
    ['conditions that are no list', { ...emptyMemory(0), conditions: {} }],
  ] as const) {
    test(`is not believed when it is ${what}`, () => {
      assert.equal(parseMemory(value), undefined);
    });
  }

  test('a restart draws from the budget, is counted, and notes the epoch before it begins', () => {
    const memory = begun(emptyMemory(0), restart, context);
    assert.equal(memory.budgets['k3s-node.service']?.tokens, 4);
    assert.deepEqual(memory.restarts, { 'k3s-node.service ifindex': 1 });
    assert.equal(memory.pending, epoch);
  });

  test("another unit's start leaves the pending epoch of k3s alone", () => {
    const pending = begun(emptyMemory(0), restart, context);
    const other = begun(
      pending,
      { do: 'unit.start', unit: 'mooring-ingress.service', reason: 'start' },
      { ...context, epoch: undefined },
    );
    assert.equal(other.pending, epoch);
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
