/**
 * A node in surroundings of its own kind: a cloud that tells facts, an admin whose networkd owns the ZeroTier link, a
 * resolved that is taken away, a cloud that falls silent. One booted node; the tests follow each other.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Bed } from './bed.ts';
import { k3sStarts, lifelines } from './lifelines.ts';
import { waitFor } from './process.ts';
import { homeNetwork } from './zerotier.ts';

const k3sConfig = '/etc/rancher/k3s/config.yaml.d/50-mooring.yaml';
/** The server by its address: without resolved nobody could find its name. */
const dropIn = `k3s: {server: "https://${homeNetwork.home}:6443", restart: {settle: 1s}}
`;
const theBus = ['org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus'];
/** Sorts before mooring's own file, so that networkd takes the link, and leaves to ZeroTier what ZeroTier sets. */
const adminsNetwork = `[Match]
Name=zt*

[Network]
KeepConfiguration=yes
LinkLocalAddressing=no
IPv6AcceptRA=no
ConfigureWithoutCarrier=yes
`;

describe('on AWS, with networkd in charge of the link', () => {
  let bed: Bed;
  let device = '';

  before(async () => {
    bed = await Bed.start({ boot: false, cloud: 'aws' });
    await bed.node.prepareFile('/etc/mooring/config.d/50-test.yaml', dropIn);
    await bed.node.prepareFile('/etc/systemd/network/00-admin.network', adminsNetwork);
    await bed.node.boot();
    await bed.waitForCondition('NetworkAuthorized', 'false', 120_000);
    await bed.authorise();
    await bed.waitForReady();
    device = (await bed.status())?.networks[0]?.device ?? '';
  });
  after(async () => {
    await bed?.stop();
  });

  const condition = async (type: string) => (await bed.status())?.conditions.find((one) => one.type === type);

  test('the agent is given the external address and the labels of its place, by its first start', async () => {
    const config = await bed.node.run(['cat', k3sConfig]);
    assert.match(config, /"?node-external-ip"?:\s*(- )?"203\.0\.113\.17"/);
    assert.match(config, /"topology\.kubernetes\.io\/region=eu-central-1"/);
    assert.match(config, /"topology\.kubernetes\.io\/zone=eu-central-1a"/);
    assert.match(config, /"node\.kubernetes\.io\/instance-type=t3\.small"/);
    assert.match(config, /"provider-id=aws:\/\/\/eu-central-1a\/i-0123456789abcdef0"/);
    assert.match(JSON.stringify(await bed.home.k3sNodes()), /"externalIPs": ?\["203\.0\.113\.17"\]/);
    assert.deepEqual(await k3sStarts(bed), { start: 1 });
    assert.match(await bed.node.run(['mooring', 'status']), /^cloud .*eu-central-1a/m);
  });

  test("the link's DNS is set through networkd, which owns it", async () => {
    const shown = await bed.node.run(['networkctl', 'status', device]);
    assert.match(shown, /Network File: \/etc\/systemd\/network\/00-admin\.network/);
    const resolve1 = [
      'org.freedesktop.resolve1',
      '/org/freedesktop/resolve1',
      'org.freedesktop.resolve1.Manager',
    ];
    const ifindex = String((await bed.status())?.networks[0]?.ifindex);
    const asked = await bed.node.tryRun([
      'busctl',
      'call',
      ...resolve1,
      'SetLinkDefaultRoute',
      'ib',
      ifindex,
      'false',
    ]);
    assert.match(asked.stderr, /is managed/, 'resolved itself refuses');
    const servers = await bed.node.run(['resolvectl', 'dns', device]);
    assert.match(servers, new RegExp(`: ${homeNetwork.home}$`));
    const name = await bed.node.run(['resolvectl', 'query', '--cache=no', 'nas.home.example']);
    assert.match(name, new RegExp(`10\\.45\\.0\\.20 +-- link: ${device}`));
    assert.equal((await condition('DnsConfigured'))?.status, 'true');
  });

  test('and set again on the new interface after a restart of zerotier-one', async () => {
    const ifindex = (await bed.status())?.networks[0]?.ifindex;
    await bed.restartZeroTier();
    await waitFor(
      'a new ifindex',
      async () => ![undefined, ifindex].includes((await bed.status())?.networks[0]?.ifindex),
      {
        timeoutMs: 30_000,
      },
    );
    await waitFor(
      'DNS on the new interface',
      async () => (await bed.node.run(['resolvectl', 'dns', device])).endsWith(`: ${homeNetwork.home}`),
      { timeoutMs: 30_000, context: () => bed.report() },
    );
    await waitFor('the restart of the agent', async () => (await k3sStarts(bed))['ifindex'] === 1, {
      timeoutMs: 60_000,
    });
    await bed.waitForReady(60_000);
  });

  test('and also after a restart of the D-Bus daemon, to which neither resolved nor networkd returns', async () => {
    const hasName = async (name: string) => {
      const ask = ['busctl', 'call', ...theBus, 'NameHasOwner', 's', name];
      return (await bed.node.run(ask)) === 'b true';
    };
    await bed.node.run(['systemctl', 'restart', 'dbus.service']);
    assert.equal(await hasName('org.freedesktop.resolve1'), false, 'resolved has lost the bus');
    assert.equal(await hasName('org.freedesktop.network1'), false, 'networkd has lost the bus');
    await waitFor('resolved on the bus', () => hasName('org.freedesktop.resolve1'), {
      timeoutMs: 15_000,
      context: () => bed.report(),
    });
    await bed.waitForReady(30_000);
    const { ifindex = 1 } = await k3sStarts(bed);
    const networkd = await bed.node.unitProperty('systemd-networkd.service', 'MainPID');
    const former = (await bed.status())?.networks[0]?.ifindex;
    await bed.restartZeroTier();
    await waitFor(
      'DNS on the new interface',
      async () => {
        const shown = await bed.node.run(['resolvectl', 'dns', device]);
        return shown.endsWith(`: ${homeNetwork.home}`) && !shown.startsWith(`Link ${former} `);
      },
      { timeoutMs: 30_000, context: () => bed.report() },
    );
    assert.notEqual(await bed.node.unitProperty('systemd-networkd.service', 'MainPID'), networkd);
    await waitFor('the restart of the agent', async () => (await k3sStarts(bed))['ifindex'] === ifindex + 1, {
      timeoutMs: 60_000,
    });
    await bed.waitForReady(60_000);
  });

  test('without resolved the node says what to do, and keeps its agent and its doors', async () => {
    const former = await lifelines(bed);
    await bed.node.run(['systemctl', 'mask', '--runtime', '--now', 'systemd-resolved.service']);
    await waitFor('DnsConfigured=false', async () => (await condition('DnsConfigured'))?.status === 'false', {
      timeoutMs: 30_000,
      context: () => bed.report(),
    });
    const missing = await condition('DnsConfigured');
    assert.equal(missing?.reason, 'ResolvedMissing');
    assert.match(missing?.message ?? '', /unmask/);
    assert.equal((await condition('K3sRunning'))?.status, 'true');
    assert.equal((await condition('IngressRunning'))?.status, 'true');
    assert.deepEqual(await lifelines(bed), former);
  });

  test('even an agent that has to be restarted is, without resolved', async () => {
    const { ifindex = 1 } = await k3sStarts(bed);
    await bed.restartZeroTier();
    await waitFor('the restart of the agent', async () => (await k3sStarts(bed))['ifindex'] === ifindex + 1, {
      timeoutMs: 60_000,
      context: () => bed.report(),
    });
    await bed.waitForCondition('K3sRunning', 'true', 30_000);
    assert.equal((await condition('DnsConfigured'))?.reason, 'ResolvedMissing');
    assert.equal((await bed.client.http(80)).status, 200);
  });

  test('resolved back, its link has its DNS without help', async () => {
    await bed.node.run(
      'systemctl unmask --runtime systemd-resolved.service && systemctl start systemd-resolved.service',
    );
    await bed.waitForReady(60_000);
    assert.match(
      await bed.node.run(['resolvectl', 'query', '--cache=no', 'nas.home.example']),
      /10\.45\.0\.20/,
    );
  });

  test('booted while the cloud tells nothing, it moors all the same', async () => {
    await bed.cloud.stop();
    await bed.node.run(['rm', '/var/lib/mooring/cloud.json']);
    await bed.node.reboot();
    await bed.waitForReady(120_000);
    assert.equal((await condition('CloudFactsKnown'))?.status, 'false');
    assert.doesNotMatch(await bed.node.run(['cat', k3sConfig]), /node-external-ip|topology/);
    assert.deepEqual(await k3sStarts(bed), { start: 1 });
  });

  test('what the cloud tells later is given to the agent with one restart', async () => {
    const former = await lifelines(bed);
    await bed.cloud.start('aws', { publicIpv4: '203.0.113.99' });
    await bed.waitForCondition('CloudFactsKnown', 'true', 90_000);
    await waitFor('the restart of the agent', async () => (await k3sStarts(bed))['config'] === 1, {
      timeoutMs: 30_000,
    });
    await bed.waitForReady(30_000);
    assert.match(JSON.stringify(await bed.home.k3sNodes()), /"externalIPs": ?\["203\.0\.113\.99"\]/);
    const now = await lifelines(bed);
    assert.notEqual(now.k3s.run, former.k3s.run);
    assert.deepEqual({ ...now, k3s: {} }, { ...former, k3s: {} });
    assert.deepEqual(await k3sStarts(bed), { start: 1, config: 1 });
  });
});
