/**
 * Somebody meddles. With ZeroTier's interface, and ZeroTier says OK for ever: mooring repairs that without help. With the
 * agent's unit, by systemctl: mooring respects that. With the route to another node's pods: mooring has k3s make it again where
 * the cluster still has that node. One moored node; the tests follow each other, and each leaves it moored.
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
k3s: {restart: {settle: 1s, budget: 100/10m}, probe: {calm: 2s, eager: 1s}, podNetwork: {grace: 1s, patience: 6s, refresh: 10s}}
`;
const zerotierUnit = 'zerotier-one.service';
const k3sUnit = 'k3s-node.service';
const noticeMs = 10_000;
/** Until a list of the cluster's nodes is asked for again. */
const toldMs = 15_000;
/** An interface is left alone for its first 15 s. */
const repairMs = 45_000;

describe('when somebody meddles with a moored node:', () => {
  let bed: Bed;
  /** Of a node of the cluster that has no machine. */
  let remotePods: string;

  before(async () => {
    bed = await Bed.start({ boot: false, hurry: 12 });
    await bed.node.prepareFile('/etc/mooring/config.d/50-test.yaml', quick);
    remotePods = await bed.home.addK3sPeer('edge-8');
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
      what: 'a route that was deleted is made again',
      meddle: (device: string) => ['ip', 'route', 'flush', 'dev', device, 'scope', 'link'],
      showsIt: async (device: string) =>
        (await bed.node.run(['ip', '-4', 'route', 'show', 'dev', device, 'scope', 'link'])) === '',
      reason: 'Agreed',
      remedy: /the route to the network of .* is gone; .*restarts zerotier-one\.service/,
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
      await waitFor(
        `LinkReady to be ${reason} with its remedy`,
        async () => remedy.test(await waitForReason(bed, 'LinkReady', reason, noticeMs)),
        { timeoutMs: noticeMs, everyMs: 200, context: () => bed.report() },
      );
      await waitFor(
        'the link to be ready again under another ifindex',
        async () => (await bed.status())?.ready === true && (await network()).ifindex !== ifindex,
        { timeoutMs: repairMs, everyMs: 250, context: () => bed.report() },
      );
      // Right after its start ZeroTier answers 404.
      await waitFor(
        'a setting of a person to be kept',
        async () => /"allowGlobal": *true/.test(await askZeroTier().catch(() => '')),
        { timeoutMs: 5_000, everyMs: 100 },
      );
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

  const podNetwork = async () =>
    (await bed.status())?.conditions.find(({ type }) => type === 'PodNetworkReady');
  const waitToBeTold = (what: RegExp) =>
    waitFor(`PodNetworkReady to say ${what}`, async () => what.test((await podNetwork())?.message ?? ''), {
      timeoutMs: toldMs,
      everyMs: 200,
      context: () => bed.report(),
    });
  const podRoutes = () => bed.node.run(['ip', 'route', 'show', 'dev', 'flannel.1']);
  const podNetworkRestarts = async () => (await k3sStarts(bed))['pod-network'] ?? 0;
  const deleteRoute = async (network: string) => {
    await bed.node.run(['ip', 'route', 'del', network, 'dev', 'flannel.1']);
    const left = await podRoutes();
    assert.ok(!left.includes(network), 'the kernel has lost the route');
    assert.ok(left.includes('10.42.0.0/24'), 'and kept another one');
  };

  test('each other node of the cluster is known, by the identity that k3s takes for it', async () => {
    await waitToBeTold(/each of 2 other nodes has its route/);
  });

  test('a route to one other node that was deleted is worth one restart of k3s', async () => {
    const before = await podNetworkRestarts();
    await deleteRoute(remotePods);
    const message = await waitForReason(bed, 'PodNetworkReady', 'RoutesMissing', toldMs);
    assert.ok(message.includes(`${remotePods} of node edge-8 through flannel.1`), message);
    await waitFor('the route to be back', async () => (await podRoutes()).includes(remotePods), {
      timeoutMs: toldMs,
      everyMs: 200,
      context: () => bed.report(),
    });
    await waitToBeTold(/each of 2 other nodes has its route/);
    await bed.waitForReady(toldMs);
    assert.equal(await podNetworkRestarts(), before + 1);
  });

  test('a node that leaves the cluster takes its route along, and nothing is restarted', async () => {
    const before = await k3sStarts(bed);
    await bed.home.deleteK3sNode('edge-8');
    await waitFor('flannel to take the route away', async () => !(await podRoutes()).includes(remotePods), {
      timeoutMs: toldMs,
      everyMs: 200,
    });
    await waitToBeTold(/each of 1 other nodes has its route/);
    assert.deepEqual(await k3sStarts(bed), before);
  });

  test('an API that refuses to tell the nodes is told of, and nothing is restarted', async () => {
    await bed.home.addK3sPeer('edge-9');
    await bed.home.k3sAccess('nobody');
    await waitToBeTold(
      /not checked for each node: the API at https:\/\/127\.0\.0\.1:6444 answers with status 403/,
    );
    await waitFor('flannel to make the new route', async () => (await podRoutes()).includes(remotePods), {
      timeoutMs: toldMs,
      everyMs: 200,
    });
    const before = await k3sStarts(bed);
    await deleteRoute(remotePods);
    // Longer than grace and patience together.
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    const condition = await podNetwork();
    assert.deepEqual([condition?.status, condition?.reason], ['true', 'Present']);
    assert.match(condition?.message ?? '', /with 1 routes .*status 403/);
    assert.deepEqual(await k3sStarts(bed), before);
  });
});
