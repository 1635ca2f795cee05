/**
 * A node with nobody at a console: it authorises itself, respects whoever shuts it out, leaves, comes back, and its
 * disk's copies are nodes of their own. One booted node; the tests follow each other.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { metric, reload, waitForReason } from './ask.ts';
import { Bed } from './bed.ts';
import { waitFor } from './process.ts';
import { homeNetwork } from './zerotier.ts';

const asked = (action: string) =>
  `mooring_actions_total{stage="zerotier",action="controller.${action}",result="ok"}`;

describe('a node that nobody authorises by hand', () => {
  let bed: Bed;

  before(async () => {
    bed = await Bed.start({ authorizesItself: true, hurry: 30 });
  });
  after(async () => {
    await bed?.stop();
  });

  test('becomes Ready, under the address that its config names, with as few questions as that takes', async () => {
    await bed.waitForReady();
    const [link] = (await bed.status())?.networks ?? [];
    assert.deepEqual(link?.addresses, [`${homeNetwork.node}/24`]);
    assert.equal(await metric(bed, asked('authorize')), 1);
    assert.ok((await metric(bed, asked('look'))) <= 2);
    assert.match(await bed.node.run(['mooring', 'plan']), /^nothing to do$/m);
  });

  test('waits for a person when somebody shuts it out, and asks nobody meanwhile', async () => {
    const before = (await metric(bed, asked('look'))) + (await metric(bed, asked('authorize')));
    await bed.deauthorise();
    await waitFor('ZeroTier to hear of it', async () => (await networkStatus()) === 'ACCESS_DENIED', {
      timeoutMs: 90_000,
      everyMs: 250,
    });
    // A moored node is looked at every 20 s.
    await reload(bed);
    const message = await waitForReason(bed, 'NetworkAuthorized', 'Deauthorized', 60_000);
    assert.match(message, /authorise it at the network's controller/);
    await bed.node.run(['systemctl', 'restart', 'mooring.service']);
    await waitForReason(bed, 'NetworkAuthorized', 'Deauthorized', 30_000);
    const [member] = await bed.home.zerotier.members();
    assert.equal(member?.authorized, false);
    assert.ok(before > 0);
    assert.equal(await metric(bed, asked('authorize')), 0);
    await bed.authorise();
    await bed.waitForReady(60_000);
  });

  test('does not leave with pods that a disruption budget holds, and goes on with all but mooring itself', async () => {
    await bed.home.k3sBudget('spent');
    const leaving = ['mooring', 'leave', '--drain', '--timeout', '3s'];
    const { exitCode, stdout, stderr } = await bed.node.tryRun(leaving);
    assert.equal(exitCode, 1);
    assert.match(stderr, /held back by a disruption budget: kube-system\/traefik-\S+$/m);
    assert.match(stderr, /run it again, or leave without --drain\..* kubectl uncordon node1$/m);
    assert.deepEqual(stdout.match(/^[^:]+/gm), ['mooring.service', 'pods']);
    const states = {
      'mooring.service': 'inactive',
      'mooring-ingress.service': 'active',
      'k3s-node.service': 'active',
    };
    for (const [unit, state] of Object.entries(states))
      assert.equal(await bed.node.unitProperty(unit, 'ActiveState'), state, unit);
    const { unschedulable, pods } = await nodeAtHome();
    assert.equal(unschedulable, true);
    assert.equal(pods.length, 2);
    assert.equal((await bed.client.http(80)).status, 200);
    await bed.node.run(['resolvectl', 'query', 'nas.home.example']);
    assert.equal((await bed.home.zerotier.members())[0]?.authorized, true);
  });

  test('leaves once its pods have gone and open connections have ended in order, and tells what is left for a person', async () => {
    await bed.home.k3sBudget('free');
    const { pid } = JSON.parse((await bed.client.http(80)).body);
    await bed.node.run(['test', '-e', `/proc/${pid}`]);
    const held = await holdConnection(bed);
    const leaving = ['mooring', 'leave', '--drain'];
    const told = await bed.node.run(leaving, { timeoutMs: 60_000 });
    assert.equal(await held.end, 'closed');
    assert.match(told, /^pods: evicting kube-system\/traefik-\S+\npods: the node is cordoned, 1 evicted$/m);
    assert.match(told, /^ {2}kubectl delete node node1$/m);
    assert.match(told, /node1\.node-password\.k3s/);
    assert.match(told, /authorisation given up/);
    const process = await bed.node.tryRun(['test', '-e', `/proc/${pid}`]);
    assert.equal(process.exitCode, 1);
    const { unschedulable, pods } = await nodeAtHome();
    assert.equal(unschedulable, true);
    assert.deepEqual(
      pods.map((pod) => pod.replace(/-\w+$/, '')),
      ['monitoring/node-exporter'],
    );
    await isGone();
    assert.equal((await bed.home.zerotier.members())[0]?.authorized, false);
    const again = await bed.node.run(leaving, { timeoutMs: 60_000 });
    assert.match(again, /^pods: nothing to drain, k3s-node\.service does not run$/m);
    assert.match(again, /^ {2}kubectl delete node node1$/m);
  });

  test('may leave twice, and stays away over a reboot', async () => {
    await bed.node.run(['mooring', 'leave'], { timeoutMs: 60_000 });
    await bed.node.reboot();
    await waitFor(
      'the boot to end',
      async () => /running|degraded/.test((await bed.node.tryRun(['systemctl', 'is-system-running'])).stdout),
      { timeoutMs: 60_000 },
    );
    await isGone();
  });

  test('comes back by itself when it is asked to, since it was nobody else who shut it out', async () => {
    await bed.home.deleteK3sNode('node1');
    await bed.node.run('systemctl enable mooring-ingress && systemctl enable --now mooring');
    await bed.waitForReady(60_000);
    const { name, unschedulable, pods } = await nodeAtHome();
    assert.equal(name, 'node1');
    assert.equal(unschedulable, false);
    assert.match(pods.join(' '), /kube-system\/traefik-/);
  });

  describe('whose disk is copied', () => {
    const seen = new Set<string>();

    before(async () => {
      seen.add(await identity());
    });

    test('is another node on another instance, before it joins anything', async () => {
      await bed.node.powerOff();
      await bootAs('copy-1', 'node2');
      const fresh = await identity();
      assert.ok(!seen.has(fresh), `${fresh} is the original's`);
      seen.add(fresh);
      const told = await bed.node.journal({ unit: 'mooring-zerotier-preseed.service' });
      assert.match(told, /this disk is a copy, on another instance \(copy-1\)/);
      await isKnownAs('node2');
    });

    test('is left alone by prepare-image while it is in use, unless that is forced', async () => {
      const refused = await bed.node.tryRun(['mooring', 'prepare-image']);
      assert.equal(refused.exitCode, 1);
      assert.match(refused.stderr, /in use \(mooring\.service/);
      const told = await bed.node.run(['mooring', 'prepare-image', '--force'], { timeoutMs: 60_000 });
      assert.match(told, /A secret stays in the image: \/etc\/mooring\/zerotier-api-token/);
      await bed.node.powerOff();
      for (const path of [
        'var/lib/zerotier-one/identity.secret',
        'var/lib/zerotier-one/authtoken.secret',
        'var/lib/zerotier-one/networks.d',
        'etc/rancher/node/password',
        'var/lib/mooring/instance.json',
        'var/lib/mooring/last-good.json',
        'var/lib/cloud/data',
      ])
        assert.equal(existsSync(join(bed.node.rootDir, path)), false, path);
      assert.equal(await readFile(join(bed.node.rootDir, 'etc/machine-id'), 'utf8'), '');
      for (const path of ['var/lib/zerotier-one/local.conf', 'etc/mooring/config.yaml', 'usr/local/bin/k3s'])
        assert.equal(existsSync(join(bed.node.rootDir, path)), true, path);
    });

    test('comes up from the prepared image as the one whose identity it is given', async () => {
      const given = `a1b2c3d4e5:0:${'0123456789abcdef'.repeat(8)}:${'fedcba9876543210'.repeat(8)}`;
      // The real one takes none whose address does not follow from its key.
      const isGiven = bed.home.zerotier.variant.kind === 'stand-in';
      if (isGiven) {
        await bed.node.prepareFile('/etc/mooring/identity.secret', `${given}\n`, 0o600);
        const config = 'zerotier: {identity: {file: /etc/mooring/identity.secret}}\n';
        await bed.node.prepareFile('/etc/mooring/config.d/identity.yaml', config);
      }
      // As in an image in which mooring has never run.
      await rm(join(bed.node.rootDir, 'var/lib/mooring'), { recursive: true });
      await bootAs('copy-2', 'node3');
      assert.equal(await bed.node.run('systemctl list-units --failed --plain --no-legend'), '');
      const fresh = await identity();
      assert.ok(!seen.has(fresh), `${fresh} was there before`);
      if (isGiven) assert.equal(fresh, given.slice(0, 10));
      const secret = await bed.node.run(['stat', '-c', '%a %U', '/var/lib/zerotier-one/identity.secret']);
      assert.equal(secret, '600 zerotier-one');
      await isKnownAs('node3');
      const members = await bed.home.zerotier.members();
      assert.deepEqual(
        members.map(({ address, authorized }) => `${address} ${authorized}`).sort(),
        [...seen, fresh].map((address) => `${address} true`).sort(),
      );
    });
  });

  /** By ZeroTier's own word. */
  async function networkStatus(): Promise<string> {
    const url = `http://127.0.0.1:9993/network/${bed.networkId}`;
    const told = await bed.node.run(
      `curl -sSf -H "X-ZT1-Auth: $(cat /var/lib/zerotier-one/authtoken.secret)" ${url}`,
    );
    return /"status":\s*"(\w*)"/.exec(told)?.[1] ?? '';
  }

  /** The only node, as the cluster has it. */
  async function nodeAtHome(): Promise<{ name: string; unschedulable: boolean; pods: string[] }> {
    return JSON.parse(JSON.stringify(await bed.home.k3sNodes()))[0];
  }

  async function identity(): Promise<string> {
    return (await bed.node.run(['cat', '/var/lib/zerotier-one/identity.public'])).slice(0, 10);
  }

  /** The disk in another instance of the cloud, which has nothing more to say than its name. */
  async function bootAs(instanceId: string, hostname: string): Promise<void> {
    const seed = '/var/lib/cloud/seed/nocloud';
    await bed.node.prepareFile(
      `${seed}/meta-data`,
      `instance-id: ${instanceId}\nlocal-hostname: ${hostname}\n`,
    );
    await bed.node.prepareFile(`${seed}/user-data`, '#cloud-config\n{}\n');
    await bed.node.boot();
    await bed.waitForReady();
  }

  async function isKnownAs(hostname: string): Promise<void> {
    assert.match(JSON.stringify(await bed.home.k3sNodes()), new RegExp(`"${hostname}"`));
  }

  /** Nothing of mooring's is in force. */
  async function isGone(): Promise<void> {
    for (const unit of ['mooring.service', 'mooring-ingress.service', 'k3s-node.service'])
      assert.equal(await bed.node.unitProperty(unit, 'ActiveState'), 'inactive', unit);
    const links = await bed.node.run(['ip', '-o', 'link']);
    assert.doesNotMatch(links, /: zt/);
    const asked = await bed.node.tryRun(['resolvectl', 'query', 'nas.home.example']);
    assert.notEqual(asked.exitCode, 0);
    const refused = await bed.client.tryRun(['curl', '-sS', '--max-time', '3', 'http://10.99.0.2/']);
    assert.match(refused.stderr, /refused|Couldn't connect/);
  }
});

/** A connection through port 80 that has had an answer and is kept open; `end` is how it ended: `closed`, or the error. */
async function holdConnection(bed: Bed): Promise<{ end: Promise<string> }> {
  const opened = join(bed.dir, 'drain-open');
  const script = `
import socket, sys
s = socket.create_connection(('10.99.0.2', 80), 5)
s.sendall(b'GET / HTTP/1.1\\r\\nHost: held\\r\\n\\r\\n')
assert s.recv(65536).startswith(b'HTTP/1.1 200')
open(sys.argv[1], 'w').close()
s.settimeout(60)
try: print('more' if s.recv(1) else 'closed')
except OSError as error: print(error)
`;
  const end = bed.client.tryRun(['python3', '-c', script, opened], 70_000);
  await waitFor('the connection to be open', async () => existsSync(opened), { timeoutMs: 10_000 });
  return { end: end.then(({ stdout, stderr }) => stdout || stderr) };
}
