/** The bus against a real dbus-daemon that dies, freezes and comes back. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { type BusOptions, createBus } from '#src/systems/dbus/bus.ts';
import type { Bus, BusSignal } from '#src/systems/dbus/types.ts';
import { ownerMatch, signalMatch } from '#src/systems/dbus/values.ts';
import { codeOf } from '#src/systems/error.ts';
import {
  createRecorder,
  done,
  type FakeService,
  failure,
  joinBus,
  type PrivateBus,
  type Recorder,
  startPrivateBus,
} from '../../support/private-bus.ts';

const name = 'net.example.Sample';
const target = { destination: name, path: '/sample', interface: name } as const;
const matches = [ownerMatch(name), signalMatch({ sender: name, interface: name, member: 'Told' })];
const toBus = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
};

let daemon: PrivateBus;
let service: FakeService;
let bus: Bus;
let wakes: Recorder;
let signals: Recorder;
let logs: Recorder;
const escaped: unknown[] = [];
const catchEscaped = (error: unknown) => escaped.push(error);

function join(): Promise<FakeService> {
  return joinBus(daemon.address, name, ({ member, body }) => {
    if (member === 'Echo') return { kind: 'return', signature: 's', body };
    if (member === 'Refuse') return failure('net.example.Error.No', 'no, thanks');
    if (member === 'Empty') return done;
    return { kind: 'silence' };
  });
}

function open(options: Partial<BusOptions> = {}): Bus {
  const made = createBus({
    address: daemon.address,
    matches,
    wake: wakes.record,
    log: (level, message) => logs.record(`${level}: ${message}`),
    random: () => 0.01,
    ...options,
  });
  made.onSignal(({ member, body, sender }: BusSignal) =>
    signals.record(`${member} ${body.join(',')} from ${sender}`),
  );
  made.onDisconnect((reason) => signals.record(`disconnected: ${reason}`));
  return made;
}

const echo = (text: string, deadlineMs?: number) =>
  bus.call({
    ...target,
    member: 'Echo',
    signature: 's',
    body: [text],
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  });

async function ownUniqueName(): Promise<string> {
  await echo('who');
  return service.calls.at(-1)?.sender ?? '';
}

async function matchRulesOf(unique: string): Promise<readonly string[]> {
  const [all] = await service.call({
    ...toBus,
    interface: 'org.freedesktop.DBus.Debug.Stats',
    member: 'GetAllMatchRules',
  });
  const rules: unknown = Reflect.get(Object(all), unique);
  assert(Array.isArray(rules));
  return rules.map(String);
}

before(() => {
  process.on('uncaughtException', catchEscaped);
  process.on('unhandledRejection', catchEscaped);
});

after(() => {
  process.off('uncaughtException', catchEscaped);
  process.off('unhandledRejection', catchEscaped);
  assert.deepEqual(escaped, []);
});

beforeEach(async () => {
  [wakes, signals, logs] = [createRecorder(), createRecorder(), createRecorder()];
  daemon = await startPrivateBus();
  service = await join();
});

afterEach(async () => {
  bus.close();
  await service.leave();
  await daemon.close();
});

describe('calls', () => {
  test('a call made before the connection stands is answered, and the first connection wakes nobody', async () => {
    bus = open();
    assert.equal(bus.connected, false);
    assert.deepEqual(await echo('hello'), ['hello']);
    assert.equal(bus.connected, true);
    assert.equal(bus.connections, 1);
    assert.deepEqual(wakes.words, []);
  });

  test("a service's error arrives under its D-Bus name", async () => {
    bus = open();
    await assert.rejects(bus.call({ ...target, member: 'Refuse' }), {
      name: 'SystemError',
      code: 'net.example.Error.No',
      message: 'no, thanks',
    });
  });

  test('a service that never answers costs the deadline and leaves the connection alone', async () => {
    bus = open();
    await assert.rejects(bus.call({ ...target, member: 'Silence', deadlineMs: 30 }), {
      code: 'dbus-deadline',
    });
    assert.deepEqual(await echo('still here'), ['still here']);
    assert.equal(bus.connections, 1);
  });

  test('a body that does not fit its signature fails that call alone', async () => {
    bus = open();
    await echo('warm');
    await assert.rejects(bus.call({ ...target, member: 'Echo', signature: 'u', body: ['text'] }));
    await assert.rejects(bus.call({ ...target, path: 'no path', member: 'Echo' }));
    assert.deepEqual(await echo('fine'), ['fine']);
    assert.equal(bus.connections, 1);
  });

  test('a service that is not there and cannot be started is told at once', async () => {
    bus = open();
    const missing = { ...target, destination: 'net.example.Missing', member: 'Echo' };
    await assert.rejects(bus.call(missing), { code: 'org.freedesktop.DBus.Error.ServiceUnknown' });
    await assert.rejects(bus.call({ ...missing, autoStart: false }), {
      code: 'org.freedesktop.DBus.Error.NameHasNoOwner',
    });
  });

  test('500 calls, answered, refused and missed, add no match rule', async () => {
    bus = open();
    const unique = await ownUniqueName();
    const before = await matchRulesOf(unique);
    for (let round = 0; round < 100; round += 1) {
      await Promise.allSettled([
        echo('a'),
        echo('b'),
        bus.call({ ...target, member: 'Empty' }),
        bus.call({ ...target, member: 'Refuse' }),
        bus.call({ ...target, member: 'Silence', deadlineMs: 1 }),
      ]);
    }
    assert.equal(service.calls.length, 501);
    assert.deepEqual(await matchRulesOf(unique), before);
    assert.equal(before.length, matches.length);
    assert.equal(bus.connections, 1);
  });
});

describe('signals', () => {
  test('a service that restarts under another unique name is heard again without a call to it', async () => {
    bus = open();
    await echo('warm');
    const first = service.unique;
    service.emit('/sample', name, 'Told', 's', ['one']);
    await signals.saw(/^Told one/);
    await service.leave();
    service = await join();
    assert.notEqual(service.unique, first);
    service.emit('/sample', name, 'Told', 's', ['two']);
    await signals.saw(new RegExp(`^Told two from ${service.unique}$`));
    assert(signals.words.some((word) => word.startsWith(`NameOwnerChanged ${name},${first},`)));
  });

  test('a signal sent to us alone, past the match rules, is not believed', async () => {
    bus = open();
    const unique = await ownUniqueName();
    const stranger = await joinBus(daemon.address, undefined, () => done);
    stranger.emit('/sample', name, 'Told', 's', ['forged'], unique);
    // The daemon keeps the order: once this answer is back, the forged signal was delivered.
    await stranger.call({ ...toBus, member: 'GetId' });
    service.emit('/sample', name, 'Told', 's', ['true']);
    await signals.saw(/^Told true/);
    assert(!signals.words.some((word) => word.includes('forged')));
    await stranger.leave();
  });

  test('a handler that throws keeps neither the others nor the connection from working', async () => {
    bus = open();
    bus.onSignal(() => {
      throw new Error('broken handler');
    });
    const later = createRecorder();
    bus.onSignal(({ member }) => later.record(member));
    await echo('warm');
    service.emit('/sample', name, 'Told', 's', ['one']);
    await later.saw(/^Told$/);
    await logs.saw(/broken handler/);
    assert.deepEqual(await echo('fine'), ['fine']);
  });
});

describe('the connection', () => {
  test('the daemon killed: pending calls fail at once, then it reconnects, wakes, and has each match once', async () => {
    bus = open();
    await echo('warm');
    const pending = bus.call({ ...target, member: 'Silence', deadlineMs: 60_000 });
    const failed = assert.rejects(pending, { code: 'dbus-disconnected' });
    await daemon.kill();
    await failed;
    await wakes.saw(/^dbus disconnected$/);
    await signals.saw(/^disconnected: /);
    assert.equal(bus.connected, false);
    await daemon.restart();
    service = await join();
    await wakes.saw(/^dbus reconnected$/);
    assert.equal(bus.connections, 2);
    assert.deepEqual(await echo('again'), ['again']);
    assert.equal((await matchRulesOf(await ownUniqueName())).length, matches.length);
    service.emit('/sample', name, 'Told', 's', ['after']);
    await signals.saw(/^Told after/);
    assert.equal(signals.words.filter((word) => word.startsWith('Told after')).length, 1);
  });

  test('while the bus is away a call fails at once', async () => {
    bus = open({ random: () => 0.99 });
    await echo('warm');
    await daemon.kill();
    await wakes.saw(/^dbus disconnected$/);
    await assert.rejects(echo('x'), { code: 'dbus-disconnected' });
  });

  test('a bus that is not there yet is found when it comes, and that wakes', async () => {
    await daemon.kill();
    bus = open();
    await assert.rejects(echo('x'), { code: 'dbus-disconnected' });
    await logs.saw(/No D-Bus connection/);
    await daemon.restart();
    service = await join();
    await wakes.saw(/^dbus reconnected$/);
    assert.deepEqual(await echo('here'), ['here']);
    assert.equal(logs.words.length, 1);
  });

  test('a frozen daemon, whose socket stays open, is given up after the deadlines', async () => {
    bus = open({ deadlineMs: 50 });
    await echo('warm');
    daemon.freeze();
    await assert.rejects(echo('x'), (error) =>
      ['dbus-deadline', 'dbus-disconnected'].includes(codeOf(error) ?? ''),
    );
    await wakes.saw(/^dbus disconnected$/);
    daemon.thaw();
    await wakes.saw(/^dbus reconnected$/);
    assert.deepEqual(await echo('back', 5_000), ['back']);
  });

  test('closing fails what is pending and tries no more', async () => {
    bus = open();
    await echo('warm');
    const pending = assert.rejects(bus.call({ ...target, member: 'Silence' }), { code: 'dbus-disconnected' });
    bus.close();
    await pending;
    await assert.rejects(echo('x'), { code: 'dbus-disconnected' });
    assert.deepEqual(wakes.words, []);
  });
});
