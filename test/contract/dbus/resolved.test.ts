/** The resolved adapter against a fake resolved on a real bus. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createBus } from '#src/systems/dbus/bus.ts';
import type { Bus } from '#src/systems/dbus/types.ts';
import { createResolved, resolvedMatches } from '#src/systems/resolved/resolved.ts';
import type { LinkDns, Resolved } from '#src/systems/resolved/types.ts';
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
import { emptyLink, type FakeResolve1, joinAsResolve1 } from './fake-resolve1.ts';

const want: LinkDns = {
  servers: ['10.45.0.1', 'fd00::53'],
  domains: [
    { name: 'home.example', routingOnly: false },
    { name: '9.10.in-addr.arpa', routingOnly: true },
  ],
  defaultRoute: false,
};

let daemon: PrivateBus;
let fake: FakeResolve1;
let bus: Bus;
let wakes: Recorder;
let resolved: Resolved;
let others: FakeService[];

beforeEach(async () => {
  wakes = createRecorder();
  others = [];
  daemon = await startPrivateBus();
  fake = await joinAsResolve1(daemon.address);
  fake.links.set(4, emptyLink());
  bus = createBus({
    address: daemon.address,
    matches: resolvedMatches,
    wake: wakes.record,
    log: () => {},
    deadlineMs: 200,
  });
  resolved = createResolved({ bus, wake: wakes.record });
});

afterEach(async () => {
  bus.close();
  for (const service of [fake.service, ...others]) await service.leave();
  await daemon.close();
});

const setters = (service: FakeService) =>
  service.calls.map(({ member }) => member).filter((member) => member.startsWith('SetLink'));

/** A networkd that takes everything. */
async function addNetworkd(): Promise<FakeService> {
  const networkd = await joinBus(daemon.address, 'org.freedesktop.network1', () => done);
  others.push(networkd);
  return networkd;
}

function changed(of: string, property: string): void {
  const iface = 'org.freedesktop.DBus.Properties';
  fake.service.emit('/org/freedesktop/resolve1', iface, 'PropertiesChanged', 'sa{sv}as', [
    of,
    {},
    [property],
  ]);
}

describe('setting and reading', () => {
  test('what was set is read back in the same shape', async () => {
    assert.equal(await resolved.set(4, want), 'resolved');
    assert.deepEqual(await resolved.read([4]), {
      kind: 'present',
      links: { 4: want },
      resolvConfMode: 'stub',
    });
  });

  test('a link with two digits is read at its own path', async () => {
    fake.links.set(42, emptyLink());
    await resolved.set(42, want);
    assert.deepEqual(await resolved.read([4, 42]), {
      kind: 'present',
      links: { 4: { servers: [], domains: [], defaultRoute: false }, 42: want },
      resolvConfMode: 'stub',
    });
  });

  test('spelling of addresses and domains makes no difference', async () => {
    await resolved.set(4, {
      servers: ['FD00:0:0::0:53'],
      domains: [
        { name: 'Home.Example.', routingOnly: false },
        { name: '.', routingOnly: true },
      ],
      defaultRoute: true,
    });
    const reading = await resolved.read([4]);
    assert.equal(reading.kind, 'present');
    assert.deepEqual(reading.links[4], {
      servers: ['fd00::53'],
      domains: [
        { name: 'home.example', routingOnly: false },
        { name: '.', routingOnly: true },
      ],
      defaultRoute: true,
    });
  });

  test('a link that resolved does not know has no entry', async () => {
    assert.deepEqual(await resolved.read([4, 5]), {
      kind: 'present',
      links: { 4: { servers: [], domains: [], defaultRoute: false } },
      resolvConfMode: 'stub',
    });
  });

  test('a resolved without SetLinkDefaultRoute still takes servers and domains', async () => {
    fake.override = ({ member }) =>
      member === 'SetLinkDefaultRoute'
        ? failure('org.freedesktop.DBus.Error.UnknownMethod', 'no')
        : undefined;
    assert.equal(await resolved.set(4, want), 'resolved');
  });

  test('a link that resolved learns of a moment later gets its DNS', async () => {
    let refusals = 3;
    fake.override = ({ member }) => {
      if (!member.startsWith('SetLink') || refusals === 0) return undefined;
      refusals -= 1;
      return failure('org.freedesktop.resolve1.NoSuchLink', 'Link 4 not known');
    };
    assert.equal(await resolved.set(4, want), 'resolved');
    assert.equal(refusals, 0);
  });

  test('a link that stays unknown is an error of its own', async () => {
    await assert.rejects(resolved.set(99, want), { code: 'no-such-link' });
  });

  test('domains that resolved refuses are told in its words', async () => {
    fake.override = ({ member }) =>
      member === 'SetLinkDomains'
        ? failure('org.freedesktop.DBus.Error.InvalidArgs', 'Invalid search domain a..b')
        : undefined;
    await assert.rejects(resolved.set(4, want), {
      code: 'dns-refused',
      message: /Invalid search domain a\.\.b/,
    });
  });

  test('text that is no address never reaches the bus', async () => {
    await assert.rejects(resolved.set(4, { ...want, servers: ['dns.home'] }), { code: 'dns-refused' });
    assert.deepEqual(setters(fake.service), []);
  });
});

