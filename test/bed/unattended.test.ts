/**
 * A node with nobody at a console: it authorises itself, respects whoever shuts it out, leaves, and comes back. One booted node;
 * the tests follow each other.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { metric, waitForReason } from './ask.ts';
import { Bed } from './bed.ts';
import { waitFor } from './process.ts';
import { homeNetwork } from './zerotier.ts';

const asked = (action: string) =>
  `mooring_actions_total{stage="zerotier",action="controller.${action}",result="ok"}`;

describe('a node that nobody authorises by hand', () => {
  let bed: Bed;

  before(async () => {
    bed = await Bed.start({ authorizesItself: true, hurry: 12 });
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
  });

  test('waits for a person when somebody shuts it out, and asks nobody meanwhile', async () => {
    const before = (await metric(bed, asked('look'))) + (await metric(bed, asked('authorize')));
    await bed.deauthorise();
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
