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

  test('leaves, and tells what is left for a person', async () => {
    const told = await bed.node.run(['mooring', 'leave'], { timeoutMs: 60_000 });
    assert.match(told, /^ {2}kubectl delete node node1$/m);
    assert.match(told, /node1\.node-password\.k3s/);
    assert.match(told, /authorisation given up/);
    await isGone();
    const [member] = await bed.home.zerotier.members();
    assert.equal(member?.authorized, false);
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
    await bed.node.run('systemctl enable mooring-ingress && systemctl enable --now mooring');
    await bed.waitForReady(60_000);
    const nodes = JSON.stringify(await bed.home.k3sNodes());
    assert.match(nodes, /"node1"/);
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
