import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { plan } from '../../../src/agent/plan.ts';
import type { World } from '../../../src/agent/world.ts';
import { aConfig, aLink, aMemory, at, aWorld, device } from '../../support/world.ts';

const addressesOf = (links: World['links']) =>
  plan({ config: aConfig(), world: aWorld({ links }), memory: aMemory(), now: at(100_000) }, 0.5)
    .zerotierAddresses;

describe("the health server's ZeroTier addresses", () => {
  test('are those that the device carries, whatever ZeroTier assigned', () => {
    assert.deepEqual(addressesOf({ [device]: aLink({ addresses: ['10.45.0.9/24', 'fd00::9/64'] }) }), [
      '10.45.0.9',
      'fd00::9',
    ]);
  });

  test('stay while the device is gone, or is back without showing any, so that nothing is unbound in a flap', () => {
    assert.deepEqual(addressesOf({}), ['10.45.0.7']);
    assert.deepEqual(addressesOf({ [device]: aLink({ up: false, addresses: [] }) }), ['10.45.0.7']);
  });
});
