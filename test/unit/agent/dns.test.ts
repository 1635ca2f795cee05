import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { begun, ended } from '../../../src/agent/memory.ts';
import { dnsStage, sameDns, wantedDns } from '../../../src/agent/stages/dns.ts';
import { networkdUnit, resolvedUnit, type World } from '../../../src/agent/world.ts';
import type { LinkDns } from '../../../src/systems/resolved/types.ts';
import { aConfig, aLink, aMemory, at, aUnit, aWorld, device, networkId } from '../../support/world.ts';

const pushed: LinkDns = {
  servers: ['10.45.0.1'],
  domains: [
    { name: 'home.example', routingOnly: false },
    { name: '0.45.10.in-addr.arpa', routingOnly: true },
  ],
  defaultRoute: false,
};
const resolvedHas = (links: Record<number, LinkDns>): Partial<World> => ({
  dns: { kind: 'present', links, resolvConfMode: 'stub' },
});
const ask = (world: Partial<World> = {}, memory = aMemory(), config = aConfig(), ms = 10_000) =>
  dnsStage({ config, world: aWorld(world), memory, now: at(ms) });
const withDns = (dns: unknown) => aConfig({ zerotier: { networks: [{ id: networkId, dns }] } });
const context = {
  nowMs: 10_000,
  random: 0.5,
  budget: { count: 5, periodMs: 600_000, maxDelayMs: 1 },
};

