import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { plan } from '../../../src/agent/plan.ts';
import type { World } from '../../../src/agent/world.ts';
import {
  aConfig,
  aLink,
  aMemory,
  aNetwork,
  at,
  aWorld,
  device,
  networkId,
  zerotierAnswers,
} from '../../support/world.ts';

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

describe("the node's address in the cluster", () => {
  test('is the IPv4 address of the link that k3s is bound to, whatever other networks carry', () => {
    const other = { id: '8056c2e21c000002', portDeviceName: 'ztother', assignedAddresses: ['10.1.0.7/24'] };
    const assigned = ['10.45.0.7/24', 'fd00::7/64'];
    const world = aWorld({
      zerotier: zerotierAnswers({
        networks: [aNetwork({ assignedAddresses: assigned }), aNetwork(other)],
      }),
      links: {
        [device]: aLink({ addresses: assigned }),
        ztother: aLink({ name: 'ztother', ifindex: 8, addresses: ['10.1.0.7/24'] }),
      },
    });
    const networks = [{ id: other.id }, { id: networkId }];
    const { k3s } = aConfig();
    const config = aConfig({ zerotier: { networks } });
    const bound = { ...config, k3s: { ...k3s, network: networkId } };
    const result = plan({ config: bound, world, memory: aMemory(), now: at(100_000) }, 0.5);
    assert.deepEqual(result.readyAddresses, ['10.1.0.7', '10.45.0.7', 'fd00::7']);
    assert.equal(result.nodeIp, '10.45.0.7');
  });
});
