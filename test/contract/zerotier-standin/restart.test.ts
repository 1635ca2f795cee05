/** Kernel order and restart, at normal speed for the kernel and twice as fast for the rest. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { DEVICE, Lab, NETWORK, until } from './lab.ts';

const lab = Lab.open({ speed: 2, networkWindowMs: 100 });
const { node } = lab;
let monitor: ChildProcess | undefined;
let events = '';
after(() => {
  monitor?.kill('SIGKILL');
  lab.close();
});

/** Seconds of the first monitor event that matches. */
function timeOf(pattern: RegExp): number {
  for (const event of events.split(/^(?=\[)/m)) {
    const time = /^\[[^T]*T(\d+):(\d+):([\d.]+)\]/.exec(event);
    if (time !== null && pattern.test(event)) {
      return Number(time[1]) * 3600 + Number(time[2]) * 60 + Number(time[3]);
    }
  }
  throw new Error(`no event like ${pattern} in:\n${events}`);
}

async function ifindex(): Promise<number> {
  return Number.parseInt(await node.ip('-o', 'link', 'show', DEVICE), 10);
}

describe('a restart', () => {
  let address = '';
  before(async () => {
    await lab.startWithNetwork();
    address = await lab.moor('10.45.0.20');
    monitor = spawn('ip', ['-n', node.namespace, '-ts', 'monitor', 'link', 'address'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    monitor.stdout?.on('data', (part: Buffer) => {
      events += part.toString();
    });
    await until('the monitor listens', 5000, async () => {
      await node.ip('addr', 'add', '192.0.2.1/32', 'dev', 'lo');
      await node.ip('addr', 'del', '192.0.2.1/32', 'dev', 'lo');
      return events.includes('192.0.2.1');
    });
  });

  test('ignores SIGHUP', async () => {
    node.process?.kill('SIGHUP');
    assert.equal((await node.call('GET', '/health')).status, 200);
    assert.equal((await node.network())?.status, 'OK');
  });

  test('takes the interface away at once at SIGTERM, and ends with 0 a while later', async () => {
    const stopping = node.stop();
    await until('the device is gone', 400, async () => (await node.ip('link', 'show', DEVICE)) === '');
    assert.equal(node.process?.exitCode, null);
    assert.equal(await stopping, 0);
  });

  test('answers before it has read its networks: first 404 and an empty list, then OK from its cache', async () => {
    events = '';
    await node.start();
    assert.equal((await node.call('GET', '/network')).body, '[]');
    const early = await node.call('GET', `/network/${NETWORK}`);
    assert.deepEqual([early.status, early.body], [404, '{}']);
    const network = await until('the network is there', 1000, () => node.network());
    assert.equal(network.status, 'OK');
    assert.deepEqual(network.assignedAddresses, ['10.45.0.20/24']);
    assert.equal((await node.statusDocument())['online'], false);
    await until('it is online', 6000, async () => (await node.statusDocument())['online'] === true);
  });

  test('makes the device DOWN with MTU 1500, addresses it, brings it UP after 100 ms and to MTU 2800 after 200', async () => {
    await until('the last event has come', 2000, () =>
      Promise.resolve(/,UP,LOWER_UP> mtu 2800/.test(events)),
    );
    const created = timeOf(/mtu 1500 qdisc noop state DOWN/);
    const addressed = timeOf(/inet 10\.45\.0\.20\/24 brd 10\.45\.0\.255/);
    const up = timeOf(/,UP,LOWER_UP> mtu 1500/);
    const sized = timeOf(/,UP,LOWER_UP> mtu 2800/);
    const seconds = [created, addressed, up, sized];
    assert.deepEqual(seconds, seconds.toSorted());
    assert.ok(addressed - created < 0.09, `address after ${addressed - created} s`);
    assert.ok(up - created > 0.09 && up - created < 0.5, `up after ${up - created} s`);
    assert.ok(sized - created > 0.19 && sized - created < 0.8, `MTU after ${sized - created} s`);
  });

  test('keeps name, MAC and address and gets a new ifindex, after SIGKILL as well', async () => {
    const before = await node.network();
    const index = await ifindex();
    await node.stop('SIGKILL');
    assert.equal(await node.ip('link', 'show', DEVICE), '');
    await node.start();
    const now = await until('the network is there', 1000, () => node.network());
    assert.deepEqual(
      [now.portDeviceName, now.mac, now.assignedAddresses],
      [before?.portDeviceName, before?.mac, before?.assignedAddresses],
    );
    assert.notEqual(await ifindex(), index);
  });

  test('says OK from its cache for a moment, then ACCESS_DENIED, when it was de-authorised meanwhile', async () => {
    await node.stop();
    await lab.member(address, { authorized: false });
    await node.start();
    assert.equal((await until('the network is there', 1000, () => node.network())).status, 'OK');
    const network = await node.status('ACCESS_DENIED', 4000);
    assert.deepEqual(network.assignedAddresses, ['10.45.0.20/24']);
  });

  test('ends with no IPv4 address when the first of two in one subnet goes, and says OK', async () => {
    await lab.member(address, { authorized: true, ipAssignments: ['10.45.0.20', '10.45.0.30'] });
    const kernel = () => node.ip('-br', '-4', 'addr', 'show', DEVICE);
    await until('both addresses are there', 2000, async () =>
      /\.20\/24 10\.45\.0\.30\/24/.test(await kernel()),
    );
    const promote = `/proc/sys/net/ipv4/conf/${DEVICE}/promote_secondaries`;
    execFileSync('ip', ['netns', 'exec', node.namespace, 'sh', '-c', `echo 0 > ${promote}`]);
    const bothMs = performance.now();
    await until('both are older than the second that the real one is blind for', 2000, () =>
      Promise.resolve(performance.now() - bothMs > 1100),
    );
    await lab.member(address, { ipAssignments: ['10.45.0.30'] });
    await until('the kernel has lost both', 2000, async () => !(await kernel()).includes('10.45'));
    const network = await node.network();
    assert.deepEqual([network?.status, network?.assignedAddresses], ['OK', ['10.45.0.30/24']]);
    await node.stop();
    await node.start();
    await until('a restart has put it there', 4000, async () => (await kernel()).includes('10.45.0.30/24'));
    await node.status('OK', 1000);
  });

  test('never puts back an address or a device that another one took away', async () => {
    await node.ip('addr', 'del', '10.45.0.30/24', 'dev', DEVICE);
    await node.call('POST', `/network/${NETWORK}`, {});
    await node.status('OK', 1000);
    assert.doesNotMatch(await node.ip('-br', 'addr', 'show', DEVICE), /10\.45/);
    await node.ip('link', 'del', DEVICE);
    assert.equal((await node.network())?.status, 'OK');
    await node.call('DELETE', `/network/${NETWORK}`);
    await node.call('POST', `/network/${NETWORK}`, {});
    await node.status('OK', 6000);
    assert.match(await node.ip('-br', 'addr', 'show', DEVICE), /10\.45\.0\.30/);
  });
});
