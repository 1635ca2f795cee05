/**
 * Somebody meddles. With ZeroTier's interface, and ZeroTier says OK for ever: mooring repairs that without help. With the
 * agent's unit, by systemctl: mooring respects that. One moored node; the tests follow each other, and each leaves it moored.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { metric, reload, waitForReason } from './ask.ts';
import { Bed } from './bed.ts';
import { k3sStarts } from './lifelines.ts';
import { waitFor } from './process.ts';
import type { StatusDocument } from './status.ts';
import { homeNetwork } from './zerotier.ts';

/** The waits are short here; what they are for is tested in the simulation. */
const quick = `zerotier: {repair: {patience: 2s, pause: 5s}}
k3s: {restart: {settle: 1s, budget: 100/10m}, probe: {calm: 2s, eager: 1s}}
`;
const zerotierUnit = 'zerotier-one.service';
const k3sUnit = 'k3s-node.service';
const noticeMs = 10_000;
/** An interface is left alone for its first 15 s. */
const repairMs = 45_000;

describe('when somebody meddles with a moored node:', () => {
  let bed: Bed;

  before(async () => {
    bed = await Bed.start({ boot: false, hurry: 12 });
    await bed.node.prepareFile('/etc/mooring/config.d/50-test.yaml', quick);
    await bed.node.boot();
    await bed.authorise();
    await bed.waitForReady();
    await askZeroTier(`--data '{"allowGlobal":true}'`);
  });
  after(async () => {
    await bed?.stop();
  });

  const network = async (): Promise<StatusDocument['networks'][number]> => {
    const [first] = (await bed.status())?.networks ?? [];
    assert.ok(first !== undefined, 'mooring answers');
    return first;
  };
  /** As zerotier-one itself tells it. */
  const askZeroTier = (what = ''): Promise<string> =>
    bed.node.run([
      'sh',
      '-c',
      `curl -sSf --max-time 5 ${what} -H "X-ZT1-Auth: $(cat /var/lib/zerotier-one/authtoken.secret)" http://127.0.0.1:9993/network/${bed.networkId}`,
    ]);
  const repairs = async () => ({
    restarts: await metric(bed, `mooring_unit_restarts_total{unit="${zerotierUnit}",reason="repair"}`),
    rejoins: await metric(bed, 'mooring_actions_total{stage="link",action="zerotier.rejoin",result="ok"}'),
  });
  const zerotierPid = () => bed.node.unitProperty(zerotierUnit, 'MainPID');

  for (const { what, meddle, showsIt, reason, remedy, rejoins, restarts } of [
    {
      what: 'an interface that was deleted is made again',
      meddle: (device: string) => ['ip', 'link', 'del', device],
      showsIt: async (device: string) =>
        (await bed.node.tryRun(['ip', 'link', 'show', device])).exitCode !== 0,
      reason: 'InterfaceMissing',
      remedy: /mooring leaves and joins the network/,
      rejoins: 1,
      restarts: 0,
    },
    {
      what: 'an address that was deleted is put back',
      meddle: (device: string) => ['ip', 'addr', 'del', `${homeNetwork.node}/24`, 'dev', device],
      showsIt: async (device: string) =>
        !(await bed.node.run(['ip', '-4', 'addr', 'show', device])).includes(homeNetwork.node),
      reason: 'AddressMissing',
      remedy: /mooring restarts zerotier-one\.service/,
      rejoins: 0,
      restarts: 1,
    },
    {
      what: 'an interface that was set down is up again',
      meddle: (device: string) => ['ip', 'link', 'set', device, 'down'],
      showsIt: async (device: string) =>
        !/[<,]UP[,>]/.test(await bed.node.run(['ip', 'link', 'show', device])),
      reason: 'InterfaceDown',
      remedy: /mooring restarts zerotier-one\.service/,
      rejoins: 0,
      restarts: 1,
    },
  ]) {
    test(what, async () => {
      const { device, ifindex } = await network();
      const before = { repairs: await repairs(), pid: await zerotierPid(), k3s: await k3sStarts(bed) };
      await bed.node.run(meddle(device));
      assert.ok(await showsIt(device), 'the kernel shows the fault');
      assert.match(await askZeroTier(), /"status": *"OK"/);
      assert.match(await waitForReason(bed, 'LinkReady', reason, noticeMs), remedy);
      await waitFor(
        'the link to be ready again under another ifindex',
        async () => (await bed.status())?.ready === true && (await network()).ifindex !== ifindex,
        { timeoutMs: repairMs, everyMs: 250, context: () => bed.report() },
      );
      assert.match(await askZeroTier(), /"allowGlobal": *true/, 'a setting of a person is kept');
      assert.deepEqual(await repairs(), {
        restarts: before.repairs.restarts + restarts,
        rejoins: before.repairs.rejoins + rejoins,
      });
      assert.equal((await zerotierPid()) === before.pid, restarts === 0);
      const k3s = await k3sStarts(bed);
      assert.equal(k3s['ifindex'] ?? 0, (before.k3s['ifindex'] ?? 0) + 1, JSON.stringify(k3s));
    });
  }

  for (const { how, giveBack, reason } of [
    { how: ['disable', '--now'], giveBack: 'enable', reason: 'UnitDisabled' },
    { how: ['mask', '--now'], giveBack: 'unmask', reason: 'UnitMasked' },
  ]) {
    test(`a k3s-node.service that a person ${how[0]}s is left alone until it is given back`, async () => {
      const before = await k3sStarts(bed);
      await bed.node.run(['systemctl', ...how, k3sUnit]);
      assert.equal(await bed.node.unitProperty(k3sUnit, 'ActiveState'), 'inactive');
      const message = await waitForReason(bed, 'K3sRunning', reason, noticeMs);
      assert.match(message, new RegExp(`systemctl ${giveBack} ${k3sUnit}`));
      await reload(bed);
      await reload(bed);
      assert.equal(await bed.node.unitProperty(k3sUnit, 'ActiveState'), 'inactive');
      assert.deepEqual(await k3sStarts(bed), before, 'mooring asked for no start');
      await bed.node.run(['systemctl', giveBack, k3sUnit]);
      await bed.waitForReady(30_000);
      assert.deepEqual(await k3sStarts(bed), { ...before, start: (before['start'] ?? 0) + 1 });
    });
  }
});
