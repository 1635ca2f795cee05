/** local.conf and the fault port, ten times as fast. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ended, Lab, NETWORK, until } from './lab.ts';

const lab = Lab.open({ speed: 10, control: 9994 });
const { node } = lab;
const file = path.join(node.folder, 'local.conf');
after(() => lab.close());

interface Settings {
  readonly interfacePrefixBlacklist?: readonly string[];
  readonly listeningOn: readonly string[];
}

async function settings(): Promise<Settings> {
  const status = (await node.statusDocument()) as { config: { settings: Settings } };
  return status.config.settings;
}

/** Writes as an editor should: beside, then renamed over. */
function write(document: unknown): void {
  writeFileSync(`${file}.new`, JSON.stringify(document));
  renameSync(`${file}.new`, file);
}

async function fault(body: unknown): Promise<void> {
  const answer = await node.http({ method: 'POST', port: 9994, body: JSON.stringify(body) });
  assert.equal(answer.status, 200);
}

describe('local.conf', () => {
  before(async () => {
    execFileSync('ip', ['-n', node.namespace, 'link', 'add', 'dock0', 'type', 'bridge']);
    execFileSync('ip', ['-n', node.namespace, 'addr', 'add', '172.17.0.1/16', 'dev', 'dock0']);
    await lab.startWithNetwork();
    await lab.moor('10.45.0.20');
  });

  test('leaves every address bound but those of loopback and of its own devices', async () => {
    const { listeningOn, interfacePrefixBlacklist } = await settings();
    assert.deepEqual(
      listeningOn.filter((entry) => entry.endsWith('/9993')),
      ['172.17.0.1/9993', '10.99.0.2/9993'],
    );
    assert.equal(interfacePrefixBlacklist, undefined);
  });

  test('is not read again when its time of change is older than the last look', async () => {
    write({ settings: { interfacePrefixBlacklist: ['old'] } });
    utimesSync(file, 1_000_000, 1_000_000);
    const endMs = performance.now() + 1300;
    await until('a whole cycle has passed', 3000, () => Promise.resolve(performance.now() > endMs));
    assert.equal((await settings()).interfacePrefixBlacklist, undefined);
  });

  test('shows a change at the next look, and has it in force at the next bind refresh', async () => {
    const document = {
      physical: { '10.0.0.0/8': { mtu: 1400 } },
      settings: { interfacePrefixBlacklist: ['dock'] },
    };
    write(document);
    await until('the settings show', 8000, async () => {
      utimesSync(file, new Date(), new Date());
      return (await settings()).interfacePrefixBlacklist?.includes('dock');
    });
    await until('dock0 is unbound', 4500, async () =>
      (await settings()).listeningOn.every((entry) => entry.startsWith('10.99.0.2/')),
    );
  });

  test('is merged and written with four spaces by the API, keeping all else', async () => {
    const answer = await node.call('POST', '/config/settings', { interfacePrefixBlacklist: ['veth'] });
    assert.deepEqual([answer.status, answer.body], [200, '{}']);
    const text = readFileSync(file, 'utf8');
    assert.match(text, /^{\n {4}"physical": {\n {8}"10\.0\.0\.0\/8"/);
    assert.deepEqual((await settings()).interfacePrefixBlacklist, ['veth']);
    await until('dock0 is bound again', 8000, async () => {
      utimesSync(file, new Date(), new Date());
      return (await settings()).listeningOn.includes('172.17.0.1/9993');
    });
  });

  test('may name a single string, which is ignored without a word', async () => {
    await node.call('POST', '/config/settings', { interfacePrefixBlacklist: 'dock' });
    utimesSync(file, new Date(), new Date());
    const endMs = performance.now() + 4200;
    await until('a whole bind cycle has passed', 6000, () => Promise.resolve(performance.now() > endMs));
    assert.ok((await settings()).listeningOn.includes('172.17.0.1/9993'));
  });
});

describe('the fault port', () => {
  test('spoils the API in each way for a while, and the API comes back', async () => {
    const ask = () => node.http({ path: '/health', timeoutMs: 300 });
    await fault({ api: '401' });
    assert.equal((await ask()).status, 401);
    await fault({ api: 'garbage' });
    const garbage = await ask();
    assert.throws(() => JSON.parse(garbage.body));
    await fault({ api: 'reset' });
    assert.match((await ask()).error ?? '', /ECONNRESET|socket hang up/);
    await fault({ api: 'hang' });
    assert.equal((await ask()).error, 'timeout');
    await fault({ api: 'slow', delaySeconds: 0.15 });
    assert.ok((await ask()).elapsedMs > 140);
    await fault({ api: 'hang', seconds: 0.2 });
    await until('the API answers again', 2000, async () => (await ask()).status === 200);
  });

  test('cuts the path: OK stays, lastReceive stands still, online turns false after 500 s of its time', async () => {
    await fault({ cut: 'all', speed: 200 });
    await until('it is offline', 8000, async () => (await node.statusDocument())['online'] === false);
    assert.equal((await node.network())?.status, 'OK');
    const [root] = JSON.parse((await node.call('GET', '/peer')).body) as {
      role: string;
      paths: { lastReceive: number; lastSend: number }[];
    }[];
    const newest = Math.max(...(root?.paths ?? []).map((found) => found.lastReceive));
    const sent = Math.max(...(root?.paths ?? []).map((found) => found.lastSend));
    assert.equal(root?.role, 'PLANET');
    assert.ok(sent > newest);
    await fault({ cut: '' });
    await until('it is online again', 3000, async () => (await node.statusDocument())['online'] === true);
    await fault({ speed: 10 });
  });

  test('drops the device while the API goes on saying OK', async () => {
    await fault({ dropTap: NETWORK });
    const network = await node.network();
    assert.equal(network?.status, 'OK');
    assert.equal(await node.ip('link', 'show', network?.portDeviceName ?? ''), '');
  });
});

describe('invalid JSON in local.conf', () => {
  test('ends the running program with 1 at the next look, and keeps it from starting', async () => {
    const child = node.process;
    assert.ok(child);
    const ending = ended(child);
    await until('the program ends', 8000, () => {
      writeFileSync(file, '{"settings": ');
      return Promise.resolve(child.exitCode !== null);
    });
    assert.equal(await ending, 1);
    assert.equal(await ended(node.launch()), 1);
  });
});