describe('the dns stage', () => {
  test('sets what the network pushes, and the reverse zones of its subnets, on the device of today', () => {
    const { actions, findings } = ask();
    assert.deepEqual(actions, [{ do: 'dns.set', device, ifindex: 7, want: pushed }]);
    assert.equal(findings.DnsConfigured.status, 'false');
  });

  test('acts while the device is down, has no address, and the API is away', () => {
    const world: Partial<World> = {
      zerotier: { kind: 'unreachable', error: 'refused' },
      links: { [device]: aLink({ ifindex: 8, up: false, addresses: [] }) },
    };
    assert.deepEqual(ask(world).actions, [{ do: 'dns.set', device, ifindex: 8, want: pushed }]);
  });

  test('is content when resolved has the same in another order of domains', () => {
    const { actions, findings } = ask(
      resolvedHas({ 7: { ...pushed, domains: [...pushed.domains].reverse() } }),
    );
    assert.deepEqual(actions, []);
    assert.equal(findings.DnsConfigured.status, 'true');
  });

  test('sets it again when somebody changed it', () => {
    const changed = { ...pushed, servers: ['1.1.1.1'] };
    assert.equal(ask(resolvedHas({ 7: changed })).actions.length, 1);
  });

  test('waits between attempts, and never because of an attempt on a former ifindex', () => {
    const [action] = ask().actions;
    assert.ok(action);
    const tried = ended(begun(aMemory(), action, context), action, {
      ok: false,
      code: 'dns-refused',
      message: 'no',
    });
    const again = ask({}, tried, aConfig(), 10_050);
    assert.deepEqual(again.actions, []);
    assert.match(again.findings.DnsConfigured.message, /: no$/);
    const moved = ask({ links: { [device]: aLink({ ifindex: 8 }) } }, tried, aConfig(), 10_050);
    assert.equal(moved.actions.length, 1);
  });

  test('forgets attempts on former ifindexes once the DNS is in force', () => {
    const [action] = ask().actions;
    assert.ok(action);
    const tried = begun(aMemory(), action, context);
    const moved = ask({ links: { [device]: aLink({ ifindex: 8 }) }, ...resolvedHas({ 8: pushed }) }, tried);
    assert.deepEqual(moved.memory.attempts, {});
    assert.deepEqual(moved.memory.dnsSet, { [device]: 8 });
  });

  test('a network that pushes nothing needs nothing', () => {
    const memory = aMemory({
      networks: {
        [networkId]: {
          device,
          configured: true,
          assignedAddresses: ['10.45.0.7/24'],
          mtuBytes: 2800,
          dns: { domain: '', servers: [] },
        },
      },
    });
    const { actions, findings } = ask({}, memory);
    assert.deepEqual(actions, []);
    assert.equal(findings.DnsConfigured.reason, 'NothingPushed');
  });

  test('takes back what it set when nothing is wanted any more, but not what others set', () => {
    const world = resolvedHas({ 7: pushed });
    assert.deepEqual(ask(world, aMemory({ dnsSet: { [device]: 7 } }), withDns('none')).actions, [
      { do: 'dns.revert', device, ifindex: 7 },
    ]);
    assert.deepEqual(ask(world, aMemory(), withDns('none')).actions, []);
    assert.deepEqual(ask(world, aMemory({ dnsSet: { [device]: 6 } }), withDns('none')).actions, []);
  });

  test('a missing resolved is told with its remedy', () => {
    const { findings, actions } = ask({ dns: { kind: 'absent', error: 'not activatable', isOffBus: true } });
    assert.deepEqual(actions, []);
    assert.equal(findings.DnsConfigured.reason, 'ResolvedMissing');
    assert.match(findings.DnsConfigured.message, /apt install systemd-resolved/);
  });

  test('a resolved that is being started is told as such, and left to start', () => {
    const units = { [resolvedUnit]: aUnit({ activeState: 'activating' }) };
    const { findings, actions } = ask({
      dns: { kind: 'absent', error: 'no owner', isOffBus: true },
      units: { kind: 'answered', units },
    });
    assert.deepEqual([actions, findings.DnsConfigured.reason], [[], 'ResolvedStarting']);
  });

  test('nothing is concluded about resolved while nobody at all answers on D-Bus', () => {
    const { findings, actions } = ask({
      dns: { kind: 'absent', error: 'connection lost', isOffBus: false },
      units: { kind: 'unreachable', error: 'connection lost' },
    });
    assert.deepEqual(actions, []);
    assert.deepEqual([findings.DnsConfigured.status, findings.DnsConfigured.reason], ['unknown', 'BusAway']);
  });

  describe('with a resolved that runs but does not answer', () => {
    const restart = { do: 'unit.restart', unit: resolvedUnit, reason: 'silent' } as const;
    const silent = (activeState = 'active', isOffBus = true): Partial<World> => ({
      dns: { kind: 'absent', error: 'no answer', isOffBus },
      units: { kind: 'answered', units: { [resolvedUnit]: aUnit({ activeState }) } },
    });
    /** Asks at each of these moments, as the loop does, and tells when it was restarted. */
    const restartsAt = (moments: readonly number[], world = silent()) => {
      let memory = aMemory();
      return moments.filter((ms) => {
        const result = ask(world, memory, aConfig(), ms);
        const [action] = result.actions;
        memory = result.memory;
        if (action === undefined) return false;
        assert.deepEqual(action, restart);
        memory = begun(memory, action, {
          ...context,
          nowMs: ms,
          budget: { ...context.budget, maxDelayMs: 600_000 },
        });
        return true;
      });
    };

    test('restarts it when that has lasted, and says so before', () => {
      const first = ask(silent());
      assert.deepEqual(first.actions, []);
      assert.equal(first.findings.DnsConfigured.reason, 'ResolvedSilent');
      assert.match(first.findings.DnsConfigured.message, /restarts it where that lasts 2 s/);
      assert.equal(first.wakeAtMs, 12_000);
      assert.deepEqual(restartsAt([10_000, 11_000, 11_999, 12_000]), [12_000]);
    });

    test('gives one that has its name on the bus, and is merely slow, more time', () => {
      const slow = silent('active', false);
      assert.deepEqual(restartsAt([10_000, 12_000, 19_999, 20_000], slow), [20_000]);
    });

    test('leaves it to a person where the config says so, and tells what to do', () => {
      const config = aConfig({ dns: { repair: { restart: false } } });
      const { memory } = ask(silent(), aMemory(), config);
      const later = ask(silent(), memory, config, 60_000);
      assert.deepEqual(later.actions, []);
      assert.match(later.findings.DnsConfigured.message, /dns\.repair\.restart is false.*systemctl restart/);
    });

    test('waits as long as the config says', () => {
      const config = aConfig({ dns: { repair: { patience: '1m' } } });
      const { memory } = ask(silent(), aMemory(), config);
      assert.deepEqual(ask(silent(), memory, config, 69_999).actions, []);
      assert.deepEqual(ask(silent(), memory, config, 70_000).actions, [restart]);
    });

    test('restarts it a few times at most where that does not help', () => {
      const hour = Array.from({ length: 3600 }, (_, second) => 10_000 + second * 1000);
      const restarts = restartsAt(hour);
      assert.ok(restarts.length >= 5 && restarts.length <= 35, `${restarts.length} restarts in an hour`);
    });

    test('begins to count anew once it has answered', () => {
      const { memory } = ask(silent());
      const answered = ask({}, memory, aConfig(), 15_000).memory;
      assert.deepEqual(ask(silent(), answered, aConfig(), 16_000).actions, []);
    });

    test('leaves one alone that does not run, or about which systemd cannot be asked', () => {
      assert.deepEqual(restartsAt([10_000, 60_000], silent('inactive')), []);
      assert.deepEqual(restartsAt([10_000, 60_000], silent('activating')), []);
      const nobody: Partial<World> = { ...silent(), units: { kind: 'unreachable', error: 'no bus' } };
      assert.deepEqual(restartsAt([10_000, 60_000], nobody), []);
    });
  });

  describe('where the link is owned by a networkd that is not on the bus', () => {
    const world = (activeState = 'active'): Partial<World> => ({
      ...resolvedHas({}),
      units: { kind: 'answered', units: { [networkdUnit]: aUnit({ activeState }) } },
    });
    const set = { do: 'dns.set', device, ifindex: 7, want: pushed } as const;
    const missed = (code = 'networkd-absent') =>
      ended(begun(aMemory(), set, context), set, { ok: false, code, message: 'link is busy' });

    test('networkd is restarted when that has lasted, and the DNS tried again and again', () => {
      const first = ask(world(), missed());
      assert.deepEqual(first.actions, []);
      const later = ask(world(), first.memory, aConfig(), 12_000);
      assert.deepEqual(later.actions, [set, { do: 'unit.restart', unit: networkdUnit, reason: 'silent' }]);
    });

    test('networkd is left alone where it does not run, or the DNS fails for another reason', () => {
      const { memory: stopped } = ask(world('inactive'), missed());
      assert.ok(
        !ask(world('inactive'), stopped, aConfig(), 60_000).actions.some(
          ({ do: it }) => it === 'unit.restart',
        ),
      );
      const { memory: refused } = ask(world(), missed('dns-refused'));
      assert.ok(
        !ask(world(), refused, aConfig(), 60_000).actions.some(({ do: it }) => it === 'unit.restart'),
      );
    });

    test('and counts anew once the DNS is in force', () => {
      const { memory } = ask(world(), missed());
      const { memory: fine } = ask({ ...world(), ...resolvedHas({ 7: pushed }) }, memory);
      assert.deepEqual(fine.attempts, {});
    });
  });

  test('a written configuration wins over the pushed one', () => {
    const known = aMemory().networks[networkId];
    assert.ok(known);
    const [network] = withDns({
      servers: ['10.45.0.2', '10.45.0.2'],
      domains: ['~Home.Example.', 'lan', '~.'],
      reverseZones: false,
    }).zerotier.networks;
    assert.ok(network);
    assert.deepEqual(wantedDns(network.dns, known), {
      servers: ['10.45.0.2'],
      domains: [
        { name: 'home.example', routingOnly: true },
        { name: 'lan', routingOnly: false },
        { name: '.', routingOnly: true },
      ],
      defaultRoute: false,
    });
  });

  test('an IPv6 server is wanted in the form in which resolved tells it', () => {
    const known = aMemory().networks[networkId];
    assert.ok(known);
    const [network] = withDns({ servers: ['FD00:0:0::0053'] }).zerotier.networks;
    assert.ok(network);
    assert.deepEqual(wantedDns(network.dns, known)?.servers, ['fd00::53']);
  });

  test('waits for the configuration of a network that has just been joined', () => {
    const known = aMemory().networks[networkId];
    assert.ok(known);
    const memory = aMemory({
      networks: { [networkId]: { ...known, configured: false, dns: { domain: '', servers: [] } } },
    });
    assert.equal(ask({}, memory).findings.DnsConfigured.status, 'unknown');
  });

  test('the order of servers counts', () => {
    const two = { ...pushed, servers: ['10.45.0.1', '10.45.0.2'] };
    assert.equal(sameDns(two, { ...two, servers: ['10.45.0.2', '10.45.0.1'] }), false);
  });
});
