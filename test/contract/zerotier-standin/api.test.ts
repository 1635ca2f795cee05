/** The local API as measured: who may ask, what an unknown path says, how a join answers. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ended, Lab } from './lab.ts';

const lab = Lab.open({ speed: 5 });
const node = lab.node;
after(() => lab.close());

describe('the local API', () => {
  before(() => node.start());

  test('keeps a token of 24 characters, readable by its owner only, without a newline', () => {
    for (const name of ['authtoken.secret', 'metricstoken.secret']) {
      const file = path.join(node.folder, name);
      assert.match(readFileSync(file, 'utf8'), /^[a-z0-9]{24}$/);
      assert.equal(statSync(file).mode & 0o777, 0o600);
    }
    assert.equal(readFileSync(path.join(node.folder, 'zerotier-one.port'), 'utf8'), '9993');
  });

  test('takes the token as header, as query and as bearer, and looks at the first present only', async () => {
    const token = node.token();
    const asked = async (headers: Record<string, string>, query = '') =>
      (await node.http({ path: `/status${query}`, headers })).status;
    assert.equal(await asked({ 'x-zt1-auth': token }), 200);
    assert.equal(await asked({}, `?auth=${token}`), 200);
    assert.equal(await asked({ Authorization: `Bearer ${token}` }), 200);
    assert.equal(await asked({ 'X-ZT1-Auth': 'bad', Authorization: `Bearer ${token}` }), 401);
    assert.equal(await asked({ Authorization: `Bearer ${token}` }, '?auth=bad'), 401);
  });

  test('answers 401 with an empty JSON object to whoever has no token', async () => {
    const answer = await node.http({ path: '/status' });
    assert.deepEqual([answer.status, answer.body, answer.contentType], [401, '{}', 'application/json']);
  });

  test('refuses the right token from an address that is not loopback', async () => {
    const answer = await node.http({
      host: '10.99.0.2',
      path: '/status',
      headers: { 'X-ZT1-Auth': node.token() },
    });
    assert.equal(answer.status, 401);
    const v6 = await node.http({ host: '::1', path: '/network', headers: { 'X-ZT1-Auth': node.token() } });
    assert.equal(v6.body, '[]');
  });

  test('tells its health without a token', async () => {
    const health = JSON.parse((await node.http({ path: '/health' })).body) as Record<string, unknown>;
    const keys = ['clock', 'online', 'version', 'versionBuild', 'versionMajor', 'versionMinor', 'versionRev'];
    assert.deepEqual(Object.keys(health), keys);
    assert.equal(health['version'], '1.14.1');
  });

  test('says 404 without a body for an unknown path, and with an empty object for an unknown network', async () => {
    const unknownPath = await node.call('GET', '/nosuch');
    assert.deepEqual([unknownPath.status, unknownPath.body, unknownPath.contentType], [404, '', undefined]);
    const unknownNetwork = await node.call('GET', '/network/734bea9d3d0000aa');
    assert.deepEqual([unknownNetwork.status, unknownNetwork.body], [404, '{}']);
  });

  test('opens the metrics to the metrics token, and nothing else', async () => {
    const token = readFileSync(path.join(node.folder, 'metricstoken.secret'), 'utf8');
    assert.equal((await node.http({ path: '/status', headers: { 'X-ZT1-Auth': token } })).status, 401);
    assert.equal((await node.http({ path: '/metrics' })).status, 401);
    const before = await node.http({ path: `/metrics?auth=${token}` });
    assert.ok(before.status === 500 || before.status === 200);
  });

  test('joins with the object of a network that asks for its configuration, twice the same', async () => {
    const first = await node.call('POST', '/network/734BEA9D3D000001', {});
    const second = await node.call('PUT', '/network/734bea9d3d000001', {});
    assert.equal(first.status, 200);
    assert.equal(second.body, first.body);
    const wanted = readFileSync(path.join(import.meta.dirname, 'joined.txt'), 'utf8').trim();
    assert.equal(first.body.replace(/"mac":"[^"]*"/, '"mac":"…"'), wanted);
    assert.equal(readFileSync(path.join(node.folder, 'networks.d/734bea9d3d000001.conf'), 'utf8'), '\n');
  });

  test('names devices as ZeroTier does', async () => {
    for (const [suffix, name] of [
      ['aa', 'zt5z3ovhmx'],
      ['ff', 'zt5z3ovhoc'],
      ['fb', 'zt5z3ovhog'],
    ]) {
      const joined = await node.call('POST', `/network/734bea9d3d0000${suffix}`, {});
      assert.equal((JSON.parse(joined.body) as { portDeviceName: string }).portDeviceName, name);
      assert.equal((await node.call('DELETE', `/network/734bea9d3d0000${suffix}`)).body, '{"result":true}');
    }
  });

  test('takes the next name where a foreign device has it', async () => {
    execFileSync('ip', ['-n', node.namespace, 'link', 'add', 'zt5z3ovhmx', 'type', 'bridge']);
    const joined = await node.call('POST', '/network/734bea9d3d0000aa', {});
    assert.equal((JSON.parse(joined.body) as { portDeviceName: string }).portDeviceName, 'zt5z3ovhmy');
    await node.call('DELETE', '/network/734bea9d3d0000aa');
    execFileSync('ip', ['-n', node.namespace, 'link', 'del', 'zt5z3ovhmx']);
  });

  test('waits for the body of a POST without a length, five seconds at normal speed', async () => {
    const silent = await node.call('POST', '/network/734bea9d3d0000fe');
    assert.equal(silent.status, 200);
    assert.ok(silent.elapsedMs > 950 && silent.elapsedMs < 2000, `took ${silent.elapsedMs} ms`);
    const told = await node.http({
      method: 'POST',
      path: '/network/734bea9d3d0000fe',
      headers: { 'X-ZT1-Auth': node.token(), 'Content-Length': '0' },
    });
    assert.equal(told.status, 200);
    assert.ok(told.elapsedMs < 500, `took ${told.elapsedMs} ms`);
  });

  test('ignores a body that is no JSON', async () => {
    const headers = { 'X-ZT1-Auth': node.token() };
    const path = '/network/734bea9d3d0000fd';
    assert.equal((await node.http({ method: 'POST', path, headers, body: 'not json' })).status, 200);
  });

  test('leaves at once, with interface and files, and says an empty object where it never joined', async () => {
    assert.equal((await node.call('DELETE', '/network/734bea9d3d000001')).body, '{"result":true}');
    assert.equal((await node.call('DELETE', '/network/734bea9d3d000001')).body, '{}');
    assert.equal(await node.ip('link', 'show', 'zt5z3ovhj4'), '');
    assert.throws(() => statSync(path.join(node.folder, 'networks.d/734bea9d3d000001.conf')));
  });

  test('answers a join with an empty object where there is no tun device, and keeps only the file', async () => {
    await node.stop();
    await node.start(['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh']);
    const joined = await node.call('POST', '/network/734bea9d3d0000aa', {});
    assert.deepEqual([joined.status, joined.body], [200, '{}']);
    assert.equal((await node.call('GET', '/network')).body, '[]');
    assert.equal((await node.call('GET', '/network/734bea9d3d0000aa')).status, 404);
    assert.ok(statSync(path.join(node.folder, 'networks.d/734bea9d3d0000aa.conf')).isFile());
    assert.match(node.stderr, /could not open TUN\/TAP device/);
  });

  test('ends a second process on the same port with 1', async () => {
    const first = node.process;
    const second = node.launch();
    assert.equal(await ended(second), 1);
    assert.match(node.stderr, /cannot bind to local control interface port 9993/);
    node.process = first;
  });
});
