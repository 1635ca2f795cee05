import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { begun } from '../../../src/agent/memory.ts';
import { newDeviceDns } from '../../../src/agent/stages/new-device-dns.ts';
import { aConfig, aLink, aMemory, device, networkId } from '../../support/world.ts';

const served = aMemory({ dnsSet: { [device]: 7 } });
const links = (ifindex: number) => ({ [device]: aLink({ ifindex, up: false, addresses: [] }) });

describe('DNS of a device that came back', () => {
  test('is wanted on the new ifindex before the device is up', () => {
    const [action, ...more] = newDeviceDns(aConfig(), served, links(8));
    assert.equal(action?.do === 'dns.set' && action.ifindex, 8);
    assert.deepEqual(more, []);
  });

  test('is not set again on an ifindex that was served, nor where there is no device', () => {
    assert.deepEqual(newDeviceDns(aConfig(), served, links(7)), []);
    assert.deepEqual(newDeviceDns(aConfig(), served, {}), []);
  });

  test('is asked for once: what failed is left to the stage, which waits between its tries', () => {
    const config = aConfig();
    const [action] = newDeviceDns(config, served, links(8));
    assert.ok(action);
    const budget = { count: 5, periodMs: 600_000, maxDelayMs: 1 };
    const after = begun(served, action, { nowMs: 0, random: 0.5, budget });
    assert.deepEqual(newDeviceDns(config, after, links(8)), []);
    assert.deepEqual(newDeviceDns(config, { ...after, dnsSet: {} }, links(8)), []);
  });

  test('is left alone where the config wants none, or the network has never told it', () => {
    const none = aConfig({ zerotier: { networks: [{ id: networkId, dns: 'none' }] } });
    assert.deepEqual(newDeviceDns(none, served, links(8)), []);
    const known = served.networks[networkId];
    assert.ok(known);
    const untold = aMemory({ networks: { [networkId]: { ...known, configured: false } } });
    assert.deepEqual(newDeviceDns(aConfig(), untold, links(8)), []);
  });
});
