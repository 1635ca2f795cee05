import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { emptyMemory, type Memory } from '../../../src/agent/memory.ts';
import { type Plan, plan } from '../../../src/agent/plan.ts';
import { k3sUnit, type World } from '../../../src/agent/world.ts';
import type { Config } from '../../../src/config/schema.ts';
import {
  aConfig,
  aLink,
  aMemory,
  aNetwork,
  at,
  aWorld,
  device,
  someFacts,
  units,
  zerotierAnswers,
} from '../../support/world.ts';

const settledMs = 1_000_000;

/** Plans twice, far enough apart for the link to settle, and returns the second plan. */
function settled(world: Partial<World>, memory: Memory = aMemory(), config: Config = aConfig()): Plan {
  const first = plan({ config, world: aWorld(world), memory, now: at(settledMs - 10_000) }, 0.5);
  return plan({ config, world: aWorld(world), memory: first.memory, now: at(settledMs) }, 0.5);
}

/** The k3s reading once the config is on disk. */
function written(text: string): World['k3s'] {
  return {
    binary: '1:1:1',
    config: { kind: 'present', text, mode: 0o600 },
    token: { kind: 'present', copyInSync: true },
  };
}

/** The text that the stage wants written. */
function wantedText(result: Plan): string {
  const action = result.actions.k3s.find((one) => one.do === 'k3s.write-config');
  assert.ok(action?.do === 'k3s.write-config');
  return action.text;
}

const text = wantedText(settled({}));
const running = units();
const stopped = units({ activeState: 'inactive', invocationId: '' });
const finding = (result: Plan, type = 'K3sRunning') =>
  result.conditions.find((condition) => condition.type === type);

/** Memory of a node whose k3s runs under the world's epoch. */
function boundMemory(): Memory {
  return settled({ k3s: written(text), units: running }).memory;
}

