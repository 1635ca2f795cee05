/** The systemd adapter against a fake PID 1 on a real bus. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createBus } from '#src/systems/dbus/bus.ts';
import type { Bus } from '#src/systems/dbus/types.ts';
import { createSystemd, systemdMatches } from '#src/systems/systemd/systemd.ts';
import type { Systemd } from '#src/systems/systemd/types.ts';
import {
  createRecorder,
  failure,
  type PrivateBus,
  type Recorder,
  startPrivateBus,
} from '../../support/private-bus.ts';
import { type FakeSystemd1, joinAsSystemd1, pathOf, runningService } from './fake-systemd1.ts';

const units = ['k3s-node.service', 'mooring-ingress-check.service', 'mooring-online.target'];

let daemon: PrivateBus;
let fake: FakeSystemd1;
let bus: Bus;
let wakes: Recorder;
let systemd: Systemd;

beforeEach(async () => {
  wakes = createRecorder();
  daemon = await startPrivateBus();
  fake = await joinAsSystemd1(daemon.address);
  fake.units.set('k3s-node.service', runningService());
  fake.units.set('mooring-ingress-check.service', runningService());
  bus = createBus({
    address: daemon.address,
    matches: systemdMatches(units),
    wake: wakes.record,
    log: () => {},
    deadlineMs: 200,
  });
  systemd = createSystemd({ bus, wake: wakes.record, units });
});

afterEach(async () => {
  bus.close();
  await fake.service.leave();
  await daemon.close();
});

const count = (member: string) => fake.service.calls.filter((call) => call.member === member).length;

describe('reading units', () => {
  test('a running service is read whole', async () => {
    assert.deepEqual(await systemd.read(['k3s-node.service']), {
      kind: 'answered',
      units: {
        'k3s-node.service': {
          loadState: 'loaded',
          activeState: 'active',
          subState: 'running',
          unitFileState: 'static',
          result: 'success',
          invocationId: '00112233445566778899aabbccddeeff',
          mainPid: 4711,
          startedMs: 1_234_567,
          statusText: 'all is well',
          job: undefined,
        },
      },
    });
  });

  test('a queued job shows by its type', async () => {
    fake.units.set('k3s-node.service', {
      ...runningService(),
      activeState: 'activating',
      job: { id: 7, type: 'start' },
    });
    const reading = await systemd.read(['k3s-node.service']);
    assert.equal(reading.kind, 'answered');
    assert.equal(reading.units['k3s-node.service']?.job, 'start');
    assert.equal(reading.units['k3s-node.service']?.activeState, 'activating');
  });

  test('a unit that is not there is a reading', async () => {
    const reading = await systemd.read(['nothing.service']);
    assert.equal(reading.kind, 'answered');
    assert.equal(reading.units['nothing.service']?.loadState, 'not-found');
    assert.equal(reading.units['nothing.service']?.activeState, 'inactive');
  });

  test('a target is not asked what only services have', async () => {
    fake.units.set('mooring-online.target', {
      ...runningService(),
      properties: {
        UnitFileState: ['s', 'static'],
        InvocationID: ['ay', Buffer.alloc(16)],
      },
    });
    const reading = await systemd.read(['mooring-online.target']);
    assert.equal(reading.kind, 'answered');
    assert.equal(reading.units['mooring-online.target']?.mainPid, 0);
  });

  test('a PID 1 that is silent, or answers in another shape, is unreachable', async () => {
    fake.override = ({ member }) => (member === 'ListUnitsByNames' ? { kind: 'silence' } : undefined);
    const silent = await systemd.read(units);
    assert.equal(silent.kind, 'unreachable');
    assert.match(silent.error, /did not answer ListUnitsByNames in 200 ms/);
    fake.override = ({ member }) =>
      member === 'ListUnitsByNames' ? { kind: 'return', signature: 'as', body: [['x']] } : undefined;
    const strange = await systemd.read(units);
    assert.equal(strange.kind, 'unreachable');
    assert.match(strange.error, /shape/);
  });

  test('no PID 1 on the bus is unreachable', async () => {
    await fake.service.leave();
    assert.equal((await systemd.read(units)).kind, 'unreachable');
  });
});

describe('verbs', () => {
  test('queue a job in mode replace and return', async () => {
    await systemd.start('k3s-node.service');
    await systemd.restart('k3s-node.service');
    await systemd.reload('k3s-node.service');
    await systemd.stop('k3s-node.service');
    const jobs = fake.service.calls.filter(({ member }) => member.endsWith('Unit'));
    assert.deepEqual(
      jobs.map(({ member, body }) => [member, ...body]),
      ['StartUnit', 'RestartUnit', 'ReloadUnit', 'StopUnit'].map((member) => [
        member,
        'k3s-node.service',
        'replace',
      ]),
    );
  });

  test('a unit that is missing or masked, and a refusal, have codes of their own', async () => {
    await assert.rejects(systemd.start('nothing.service'), {
      code: 'no-such-unit',
      message: /nothing\.service not found/,
    });
    fake.units.set('nothing.service', { ...runningService(), loadState: 'masked' });
    await assert.rejects(systemd.start('nothing.service'), { code: 'unit-masked' });
    fake.override = ({ member }) =>
      member === 'StopUnit'
        ? failure('org.freedesktop.DBus.Error.AccessDenied', 'Permission denied')
        : undefined;
    await assert.rejects(systemd.stop('k3s-node.service'), { code: 'access-denied' });
  });

  test('resetting a unit that is not loaded is fine', async () => {
    await systemd.resetFailed('k3s-node.service');
    assert.equal(count('ResetFailedUnit'), 1);
  });
});

describe('running a oneshot', () => {
  const check = 'mooring-ingress-check.service';

  test('ends with the result of its job, and not with that of another', async () => {
    const queued = createRecorder();
    fake.override = ({ member }) => {
      if (member === 'StartUnit') queued.record(member);
      return undefined;
    };
    const running = systemd.run(check, 5_000);
    await queued.saw(/StartUnit/);
    fake.endJob('/org/freedesktop/systemd1/job/9', check, 'canceled');
    fake.endJob('/org/freedesktop/systemd1/job/101', 'k3s-node.service', 'done');
    fake.endJob('/org/freedesktop/systemd1/job/101', check, 'failed');
    assert.equal(await running, 'failed');
  });

  test('notices a job that ended before its start was answered', async () => {
    fake.endEarly = 'done';
    assert.equal(await systemd.run(check, 5_000), 'done');
  });

  test('gives up at its deadline', async () => {
    await assert.rejects(systemd.run(check, 30), { code: 'deadline' });
  });

  test('ends with the connection', async () => {
    const queued = createRecorder();
    fake.override = ({ member }) => {
      if (member === 'StartUnit') queued.record(member);
      return undefined;
    };
    const running = assert.rejects(systemd.run(check, 60_000), { code: 'dbus-disconnected' });
    await queued.saw(/StartUnit/);
    await daemon.kill();
    await running;
  });

  test('of a unit that is masked is an error', async () => {
    fake.units.set(check, { ...runningService(), loadState: 'masked' });
    await assert.rejects(systemd.run(check, 5_000), { code: 'unit-masked' });
  });
});

describe('signals', () => {
  const changed = (unit: string) =>
    fake.service.emit(pathOf(unit), 'org.freedesktop.DBus.Properties', 'PropertiesChanged', 'sa{sv}as', [
      'org.freedesktop.systemd1.Unit',
      {},
      ['ActiveState'],
    ]);
  const reloading = (active: boolean) =>
    fake.service.emit('/org/freedesktop/systemd1', 'org.freedesktop.systemd1.Manager', 'Reloading', 'b', [
      active,
    ]);

  test('of named units wake, those of others do not reach us', async () => {
    await systemd.read(units);
    changed('cron.service');
    fake.endJob('/org/freedesktop/systemd1/job/1', 'cron.service', 'done');
    reloading(true);
    changed('k3s-node.service');
    fake.endJob('/org/freedesktop/systemd1/job/2', 'k3s-node.service', 'failed');
    reloading(false);
    await wakes.saw(/^systemd reloaded$/);
    assert.deepEqual(wakes.words, [
      'k3s-node.service changed',
      'job of k3s-node.service ended: failed',
      'systemd reloaded',
    ]);
  });

  test('are subscribed to once, and again after the connection or PID 1 was replaced', async () => {
    await systemd.read(units);
    await systemd.read(units);
    await systemd.read(units);
    assert(count('Subscribe') <= 2, 'the call that waited for the connection may be repeated once');
    const before = count('Subscribe');
    await systemd.read(units);
    assert.equal(count('Subscribe'), before);

    await fake.service.leave();
    await wakes.saw(/^systemd changed its connection$/);
    fake = await joinAsSystemd1(daemon.address);
    await wakes.saw(/^systemd changed its connection$/, 1);
    await systemd.read(units);
    assert.equal(count('Subscribe'), 1);

    await daemon.kill();
    await daemon.restart();
    fake = await joinAsSystemd1(daemon.address);
    await wakes.saw(/^dbus reconnected$/);
    await systemd.read(units);
    await systemd.read(units);
    assert.equal(count('Subscribe'), 1);
    fake.endJob('/org/freedesktop/systemd1/job/3', 'k3s-node.service', 'done');
    await wakes.saw(/^job of k3s-node\.service ended: done$/);
  });
});
