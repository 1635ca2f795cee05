import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { begun, type Memory } from '../../../src/agent/memory.ts';
import { linkStage } from '../../../src/agent/stages/link.ts';
import { podNetworkStage } from '../../../src/agent/stages/pod-network.ts';
import { k3sUnit, type World } from '../../../src/agent/world.ts';
import type { ClusterNode, ClusterReading } from '../../../src/systems/cluster/types.ts';
import type { FlannelDevice } from '../../../src/systems/netlink/types.ts';
import { aConfig, aMemory, at, aWorld, units } from '../../support/world.ts';

const k3sSettings = { server: 'https://k3s.home.example:6443', token: { file: '/etc/mooring/k3s-token' } };
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
const noCluster = { kind: 'unknown', reason: 'refused', error: 'the API answers with status 403' } as const;

function ask(podNetwork: readonly FlannelDevice[], memory: Memory, ms: number, world: Partial<World> = {}) {
  const input = {
    config,
    world: aWorld({ units: running, podNetwork, cluster: noCluster, ...world }),
    memory,
    now: at(ms),
  };
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

  test('asks again for a restart that never came about, since the run of k3s is still the same', () => {
    const epoch = { ifindex: 7, addresses: [], config: '', binary: '', outages: 0 };
    const bound = { invocationId: 'a'.repeat(32), startedMs: 1_000, epoch };
    const due = ask([], ask([], { ...seen(), bound }, 100_000).memory, 110_000);
    const restart = { do: 'unit.restart', unit: k3sUnit, reason: 'pod-network' } as const;
    const budget = { count: 5, periodMs: 600_000, maxDelayMs: 1 };
    const asked = begun(due.memory, restart, { nowMs: 110_000, random: 0, budget });

    assert.equal(ask([], asked, 120_000).wantsRestart, true);
    const restarted = { units: units({ startedMs: 111_000, invocationId: 'd'.repeat(32) }) };
    assert.equal(ask([], asked, 300_000, restarted).wantsRestart, false);
  });

  test('is left alone while k3s has only just started, and flannel has not shown its routes yet', () => {
    const young = { units: units({ startedMs: 95_000, invocationId: 'd'.repeat(32) }) };
    const first = ask([], seen(), 100_000, young);
    assert.equal(ask([], first.memory, 120_000, young).wantsRestart, false);
    assert.equal(ask([], first.memory, 125_000, young).wantsRestart, true);
    const whole = ask([flannel], first.memory, 101_000, young);
    const broken = ask([], whole.memory, 102_000, young);
    assert.deepEqual([broken.wantsRestart, broken.wakeAtMs], [false, 112_000]);
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

  test('is not looked at where the config says so', () => {
    const off = aConfig({ k3s: { ...k3sSettings, podNetwork: { check: false } } });
    const input = { config: off, world: aWorld({ units: running }), memory: seen(), now: at(100_000) };
    const { findings, cluster } = podNetworkStage(input, linkStage(input).links);
    assert.deepEqual(
      [findings.PodNetworkReady.status, findings.PodNetworkReady.reason],
      ['true', 'NotChecked'],
    );
    assert.deepEqual(cluster, { wanted: false, doubted: [] });
  });

  test('has the waits of the config', () => {
    const slow = aConfig({ k3s: { ...k3sSettings, podNetwork: { patience: '40s', grace: '5m' } } });
    const askSlow = (memory: Memory, ms: number, startedMs: number) => {
      const world = aWorld({ units: units({ startedMs, invocationId: 'd'.repeat(32) }), cluster: noCluster });
      const input = { config: slow, world, memory, now: at(ms) };
      return podNetworkStage(input, linkStage(input).links);
    };
    assert.equal(askSlow(seen(), 400_000, 1_000).wakeAtMs, 440_000);
    assert.equal(askSlow(seen(), 400_000, 390_000).wakeAtMs, 690_000);
  });
});

const vxlan = { backend: 'vxlan', ipv4: true, ipv6: false };
const aNode = (
  name: string,
  network: string,
  atMs: number,
  overrides: Partial<ClusterNode> = {},
): ClusterNode => ({
  name,
  podNetworks: [network],
  flannel: vxlan,
  atMs,
  ...overrides,
});
const own = aNode('edge-1', '10.42.1.0/24', 0);
const server = aNode('server', '10.42.0.0/24', 0);
const clusterOf = (...nodes: readonly ClusterNode[]): ClusterReading => ({
  kind: 'nodes',
  own: 'edge-1',
  nodes,
});
const restart = { do: 'unit.restart', unit: k3sUnit, reason: 'pod-network' } as const;
const budget = { count: 5, periodMs: 600_000, maxDelayMs: 1 };

describe('a device that nobody has seen', () => {
  const registered = (atMs: number, overrides: Partial<ClusterNode> = {}) => ({
    cluster: clusterOf(aNode('edge-1', '10.42.1.0/24', atMs, overrides), server),
  });

  test('is missed where flannel has registered this node in this run of k3s', () => {
    const first = ask([], aMemory(), 100_000, registered(2_000));
    assert.equal(first.findings.PodNetworkReady.reason, 'DeviceMissing');
    assert.match(first.findings.PodNetworkReady.message, /^flannel\.1 is gone/);
    assert.equal(ask([], first.memory, 110_000, registered(2_000)).wantsRestart, true);
    const both = registered(2_000, { flannel: { ...vxlan, ipv6: true } });
    assert.match(ask([flannel], aMemory(), 100_000, both).findings.PodNetworkReady.message, /^flannel-v6\.1/);
  });

  test('is not missed for what was registered before, by another backend, or under another number', () => {
    for (const world of [
      registered(999),
      registered(2_000, { flannel: { ...vxlan, backend: 'wireguard' } }),
      registered(2_000, { flannel: undefined }),
    ])
      assert.equal(ask([], aMemory(), 100_000, world).findings.PodNetworkReady.reason, 'NotChecked');
    const seventh = { ...flannel, name: 'flannel.7' };
    assert.equal(
      ask([seventh], aMemory(), 100_000, registered(2_000)).findings.PodNetworkReady.reason,
      'Present',
    );
  });
});

describe('each other node of the cluster', () => {
  const other = (atMs: number) => aNode('edge-2', '10.42.2.0/24', atMs);
  const lost = [{ ...flannel, routes: ['10.42.0.0/24'] }];

  test('has its route, and that is told', () => {
    const { findings, cluster } = ask([flannel], aMemory(), 100_000, {
      cluster: clusterOf(own, server, other(0)),
    });
    assert.match(findings.PodNetworkReady.message, /each of 2 other nodes has its route/);
    assert.deepEqual(cluster, { wanted: true, doubted: [] });
  });

  test('whose route is gone is asked for first: it may have left the cluster', () => {
    const first = ask(lost, seen(), 100_000, { cluster: clusterOf(own, server, other(90_000)) });
    assert.equal(first.findings.PodNetworkReady.status, 'true');
    assert.match(first.findings.PodNetworkReady.message, /the route to node edge-2 is gone; asking/);
    assert.deepEqual(first.cluster.doubted, ['edge-2']);
    const much = ask(lost, first.memory, 300_000, { cluster: clusterOf(own, server, other(90_000)) });
    assert.equal(much.wantsRestart, false);
    const left = ask(lost, much.memory, 301_000, { cluster: clusterOf(own, server) });
    assert.match(left.findings.PodNetworkReady.message, /each of 1 other nodes/);
    assert.deepEqual(left.memory.unroutedSinceMs, {});
  });

  test('that is still there without its route is worth one restart, after a patience', () => {
    const first = ask(lost, seen(), 100_000, { cluster: clusterOf(own, server, other(90_000)) });
    const certain = clusterOf(own, server, other(102_000));
    const told = ask(lost, first.memory, 102_100, { cluster: certain });
    const { status, reason, message } = told.findings.PodNetworkReady;
    assert.deepEqual([status, reason], ['false', 'RoutesMissing']);
    assert.match(message, /10\.42\.2\.0\/24 of node edge-2 through flannel\.1/);
    assert.deepEqual([told.wantsRestart, told.wakeAtMs, told.cluster.doubted], [false, 110_000, []]);
    const due = ask(lost, told.memory, 110_000, { cluster: certain });
    assert.equal(due.wantsRestart, true);
    const asked = begun(due.memory, restart, { nowMs: 110_000, random: 0, budget });
    const still = ask(lost, asked, 150_000, { cluster: certain });
    assert.equal(still.wantsRestart, false);
    assert.match(still.findings.PodNetworkReady.message, /did not mend that/);
  });

  test('whose route a restart did not bring back is not restarted for again', () => {
    const young = { units: units({ startedMs: 115_000, invocationId: 'd'.repeat(32) }) };
    const asked = { ...seen(), unroutedAsked: ['edge-2'] };
    const unasked = ask(lost, asked, 116_000, { ...young, cluster: { kind: 'unasked' } });
    const doubting = ask(lost, unasked.memory, 120_000, {
      ...young,
      cluster: clusterOf(own, server, other(0)),
    });
    const certain = clusterOf(own, server, other(125_000));
    const sure = ask(lost, doubting.memory, 125_100, { ...young, cluster: certain });
    assert.equal(ask(lost, sure.memory, 300_000, { ...young, cluster: certain }).wantsRestart, false);
  });

  test('has a restart of its own, also where another one’s did not help', () => {
    const two = (atMs: number) => clusterOf(own, aNode('server', '10.42.0.0/24', atMs), other(atMs));
    const none = [{ ...flannel, routes: [] }];
    const first = ask(none, { ...seen(), unroutedAsked: ['edge-2'] }, 100_000, { cluster: two(90_000) });
    const told = ask(none, first.memory, 110_100, { cluster: two(102_000) });
    assert.equal(told.wantsRestart, true);
    const both = begun(told.memory, restart, { nowMs: 110_100, random: 0, budget });
    assert.deepEqual(both.unroutedAsked, ['server', 'edge-2']);
    assert.equal(ask(none, both, 200_000, { cluster: two(190_000) }).wantsRestart, false);
    const mended = ask([flannel], both, 210_000, { cluster: two(190_000) });
    assert.deepEqual(mended.memory.unroutedAsked, []);
  });

  test('without its route is asked for again each minute, since it may leave later', () => {
    const first = ask(lost, seen(), 100_000, { cluster: clusterOf(own, server, other(90_000)) });
    const told = ask(lost, first.memory, 170_000, { cluster: clusterOf(own, server, other(102_000)) });
    assert.equal(told.findings.PodNetworkReady.status, 'false');
    assert.deepEqual(told.cluster.doubted, ['edge-2']);
  });

  test('may be reached directly, without flannel’s device', () => {
    const direct = [{ ...flannel, routes: ['10.42.0.0/24'], direct: ['10.42.2.0/24'] }];
    const { findings } = ask(direct, seen(), 100_000, { cluster: clusterOf(own, server, other(90_000)) });
    assert.match(findings.PodNetworkReady.message, /each of 2/);
  });

  for (const [what, overrides] of [
    ['on which flannel has not registered', { flannel: undefined }],
    ['whose flannel has another backend', { flannel: { ...vxlan, backend: 'host-gw' } }],
    ['whose flannel has no address of the family', { flannel: { ...vxlan, ipv4: false } }],
    ['without a pod network', { podNetworks: [] }],
    ['whose pod network is of a family without a device', { podNetworks: ['2001:db8:42:2::/64'] }],
  ] as const) {
    test(`${what} needs no route`, () => {
      const odd = { ...other(90_000), ...overrides };
      const { cluster, findings } = ask(lost, seen(), 100_000, { cluster: clusterOf(own, server, odd) });
      assert.deepEqual([findings.PodNetworkReady.status, cluster.doubted], ['true', []]);
      assert.match(findings.PodNetworkReady.message, /each of/);
    });
  }

  test('is checked for IPv6 as well, through its own device', () => {
    const both = { backend: 'vxlan', ipv4: true, ipv6: true };
    const node = aNode('edge-2', '10.42.2.0/24', 101_000, {
      podNetworks: ['10.42.2.0/24', '2001:db8:42:2::/64'],
      flannel: both,
    });
    const v6 = { ...flannel, name: 'flannel-v6.1', local: undefined, routes: ['2001:db8:42::/64'] };
    const first = ask([flannel, v6], seen(), 100_000, { cluster: clusterOf(own, node) });
    const told = ask([flannel, v6], first.memory, 102_000, { cluster: clusterOf(own, node) });
    assert.match(
      told.findings.PodNetworkReady.message,
      /2001:db8:42:2::\/64 of node edge-2 through flannel-v6\.1/,
    );
    const whole = { ...v6, routes: ['2001:db8:42:2::/64'] };
    assert.equal(
      ask([flannel, whole], told.memory, 103_000, { cluster: clusterOf(own, node) }).findings.PodNetworkReady
        .status,
      'true',
    );
  });

  test('counts, not whether any route is left: the last other node may leave', () => {
    const alone = [{ ...flannel, routes: [] }];
    const { findings } = ask(alone, seen(), 100_000, { cluster: clusterOf(own) });
    assert.equal(findings.PodNetworkReady.status, 'true');
  });

  test('of many is named up to three', () => {
    const many = Array.from({ length: 1_000 }, (_, n) =>
      aNode(`n${n}`, `10.${n >> 8}.${n & 255}.0/24`, 101_000),
    );
    const first = ask([flannel], seen(), 100_000, { cluster: clusterOf(own, ...many) });
    const told = ask([flannel], first.memory, 101_500, { cluster: clusterOf(own, ...many) });
    assert.match(told.findings.PodNetworkReady.message, /, and 997 more; k3s is restarted/);
  });

  test('is not checked, and that is told, where the API refuses', () => {
    const { findings, cluster } = ask(lost, seen(), 100_000);
    assert.match(
      findings.PodNetworkReady.message,
      /not checked for each node: the API answers with status 403/,
    );
    assert.equal(cluster.wanted, true);
  });
});

describe('a cluster without flannel’s vxlan', () => {
  const bare = (overrides: Partial<ClusterNode>) =>
    ask([], aMemory(), 100_000, { cluster: clusterOf({ ...own, ...overrides }) }).findings.PodNetworkReady;

  test('is told by its backend', () => {
    const { reason, message } = bare({ flannel: { ...vxlan, backend: 'wireguard' } });
    assert.equal(reason, 'NotChecked');
    assert.match(message, /flannel's backend is "wireguard", whose routes are not checked/);
  });

  test('may have no flannel at all', () => {
    const { reason, message } = bare({ flannel: undefined });
    assert.equal(reason, 'NotChecked');
    assert.match(message, /flannel has not registered this node/);
  });
});