describe('a link that networkd manages', () => {
  test('gets its DNS through networkd', async () => {
    fake.busy.add(4);
    const networkd = await addNetworkd();
    assert.equal(await resolved.set(4, want), 'networkd');
    assert.deepEqual(setters(networkd), ['SetLinkDNS', 'SetLinkDomains', 'SetLinkDefaultRoute']);
    assert.deepEqual(networkd.calls[0]?.body, [
      4,
      [
        [2, Buffer.from([10, 45, 0, 1])],
        [10, Buffer.from('fd000000000000000000000000000053', 'hex')],
      ],
    ]);
  });

  test('is reverted through networkd', async () => {
    fake.busy.add(4);
    const networkd = await addNetworkd();
    await resolved.revert(4);
    assert.deepEqual(
      networkd.calls.map(({ member, body }) => [member, body]),
      [['RevertLinkDNS', [4]]],
    );
  });

  test('without a networkd on the bus is refused with the words of resolved, and says who is missing', async () => {
    fake.busy.add(4);
    const missing = { code: 'networkd-absent', message: /is managed.*systemd-networkd is not on the bus/ };
    await assert.rejects(resolved.set(4, want), missing);
  });
});

describe('reverting', () => {
  test('empties the link', async () => {
    await resolved.set(4, want);
    await resolved.revert(4);
    assert.deepEqual(fake.links.get(4), emptyLink());
  });

  test('a link that is gone is fine', async () => {
    await resolved.revert(99);
  });
});

describe('no resolved', () => {
  test('is a reading with a remedy, and an error with a code', async () => {
    await fake.service.leave();
    const reading = await resolved.read([4]);
    assert.equal(reading.kind, 'absent');
    assert.match(reading.error, /install the package systemd-resolved/);
    assert.equal(reading.isOffBus, true);
    await assert.rejects(resolved.set(4, want), { code: 'resolved-absent' });
    await assert.rejects(resolved.revert(4), { code: 'resolved-absent' });
  });

  test('on the bus that is asked first is known without a signal', async () => {
    await fake.service.leave();
    await resolved.read([4]);
    await daemon.kill();
    await wakes.saw(/^dbus disconnected$/);
    const away = await resolved.read([4]);
    assert.ok(away.kind === 'absent' && !away.isOffBus, 'nobody could be asked');
    await daemon.restart();
    await wakes.saw(/^dbus reconnected$/);
    const back = await resolved.read([4]);
    assert.ok(back.kind === 'absent' && back.isOffBus);
  });

  test('that is masked reads the same', async () => {
    fake.override = () => failure('org.freedesktop.DBus.Error.FileExists', 'failed to load properly');
    const reading = await resolved.read([4]);
    assert.equal(reading.kind, 'absent');
    assert.match(reading.error, /unmask/);
  });

  test('that comes back under another unique name wakes and is read at once', async () => {
    await resolved.read([4]);
    await fake.service.leave();
    await wakes.saw(/^resolved went$/);
    fake = await joinAsResolve1(daemon.address);
    fake.links.set(4, emptyLink());
    await wakes.saw(/^resolved came$/);
    assert.equal((await resolved.read([4])).kind, 'present');
  });
});

describe('a resolved that misbehaves', () => {
  test('and never answers costs one deadline and is a reading', async () => {
    fake.override = () => ({ kind: 'silence' });
    const reading = await resolved.read([4]);
    assert.equal(reading.kind, 'absent');
    assert.match(reading.error, /did not answer Get in 200 ms/);
    assert.equal(reading.isOffBus, false);
    await assert.rejects(resolved.set(4, want), { code: 'dbus-deadline' });
    fake.override = undefined;
    assert.equal((await resolved.read([4])).kind, 'present');
  });

  test('and answers in another shape is a reading', async () => {
    fake.override = ({ member }) =>
      member === 'GetAll' ? { kind: 'return', signature: 's', body: ['surprise'] } : undefined;
    const reading = await resolved.read([4]);
    assert.equal(reading.kind, 'absent');
    assert.match(reading.error, /shape/);
  });

  test('and gives a server of seven bytes is a reading', async () => {
    fake.links.set(4, { ...emptyLink(), servers: [[2, Buffer.alloc(7)]] });
    const reading = await resolved.read([4]);
    assert.equal(reading.kind, 'absent');
    assert.match(reading.error, /shape/);
  });
});

describe('signals', () => {
  test('servers changed by anyone wake; the server in use just now does not', async () => {
    await resolved.read([4]);
    changed('org.freedesktop.resolve1.Manager', 'CurrentDNSServer');
    changed('org.freedesktop.resolve1.Manager', 'DNS');
    await wakes.saw(/^resolved changed DNS$/);
    assert.deepEqual(wakes.words, ['resolved changed DNS']);
  });

  test('a daemon that restarts takes nothing from us but a moment', async () => {
    await resolved.read([4]);
    await daemon.kill();
    await wakes.saw(/^dbus disconnected$/);
    assert.equal((await resolved.read([4])).kind, 'absent');
    await daemon.restart();
    await wakes.saw(/^dbus reconnected$/);
    fake = await joinAsResolve1(daemon.address);
    fake.links.set(4, emptyLink());
    await wakes.saw(/^resolved came$/);
    assert.equal((await resolved.read([4])).kind, 'present');
  });
});
