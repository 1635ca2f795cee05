/**
 * A node with nobody at a console: it authorises itself, and respects whoever shuts it out. One booted node; the tests follow
 * each other.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { metric, waitForReason } from './ask.ts';
import { Bed } from './bed.ts';
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
});
