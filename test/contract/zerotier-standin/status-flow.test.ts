/** The way of a member, ten times as fast: asked, refused, authorised, re-addressed, de-authorised, deleted. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lab, NETWORK, until } from './lab.ts';

const SPEED = 10;
const lab = Lab.open({ speed: SPEED });
const { home, node } = lab;
after(() => lab.close());

/** Streams over the tap to home, and tells how many bytes arrived there and at what rate. */
async function stream(bytes: number, port: number): Promise<{ arrived: number; mbitPerSecond: number }> {
  await home.ask({ kind: 'sink', host: '10.45.0.1', port });
  const answer = await node.ask({ kind: 'stream', host: '10.45.0.1', port, bytes, timeoutMs: 2000 });
  return { arrived: Number(answer.body), mbitPerSecond: (bytes * 8) / 1000 / answer.elapsedMs };
}

describe('a member on its way', () => {
  let address = '';
  let authorisedMs = 0;
  before(async () => {
    await lab.startWithNetwork();
    address = await lab.nodeAddress();
  });

  test('is refused first, 3.8 to 4.9 s after the join, with its interface already up', async () => {
    const startedMs = performance.now();
    await node.call('POST', `/network/${NETWORK}`, {});
    const network = await node.status('ACCESS_DENIED', 4000);
    const tookMs = (performance.now() - startedMs) * SPEED;
    assert.ok(tookMs > 3700 && tookMs < 12_000, `took ${tookMs} ms of its own time`);
    assert.deepEqual(network.assignedAddresses, []);
    assert.match(await node.ip('-br', 'link', 'show', network.portDeviceName), /<BROADCAST,MULTICAST,UP/);
  });

  test('gets its address, name and DNS within one poll of being authorised', async () => {
    await lab.member(address, { authorized: true, ipAssignments: ['10.45.0.20'] });
    const network = await node.status('OK', 4000);
    authorisedMs = performance.now();
    assert.deepEqual(network.assignedAddresses, ['10.45.0.20/24']);
    assert.equal(network.name, 'home');
    assert.deepEqual(network.dns, { domain: 'home.example', servers: ['10.45.0.1'] });
    assert.match(await node.ip('-br', 'addr', 'show', network.portDeviceName), /10\.45\.0\.20\/24/);
  });

  test('carries TCP over the interface at more than 50 Mbit/s', async () => {
    await home.status('OK', 3000);
    const { arrived, mbitPerSecond } = await stream(8_000_000, 7001);
    assert.equal(arrived, 8_000_000);
    assert.ok(mbitPerSecond > 50, `${mbitPerSecond} Mbit/s`);
  });

  test('is re-addressed by a push, and keeps its ifindex', async () => {
    await until('the address is older than the one second that the real one is blind for', 2000, () =>
      Promise.resolve(performance.now() - authorisedMs > 1100),
    );
    const before = await node.ip('-o', 'link', 'show', 'ztmjfmfyq5');
    const startedMs = performance.now();
    await lab.member(address, { ipAssignments: ['10.45.0.21'] });
    await until('the kernel has the new address', 3000, async () =>
      / 10\.45\.0\.21\/24/.test(await node.ip('-br', 'addr', 'show', 'ztmjfmfyq5')),
    );
    assert.ok(performance.now() - startedMs < 1000);
    assert.doesNotMatch(await node.ip('-br', 'addr', 'show', 'ztmjfmfyq5'), /10\.45\.0\.20/);
    assert.equal((await node.ip('-o', 'link', 'show', 'ztmjfmfyq5')).split(':')[0], before.split(':')[0]);
    assert.equal((await node.network())?.netconfRevision, 1);
  });

  test('leaves a stale address behind when the next change comes within a second', async () => {
    await lab.member(address, { ipAssignments: ['10.45.0.22'] });
    await until('the API tells the new address', 1000, async () =>
      (await node.network())?.assignedAddresses.includes('10.45.0.22/24'),
    );
    const kernel = await node.ip('-br', 'addr', 'show', 'ztmjfmfyq5');
    assert.match(kernel, /10\.45\.0\.21/);
    assert.match(node.stderr, /unable to remove ip address 10\.45\.0\.21/);
  });

  test('gets changed DNS by a push with a higher revision, and a list in place of it is ignored', async () => {
    await home.call('POST', `/controller/network/${NETWORK}`, { dns: { domain: '', servers: [] } });
    const cleared = await until('the DNS is cleared', 1000, async () => {
      const network = await node.network();
      return network?.dns.servers.length === 0 ? network : undefined;
    });
    assert.deepEqual(cleared.dns, { domain: '', servers: [] });
    assert.equal(cleared.netconfRevision, 2);
    const ignored = await home.call('POST', `/controller/network/${NETWORK}`, { dns: [] });
    assert.equal((JSON.parse(ignored.body) as { revision: number }).revision, 2);
  });

  test('loses its traffic at once when de-authorised, its status a minute later, its address never', async () => {
    await lab.member(address, { authorized: false });
    assert.equal((await node.network())?.status, 'OK');
    const cut = await stream(1000, 7002);
    assert.equal(cut.arrived, 0);
    const network = await node.status('ACCESS_DENIED', 9000);
    assert.deepEqual(network.assignedAddresses, ['10.45.0.22/24']);
    assert.equal(network.name, 'home');
    assert.match(await node.ip('-br', 'addr', 'show', 'ztmjfmfyq5'), /10\.45\.0\.22/);
  });

  test('is back by a push when authorised again', async () => {
    const startedMs = performance.now();
    await lab.member(address, { authorized: true });
    await node.status('OK', 1000);
    assert.ok(performance.now() - startedMs < 1000);
  });

  test('is told NOT_FOUND after the network was deleted, and keeps what it had', async () => {
    await home.call('DELETE', `/controller/network/${NETWORK}`);
    const network = await node.status('NOT_FOUND', 9000);
    assert.deepEqual(network.assignedAddresses, ['10.45.0.22/24']);
  });

  test('asks for ever where the controller does not exist', async () => {
    await node.call('POST', '/network/1234567890000001', {});
    await node.status('NOT_FOUND', 1000);
    await until('the multicast groups are there, so a poll has passed', 3000, async () =>
      (await node.call('GET', '/network/1234567890000001')).body.includes('01:00:5e:00:00:01'),
    );
    assert.equal((await node.network('1234567890000001'))?.status, 'REQUESTING_CONFIGURATION');
  });
});