describe('the k3s stage', () => {
  test('does not judge an agent that systemd is about to start again by a run before the one that ended', () => {
    const bound = boundMemory().bound;
    assert.ok(bound);
    const memory = {
      ...boundMemory(),
      bound: { ...bound, epoch: { ...bound.epoch, addresses: ['10.45.0.9/24'] } },
    };
    const between = { activeState: 'activating', subState: 'auto-restart', mainPid: 0 };
    const actionsOf = (invocationId: string) =>
      settled({ k3s: written(text), units: units({ ...between, invocationId }) }, memory).actions.k3s;
    assert.deepEqual(actionsOf('c'.repeat(32)), []);
    assert.deepEqual(actionsOf(bound.invocationId), [
      { do: 'unit.restart', unit: k3sUnit, reason: 'address' },
    ]);
  });

  test('writes the config and copies the token before it starts anything', () => {
    const token = { kind: 'present', copyInSync: false } as const;
    const { actions } = settled({
      k3s: { binary: '1:1:1', config: { kind: 'absent' }, token },
      units: stopped,
    });
    assert.deepEqual(
      actions.k3s.map((action) => action.do),
      ['k3s.copy-token', 'k3s.write-config'],
    );
    assert.match(text, /node-ip.*\n?.*10\.45\.0\.7/);
    assert.match(text, new RegExp(`flannel-iface.*${device}`));
  });

  test('starts the unit once the link has settled, and not before', () => {
    const world = aWorld({ k3s: written(text), units: stopped });
    const early = plan({ config: aConfig(), world, memory: aMemory(), now: at(5_000) }, 0.5);
    assert.deepEqual(early.actions.k3s, []);
    assert.equal(finding(early)?.reason, 'Settling');
    assert.equal(early.wakeAtMs, 7_000);
    assert.deepEqual(settled({ k3s: written(text), units: stopped }).actions.k3s, [
      { do: 'unit.start', unit: k3sUnit, reason: 'start' },
    ]);
  });

  test('never starts the unit while the link does not carry its address', () => {
    for (const links of [
      {},
      { [device]: aLink({ up: false, addresses: [] }) },
      { [device]: aLink({ addresses: [] }) },
    ]) {
      const { actions } = settled({ k3s: written(text), units: stopped, links });
      assert.deepEqual(actions.k3s, []);
    }
  });

  test('leaves a running k3s alone while link, API or server are away', () => {
    for (const world of [
      { links: {} },
      { zerotier: { kind: 'unreachable', error: 'refused' } },
      { zerotier: zerotierAnswers({ networks: [aNetwork({ status: 'ACCESS_DENIED' })] }) },
      { k3s: { ...written(text), binary: undefined } },
    ] as const) {
      const result = settled({ k3s: written(text), units: running, ...world }, boundMemory());
      assert.deepEqual(result.actions.k3s, [], JSON.stringify(world));
    }
  });

  const changes: readonly (readonly [string, Partial<World>, Config | undefined])[] = [
    ['ifindex', { links: { [device]: aLink({ ifindex: 8 }) } }, undefined],
    ['binary', { k3s: { ...written(text), binary: '2:2:2' } }, undefined],
  ];
  for (const [reason, world] of changes) {
    test(`restarts it once when the ${reason} changed`, () => {
      const result = settled({ k3s: written(text), units: running, ...world }, boundMemory());
      assert.deepEqual(result.actions.k3s, [{ do: 'unit.restart', unit: k3sUnit, reason }]);
    });
  }

  test('rewrites the config when the address changed, then restarts once', () => {
    const moved: Partial<World> = {
      links: { [device]: aLink({ addresses: ['10.45.0.9/24'] }) },
      zerotier: zerotierAnswers({ networks: [aNetwork({ assignedAddresses: ['10.45.0.9/24'] })] }),
    };
    const first = settled({ k3s: written(text), units: running, ...moved }, boundMemory());
    const newText = wantedText(first);
    assert.match(newText, /10\.45\.0\.9/);
    assert.equal(first.actions.k3s.length, 1);
    const second = settled({ k3s: written(newText), units: running, ...moved }, first.memory);
    assert.deepEqual(second.actions.k3s, [{ do: 'unit.restart', unit: k3sUnit, reason: 'address' }]);
  });

  test("a token's new content is copied and restarts nothing", () => {
    const k3s = { ...written(text), token: { kind: 'present', copyInSync: false } as const };
    assert.deepEqual(settled({ k3s, units: running }, boundMemory()).actions.k3s, [{ do: 'k3s.copy-token' }]);
  });

  test('a run that mooring does not remember is taken for bound to the config that is on disk', () => {
    const same = settled({ k3s: written(text), units: running });
    assert.deepEqual(same.actions.k3s, []);
    const other = settled({ k3s: written('node-ip: 1.2.3.4\n'), units: running });
    assert.deepEqual(
      other.actions.k3s.map((action) => action.do),
      ['k3s.write-config'],
    );
    const after = settled({ k3s: written(text), units: running }, other.memory);
    assert.deepEqual(after.actions.k3s, [{ do: 'unit.restart', unit: k3sUnit, reason: 'config' }]);
  });

  test('a run that systemd restarted by itself has taken over what had been so before its start', () => {
    const memory = boundMemory();
    const again = units({ invocationId: 'c'.repeat(32), startedMs: settledMs - 1 });
    const result = settled({ k3s: written(text), units: again }, memory);
    assert.deepEqual(result.actions.k3s, []);
    assert.equal(result.memory.bound?.invocationId, 'c'.repeat(32));
    assert.deepEqual([memory.unaskedStarts, result.memory.unaskedStarts], [0, 1]);
    assert.equal(result.allowances[0]?.left, 4);
  });

  test('a run that began before something changed, unseen by mooring, is restarted', () => {
    const memory = boundMemory();
    const links = { [device]: aLink({ ifindex: 9 }) };
    const unseen = units({ invocationId: 'c'.repeat(32), startedMs: settledMs - 60_000 });
    const result = settled({ k3s: written(text), units: unseen, links }, memory);
    assert.deepEqual(result.actions.k3s, [{ do: 'unit.restart', unit: k3sUnit, reason: 'ifindex' }]);
  });

  test('what changes while the old run is still stopping is no reason for another restart', () => {
    const stopping = units({ activeState: 'deactivating' });
    const links = { [device]: aLink({ ifindex: 9 }) };
    const before = settled({ k3s: written(text), units: stopping, links }, boundMemory());
    const started = units({
      invocationId: 'c'.repeat(32),
      startedMs: settledMs - 5_000,
      activeState: 'activating',
    });
    const after = settled({ k3s: written(text), units: started, links }, before.memory);
    assert.deepEqual(after.actions.k3s, []);
  });

  test('a run is bound once its main process is there, since until then the time of the start is the former one', () => {
    const memory = settled({ k3s: written(text), units: stopped }).memory;
    const early = units({
      activeState: 'activating',
      subState: 'start-pre',
      invocationId: 'd'.repeat(32),
      mainPid: 0,
      startedMs: 0,
    });
    const waiting = settled({ k3s: written(text), units: early }, memory);
    assert.equal(waiting.memory.bound, undefined);
    assert.deepEqual(waiting.actions.k3s, []);
    const runs = units({ invocationId: 'd'.repeat(32), startedMs: settledMs });
    const joined = settled({ k3s: written(text), units: runs }, waiting.memory);
    assert.equal(joined.memory.bound?.invocationId, 'd'.repeat(32));
    assert.deepEqual(joined.actions.k3s, []);
  });

  test('a start that waits for its server is a state, and is restarted only when the epoch moves on', () => {
    const joining = units({ activeState: 'activating', subState: 'start' });
    const waiting = settled({ k3s: written(text), units: joining }, boundMemory());
    assert.deepEqual(waiting.actions.k3s, []);
    assert.equal(finding(waiting)?.reason, 'Joining');
    const moved = settled(
      { k3s: written(text), units: joining, links: { [device]: aLink({ ifindex: 9 }) } },
      boundMemory(),
    );
    assert.deepEqual(moved.actions.k3s, [{ do: 'unit.restart', unit: k3sUnit, reason: 'ifindex' }]);
  });

  test('starts and restarts nothing under files that could not be written, and tells why they could not', () => {
    const attempts = {
      'k3s.write-config': {
        count: 3,
        lastMs: settledMs - 100,
        notBeforeMs: settledMs + 60_000,
        error: 'disk full',
      },
    };
    const stale = written('node-ip: 1.2.3.4\n');
    for (const unit of [stopped, running]) {
      const before = { ...settled({ k3s: stale, units: unit }).memory, attempts };
      const config = aConfig();
      const world = aWorld({ k3s: stale, units: unit });
      const result = plan({ config, world, memory: before, now: at(settledMs) }, 0.5);
      assert.deepEqual(result.actions.k3s, []);
      assert.equal(finding(result)?.reason, 'FilesNotWritten');
      assert.match(finding(result)?.message ?? '', /disk full/);
    }
    const memory = { ...settled({ k3s: stale, units: stopped }).memory, attempts };
    assert.deepEqual(settled({ k3s: written(text), units: stopped }, memory).memory.attempts, {});
  });

  test('keeps its node name when the host is renamed, until the next boot', () => {
    const before = settled({ k3s: written(text), units: running }).memory;
    assert.deepEqual(
      settled({ k3s: written(text), units: running, hostname: 'localhost' }, before).actions.k3s,
      [],
    );
    const booted = settled({ k3s: written(text), units: stopped, hostname: 'edge-2' });
    assert.match(wantedText(booted), /edge-2/);
  });

  test('tells of an agent that waits for its server as joining, also while the link is away', () => {
    const joining = units({ activeState: 'activating', subState: 'start' });
    assert.equal(finding(settled({ k3s: written(text), units: joining, links: {} }))?.reason, 'Joining');
  });

  test('leaves a failed unit to the job that somebody queued for it', () => {
    const queued = units({ activeState: 'failed', result: 'exit-code', job: 'start' });
    assert.deepEqual(settled({ k3s: written(text), units: queued }).actions.k3s, []);
  });

  test('says when the next try is once the budget is used up', () => {
    const memory: Memory = {
      ...aMemory(),
      budgets: { [k3sUnit]: { tokens: 0, atMs: settledMs, dry: 1, notBeforeMs: settledMs + 60_000 } },
    };
    const result = settled(
      { k3s: written(text), units: units({ activeState: 'failed', result: 'exit-code' }) },
      memory,
    );
    assert.deepEqual(result.actions.k3s, []);
    assert.equal(finding(result)?.reason, 'RestartWithheld');
    assert.match(finding(result)?.message ?? '', /next try at \d{4}-/);
    assert.ok(result.wakeAtMs > settledMs);
  });

  test('after an outage each node waits for its own part of the spread, and restarts once', () => {
    const dueAfter = (address: string): number => {
      const zerotier = zerotierAnswers({ address });
      const world: Partial<World> = { k3s: written(text), units: running, zerotier };
      const step = (memory: Memory, ms: number, more: Partial<World> = {}) =>
        plan({ config: aConfig(), world: aWorld({ ...world, ...more }), memory, now: at(ms) }, 0.5);
      const lost = step(boundMemory(), settledMs + 1_000, { links: {} });
      const long = step(lost.memory, settledMs + 41_000, { links: {} });
      let seen = step(long.memory, settledMs + 42_000);
      for (let ms = 0; ms <= 50_000; ms += 500) {
        seen = step(seen.memory, settledMs + 42_000 + ms);
        const [action] = seen.actions.k3s;
        if (action === undefined) continue;
        assert.deepEqual(action, { do: 'unit.restart', unit: k3sUnit, reason: 'outage' });
        return ms;
      }
      return assert.fail('it is never restarted');
    };
    const waits = ['40c95ab4df', '0000000001', '0000000002', '0000000003', 'ffffffffff'].map(dueAfter);
    assert.ok(
      waits.every((ms) => ms >= 2_000 && ms <= 47_500),
      waits.join(),
    );
    assert.ok(Math.max(...waits) - Math.min(...waits) > 10_000, waits.join());
    assert.equal(dueAfter('40c95ab4df'), waits[0]);
  });

  test('waits until a binary that is being copied has stopped changing', () => {
    const bound = boundMemory();
    const copied = (size: number): Partial<World> => ({
      k3s: { ...written(text), binary: `${size}:1:1` },
      units: running,
    });
    const ask = (size: number, ms: number, memory: Memory) =>
      plan({ config: aConfig(), world: aWorld(copied(size)), memory, now: at(settledMs + ms) }, 0.5);
    const half = ask(100, 1_000, bound);
    const more = ask(200, 2_500, half.memory);
    assert.deepEqual(more.actions.k3s, []);
    assert.deepEqual(ask(200, 4_000, more.memory).actions.k3s, []);
    assert.deepEqual(ask(200, 4_500, more.memory).actions.k3s, [
      { do: 'unit.restart', unit: k3sUnit, reason: 'binary' },
    ]);
  });

  for (const hostname of ['localhost', 'my_vm', '-x', `${'a'.repeat(64)}`]) {
    test(`does not start under the host name ${hostname.slice(0, 12)}, which no cluster takes`, () => {
      const result = settled({ k3s: written(text), units: stopped, hostname });
      assert.equal(finding(result)?.reason, 'NodeNameUnusable');
      assert.ok(result.actions.k3s.every((action) => action.do === 'k3s.write-config'));
    });
  }

  test('does not queue a second job right after the first', () => {
    const world: Partial<World> = { k3s: written(text), units: stopped };
    const memory: Memory = {
      ...settled(world).memory,
      attempts: {
        [`unit.start:${k3sUnit}`]: {
          count: 1,
          lastMs: settledMs - 500,
          notBeforeMs: settledMs - 400,
          error: undefined,
        },
      },
    };
    const result = plan({ config: aConfig(), world: aWorld(world), memory, now: at(settledMs) }, 0.5);
    assert.deepEqual(result.actions.k3s, []);
  });

  test('a disabled unit that runs is not restarted, and its condition says how it is given back', () => {
    const world = { links: { [device]: aLink({ ifindex: 8 }) }, units: units({ unitFileState: 'disabled' }) };
    const result = settled({ k3s: written(text), ...world }, boundMemory());
    assert.deepEqual(result.actions.k3s, []);
    assert.equal(finding(result)?.status, 'true');
    assert.match(finding(result)?.message ?? '', /disabled, .* systemctl enable k3s-node\.service/);
  });

  for (const [what, world, reason] of [
    [
      'a masked unit is left alone',
      { units: units({ loadState: 'masked', activeState: 'inactive' }) },
      'UnitMasked',
    ],
    [
      'a disabled unit is left alone',
      { k3s: written(text), units: units({ unitFileState: 'disabled', activeState: 'failed' }) },
      'UnitDisabled',
    ],
    [
      'a missing unit is told',
      { units: units({ loadState: 'not-found', activeState: 'inactive' }) },
      'UnitMissing',
    ],
    [
      'a missing binary is told',
      { k3s: { ...written(text), binary: undefined }, units: stopped },
      'BinaryMissing',
    ],
    [
      'a missing token is told',
      { k3s: { ...written(text), token: { kind: 'missing', error: 'no file' } }, units: stopped },
      'TokenMissing',
    ],
    ['a stopping unit is waited for', { units: units({ activeState: 'deactivating' }) }, 'NotRunning'],
    [
      'a crash that systemd deals with is left to it',
      { units: units({ activeState: 'activating', subState: 'auto-restart', result: 'exit-code' }) },
      'Crashed',
    ],
  ] as const) {
    test(what, () => {
      const result = settled({ k3s: written(text), ...world });
      assert.deepEqual(result.actions.k3s, []);
      assert.equal(finding(result)?.reason, reason);
    });
  }

  test('waits a while for the external address of a known cloud, which saves a restart', () => {
    const config = aConfig({ node: { externalIp: 'auto', cloud: 'aws' } });
    const world = aWorld({
      k3s: written(text),
      units: stopped,
      cloud: { kind: 'unavailable', provider: 'aws', error: 'no answer' },
    });
    const ask = (memory: Memory, ms: number) => plan({ config, world, memory, now: at(ms) }, 0.5);
    const first = ask({ ...aMemory(), startedMs: 0 }, 1_000);
    assert.deepEqual(ask(first.memory, 5_000).actions.k3s, []);
    assert.equal(finding(ask(first.memory, 5_000))?.reason, 'WaitingForCloud');
    assert.equal(ask(first.memory, 20_001).actions.k3s[0]?.do, 'unit.start');
  });

  test('an external address that becomes known later is written and restarts once', () => {
    const config = aConfig({ node: { externalIp: 'auto', cloud: 'aws' } });
    const facts = someFacts({ publicIpv4: '203.0.113.7' });
    const world: Partial<World> = {
      k3s: written(text),
      units: running,
      cloud: { kind: 'known', facts, stale: undefined },
    };
    const newText = wantedText(settled(world, boundMemory(), config));
    assert.match(newText, /203\.0\.113\.7/);
    assert.match(newText, /topology\.kubernetes\.io\/zone=eu-central-1a/);
    const after = settled({ ...world, k3s: written(newText) }, boundMemory(), config);
    assert.deepEqual(after.actions.k3s, [{ do: 'unit.restart', unit: k3sUnit, reason: 'config' }]);
  });

  test('nothing is asked of a systemd that cannot be asked', () => {
    const result = settled({ units: { kind: 'unreachable', error: 'no bus' } }, emptyMemory(0));
    assert.equal(finding(result)?.status, 'unknown');
    assert.ok(result.actions.k3s.every((action) => action.do === 'k3s.write-config'));
  });
});
