import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { begun, type Memory } from '../../../src/agent/memory.ts';
import { linkStage } from '../../../src/agent/stages/link.ts';
import { podNetworkStage } from '../../../src/agent/stages/pod-network.ts';
import { k3sUnit, type World } from '../../../src/agent/world.ts';
import type { FlannelDevice } from '../../../src/systems/netlink/types.ts';
import { aConfig, aMemory, at, aWorld, units } from '../../support/world.ts';

const config = aConfig();
const flannel: FlannelDevice = {
  name: 'flannel.1',
  ifindex: 9,
  parentIfindex: 7,
  local: '10.45.0.7',
  routes: ['10.42.0.0/24', '10.42.2.0/24'],
  direct: [],
};
const running = units({ startedMs: 1_000 });

function ask(podNetwork: readonly FlannelDevice[], memory: Memory, ms: number, world: Partial<World> = {}) {
  const input = { config, world: aWorld({ units: running, podNetwork, ...world }), memory, now: at(ms) };
  const link = linkStage(input);
  return podNetworkStage({ ...input, memory: link.memory }, link.links);
}
const seen = () => ask([flannel], aMemory(), 50_000).memory;

describe('the pod network', () => {
  test('is checked only once a device of flannel has been seen', () => {
    assert.equal(ask([], aMemory(), 100_000).findings.PodNetworkReady.reason, 'NotChecked');
    assert.equal(ask([flannel], aMemory(), 100_000).findings.PodNetworkReady.reason, 'Present');
  });

  for (const [what, devices, reason] of [
    ['its device is gone', [], 'DeviceMissing'],
    ['its device hangs on another interface', [{ ...flannel, parentIfindex: 6 }], 'OtherParent'],
    ['it sends from an address of yesterday', [{ ...flannel, local: '10.45.0.6' }], 'OtherAddress'],
    ['the routes that were there are gone', [{ ...flannel, routes: [] }], 'RoutesMissing'],
  ] as const) {
    test(`asks for one restart when ${what}, after a patience`, () => {
      const first = ask(devices, seen(), 100_000);
      assert.equal(first.findings.PodNetworkReady.reason, reason);
      assert.equal(first.wantsRestart, false);
      assert.equal(first.wakeAtMs, 110_000);
      const due = ask(devices, first.memory, 110_000);
      assert.equal(due.wantsRestart, true);
      const restart = { do: 'unit.restart', unit: k3sUnit, reason: 'pod-network' } as const;
      const budget = { count: 5, periodMs: 600_000, maxDelayMs: 1 };
      const asked = begun(due.memory, restart, { nowMs: 110_000, random: 0, budget });
      const later = ask(devices, asked, 300_000);
      assert.equal(later.wantsRestart, false);
      assert.match(later.findings.PodNetworkReady.message, /a restart of k3s did not mend that/);
      const fine = ask([flannel], later.memory, 310_000);
      assert.equal(fine.memory.podNetwork.wasAsked, false);
    });
  }

  test('is left alone while k3s has only just started', () => {
    const young = { units: units({ startedMs: 95_000 }) };
    const first = ask([], seen(), 100_000, young);
    assert.equal(ask([], first.memory, 120_000, young).wantsRestart, false);
    assert.equal(ask([], first.memory, 125_000, young).wantsRestart, true);
  });

  test('without routes is no fault in a run of k3s that never had any', () => {
    const other = { units: units({ startedMs: 1_000, invocationId: 'd'.repeat(32) }) };
    assert.equal(
      ask([{ ...flannel, routes: [] }], seen(), 100_000, other).findings.PodNetworkReady.status,
      'true',
    );
  });

  test('is unknown, and no breakage is counted, while k3s or the link is away', () => {
    const broken = ask([], seen(), 100_000);
    for (const world of [{ units: units({ activeState: 'activating' }) }, { links: {} }]) {
      const away = ask([], broken.memory, 105_000, world);
      assert.equal(away.findings.PodNetworkReady.status, 'unknown');
      assert.equal(ask([], away.memory, 112_000).wantsRestart, false);
    }
  });

  test('whose tunnel address cannot be read is judged by the rest', () => {
    assert.equal(
      ask([{ ...flannel, local: undefined }], seen(), 100_000).findings.PodNetworkReady.status,
      'true',
    );
  });
});
