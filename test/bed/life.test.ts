/**
 * What happens to a node in the course of its life: refused and let in, restarts of what it stands on, another address,
 * home away. One booted node; the tests follow each other, and each leaves it moored.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { Bed } from './bed.ts';
import { k3sStarts, type Lifelines, lifelines } from './lifelines.ts';
import { waitFor } from './process.ts';
import type { StatusDocument } from './status.ts';
import { homeNetwork } from './zerotier.ts';

/** ZeroTier members notice within a minute that they were refused; mooring polls and passes within 20 s. */
const noticeMs = 100_000;
const k3sConfig = '/etc/rancher/k3s/config.yaml.d/50-mooring.yaml';
const dropIn = '/etc/mooring/config.d/50-test.yaml';
/** Any pause counts as short; the test of the long one changes that. The budget is tested elsewhere. */
const patient = 'k3s: {restart: {outage: 30m, settle: 1s, spread: 0s, budget: 100/10m}}\n';
const settleMs = 1_000;

describe('in the life of a node', () => {
  let bed: Bed;

  before(async () => {
    bed = await Bed.start({ boot: false, hurry: 12 });
    await bed.node.prepareFile(dropIn, patient);
    await bed.node.boot();
  });
  after(async () => {
    await bed?.stop();
  });

  const status = async (): Promise<StatusDocument> => {
    const document = await bed.status();
    assert.ok(document !== undefined, 'mooring answers');
    return document;
  };
  const condition = async (type: string) => {
    const found = (await status()).conditions.find((one) => one.type === type);
    assert.ok(found !== undefined, `there is a condition ${type}`);
    return found;
  };
  const waitForReason = (type: string, reason: string, timeoutMs: number) =>
    waitFor(`${type} to be ${reason}`, async () => (await condition(type)).reason === reason, {
      timeoutMs,
      context: () => bed.report(),
    });
  const network = async () => {
    const [first] = (await status()).networks;
    assert.ok(first !== undefined);
    return first;
  };
  const nodeNowMs = async () => Number(await bed.node.run(['date', '+%s%3N']));
  /** Waits until mooring has looked at everything again after now. */
  const lookedAgain = async () => {
    const sinceMs = await nodeNowMs();
    await bed.node.run(['systemctl', 'reload', 'mooring.service']);
    await waitFor('another pass', async () => Date.parse((await status()).time) > sinceMs, {
      timeoutMs: 30_000,
    });
  };
  /** Waits until a link that changed no later than now has settled, and mooring has done what follows from it. */
  const settled = async () => {
    const changedMs = await nodeNowMs();
    await bed.waitForReady(60_000);
    await waitFor('the link to settle', async () => (await nodeNowMs()) > changedMs + settleMs, {
      timeoutMs: 10_000,
    });
    await lookedAgain();
    await bed.waitForReady(60_000);
    // A restart that was asked for in that look shows at the latest in the next one.
    await lookedAgain();
    await bed.waitForReady(60_000);
  };
  const servers = async (device: string) => bed.node.run(['resolvectl', 'dns', device]);

  test('a node that is refused says what to do, opens its doors, and starts no agent', async () => {
    await waitForReason('NetworkAuthorized', 'AccessDenied', 120_000);
    const member = await bed.nodeMember();
    const denied = await condition('NetworkAuthorized');
    assert.equal(denied.status, 'false');
    assert.match(denied.message, new RegExp(`authorise member ${member}`));
    const shown = await bed.node.tryRun(['mooring', 'status']);
    assert.equal(shown.exitCode, 1);
    assert.match(shown.stdout, new RegExp(`Not moored \\(NetworkAuthorized\\).*${member}`));
    assert.equal((await bed.node.tryRun(['mooring', 'wait', '--timeout', '1s'])).exitCode, 1);
    await bed.waitForCondition('IngressRunning', 'true', 30_000);
    assert.equal(await bed.node.unitProperty('k3s-node.service', 'ActiveState'), 'inactive');
    assert.equal(await bed.node.unitProperty('mooring.service', 'ActiveState'), 'active');
    await bed.node.run(['systemctl', 'start', '--no-block', 'mooring-online.target']);
    assert.equal(await bed.node.unitProperty('mooring-wait.service', 'ActiveState'), 'activating');
  });

  test('authorised, it moors without help, and what waits for it goes on', async () => {
    await bed.authorise();
    await bed.waitForReady(noticeMs);
    assert.deepEqual(await k3sStarts(bed), { start: 1 });
    await waitFor(
      'mooring-online.target',
      async () => (await bed.node.unitProperty('mooring-online.target', 'ActiveState')) === 'active',
      { timeoutMs: 10_000 },
    );
    await settled();
  });

  describe('once it is moored', () => {
    let former: Lifelines;
    let starts: Readonly<Record<string, number>>;
    const snapshot = async () => {
      former = await lifelines(bed);
      starts = await k3sStarts(bed);
    };
    /** The agent was restarted once, for this reason; the pod and nginx' master live on. Returns who lives now. */
    const agentRestartedOnce = async (reason: string) => {
      await settled();
      const now = await lifelines(bed);
      assert.deepEqual(await k3sStarts(bed), { ...starts, [reason]: (starts[reason] ?? 0) + 1 });
      assert.notEqual(now.k3s.run, former.k3s.run);
      assert.deepEqual(
        [now.pod, now.nginx.pid, now.nginx.run],
        [former.pod, former.nginx.pid, former.nginx.run],
      );
      return now;
    };
    /** As agentRestartedOnce, and the doors never noticed. */
    const restartedOnce = async (reason: string) => {
      const now = await agentRestartedOnce(reason);
      assert.deepEqual(now.nginx, former.nginx);
    };
    const nothingRestarted = async () => {
      await settled();
      assert.deepEqual(await lifelines(bed), former);
      assert.deepEqual(await k3sStarts(bed), starts);
    };

    before(snapshot);
    afterEach(async () => {
      await bed.home.k3sMode('ok');
      await bed.waitForReady(30_000);
      await snapshot();
    });

    test('refused again, it says so and stops nothing; let in again soon, it restarts nothing', async () => {
      await bed.deauthorise();
      await waitForReason('NetworkAuthorized', 'AccessDenied', noticeMs);
      assert.match((await condition('NetworkAuthorized')).message, new RegExp(await bed.nodeMember()));
      assert.equal((await condition('LinkReady')).status, 'false');
      await lookedAgain();
      assert.deepEqual(await lifelines(bed), former);
      await bed.authorise();
      await bed.waitForReady(noticeMs);
      await nothingRestarted();
    });

    test('refused for longer than an outage may last, it restarts the agent once', async () => {
      await bed.node.writeFile(dropIn, patient.replace('30m', '1s'));
      await lookedAgain();
      const { outages } = await network();
      await bed.deauthorise();
      await waitForReason('NetworkAuthorized', 'AccessDenied', noticeMs);
      const lostMs = Date.parse((await condition('LinkReady')).since);
      await waitFor('the outage to be long enough', async () => (await nodeNowMs()) > lostMs + 2_000, {
        timeoutMs: 10_000,
      });
      assert.deepEqual(await lifelines(bed), former);
      await bed.authorise();
      await bed.waitForReady(noticeMs);
      await restartedOnce('outage');
      assert.equal((await network()).outages, outages + 1);
      await bed.node.writeFile(dropIn, patient);
      await lookedAgain();
    });

    test('a short loss of the carrier restarts nothing', async () => {
      const { device, ifindex, flaps } = await network();
      await bed.node.run(['ip', 'link', 'set', device, 'down']);
      await waitForReason('LinkReady', 'InterfaceDown', 10_000);
      await bed.node.run(['ip', 'link', 'set', device, 'up']);
      await bed.waitForReady(30_000);
      await nothingRestarted();
      const now = await network();
      assert.deepEqual([now.ifindex, now.flaps], [ifindex, flaps + 1]);
      assert.match(
        await bed.node.run(['resolvectl', 'query', '--cache=no', 'nas.home.example']),
        /10\.45\.0\.20/,
      );
    });

    test('zerotier-one restarted: DNS on the new interface, the agent restarted once', async () => {
      const { device, ifindex } = await network();
      await bed.restartZeroTier();
      await waitFor('a new ifindex', async () => ![undefined, ifindex].includes((await network()).ifindex), {
        timeoutMs: 30_000,
      });
      await bed.waitForReady(noticeMs);
      await restartedOnce('ifindex');
      const now = await network();
      assert.equal(now.device, device);
      assert.equal(await bed.node.run(['cat', `/sys/class/net/${device}/ifindex`]), String(now.ifindex));
      assert.match(await servers(device), new RegExp(`^Link ${now.ifindex} .*: ${homeNetwork.home}$`));
      assert.match(
        await bed.node.run(['resolvectl', 'query', '--cache=no', 'nas.home.example']),
        /10\.45\.0\.20/,
      );
      // The kernel deleted it together with the former interface.
      assert.match(
        await bed.node.run(['ip', '-d', '-o', 'link', 'show', 'flannel.1']),
        new RegExp(` dev ${device} `),
      );
    });

    test('another address: config, health server, doors and agent follow, with one restart', async () => {
      const address = '10.45.0.18';
      assert.match(await bed.node.run(['cat', k3sConfig]), /10\.45\.0\.17/);
      await bed.setAddress(address);
      await waitFor(
        'the new address',
        async () => (await network()).addresses.some((one) => one.startsWith(`${address}/`)),
        {
          timeoutMs: noticeMs,
        },
      );
      await bed.waitForReady(noticeMs);
      await agentRestartedOnce('address');
      const doors = await bed.node.run(['cat', '/var/lib/mooring/nginx/nginx.conf']);
      assert.match(doors, /listen 10\.45\.0\.18:80;/, 'nginx turns away who comes by the new address');
      const config = await bed.node.run(['cat', k3sConfig]);
      assert.match(config, /10\.45\.0\.18/);
      assert.doesNotMatch(config, /10\.45\.0\.17/);
      const listening = await bed.node.run("ss -Hltn 'sport = 9810'");
      assert.match(listening, /10\.45\.0\.18:9810/);
      assert.doesNotMatch(listening, /10\.45\.0\.17:9810/);
      assert.equal(
        await bed.home.run(['curl', '-sSf', '--max-time', '5', `http://${address}:9810/readyz`]),
        'ready',
      );
      assert.match(JSON.stringify(await bed.home.k3sNodes()), /"internalIPs": ?\["10\.45\.0\.18"\]/);
    });

    test("flannel's device deleted: the agent is restarted once, and its pods stay", async () => {
      await bed.node.run(['ip', 'link', 'del', 'flannel.1']);
      assert.notEqual((await bed.node.tryRun(['ip', 'link', 'show', 'flannel.1'])).exitCode, 0);
      await waitForReason('PodNetworkReady', 'DeviceMissing', 25_000);
      await waitForReason('PodNetworkReady', 'Present', 75_000);
      await bed.waitForReady(30_000);
      assert.deepEqual(await k3sStarts(bed), { ...starts, 'pod-network': 1 });
      const now = await lifelines(bed);
      assert.notEqual(now.k3s.run, former.k3s.run);
      assert.deepEqual([now.pod, now.nginx], [former.pod, former.nginx]);
      assert.match(await bed.node.run(['ip', 'route', 'show', 'dev', 'flannel.1']), /10\.42\.0\.0\/24/);
    });

    test('the k3s server away: nothing is restarted, and an agent that waits for it is left to wait', async () => {
      await bed.home.k3sMode('refuse');
      const ping = ['curl', '-sSk', '--max-time', '3', 'https://k3s.home.example:6443/ping'];
      assert.match((await bed.node.tryRun(ping)).stderr, /refused|Couldn't connect|Could not connect/);
      await lookedAgain();
      assert.deepEqual(await lifelines(bed), former);
      assert.deepEqual(await k3sStarts(bed), starts);

      await bed.node.run(['systemctl', 'restart', '--no-block', 'k3s-node.service']);
      await waitForReason('K3sRunning', 'Joining', 30_000);
      const waiting = await bed.node.unitProperty('k3s-node.service', 'InvocationID');
      await lookedAgain();
      await lookedAgain();
      assert.equal(await bed.node.unitProperty('k3s-node.service', 'ActiveState'), 'activating');
      assert.match(
        (await condition('K3sRunning')).message,
        /has not joined https:\/\/k3s\.home\.example:6443/,
      );
      await bed.home.k3sMode('ok');
      await bed.waitForReady(60_000);
      assert.equal(await bed.node.unitProperty('k3s-node.service', 'InvocationID'), waiting);
      assert.deepEqual(await k3sStarts(bed), starts);
    });

    test('systemd-resolved restarted: its link has its DNS again', async () => {
      const { device } = await network();
      const pid = await bed.node.unitProperty('systemd-resolved.service', 'MainPID');
      await bed.node.run(
        'rm -rf /run/systemd/resolve/netif; systemctl kill -s KILL systemd-resolved.service',
      );
      await waitFor(
        'another resolved',
        async () => !['0', pid].includes(await bed.node.unitProperty('systemd-resolved.service', 'MainPID')),
        {
          timeoutMs: 20_000,
        },
      );
      await waitFor(
        'the DNS of the link',
        async () => (await servers(device)).endsWith(`: ${homeNetwork.home}`),
        { timeoutMs: 20_000 },
      );
      await bed.waitForReady(30_000);
      await nothingRestarted();
    });

    test('the D-Bus daemon restarted: mooring and resolved are back on it, and changes are seen', async () => {
      const connections = async () => {
        const metrics = await bed.node.run(['curl', '-sSf', 'http://127.0.0.1:9810/metrics']);
        return Number(/^mooring_dbus_connections_total (\d+)$/m.exec(metrics)?.[1]);
      };
      const before = await connections();
      await bed.node.run(['systemctl', 'restart', 'dbus.service']);
      await waitFor('another connection', async () => (await connections()) > before, { timeoutMs: 30_000 });
      await bed.waitForReady(60_000);
      await nothingRestarted();
      const { device, ifindex } = await network();
      assert.match(await servers(device), new RegExp(`^Link ${ifindex} .*: ${homeNetwork.home}$`));
      await bed.node.run(['resolvectl', 'revert', device]);
      await waitFor(
        'the DNS to be put back at once',
        async () => (await servers(device)).endsWith(`: ${homeNetwork.home}`),
        {
          timeoutMs: 5_000,
        },
      );
      await bed.node.run(['systemctl', 'stop', 'mooring-ingress.service']);
      await waitFor(
        'the door to be opened again at once',
        async () => (await bed.node.unitProperty('mooring-ingress.service', 'ActiveState')) === 'active',
        {
          timeoutMs: 8_000,
        },
      );
      await bed.waitForReady(30_000);
    });
  });
});
