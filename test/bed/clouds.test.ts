/**
 * A first boot at each cloud: one baked image, and each time another instance for cloud-init, with that cloud's firmware and
 * metadata service. The user data comes by NoCloud everywhere: in a container cloud-init reads no firmware and so finds no
 * other source. ZeroTier's identity stays, which saves the person at the console; what mooring and k3s have written goes.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type MetadataCloud, metadataClouds } from '../support/metadata/clouds.ts';
import { oracleId } from '../support/metadata/oracle.ts';
import { Bed } from './bed.ts';
import { bakedExample, renderExample } from './example.ts';
import { k3sStarts } from './lifelines.ts';
import { run, waitFor } from './process.ts';

const k3sConfig = '/etc/rancher/k3s/config.yaml.d/50-mooring.yaml';
const oraclesAddress = '198.51.100.7';

/** What the agent is to be given at each. */
const expected: Readonly<
  Record<MetadataCloud, { external: readonly string[]; labels: Readonly<Record<string, string>>; id: string }>
> = {
  aws: {
    external: ['203.0.113.17'],
    labels: { region: 'eu-central-1', zone: 'eu-central-1a', type: 't3.small', tier: 'edge' },
    id: 'aws:///eu-central-1a/i-0123456789abcdef0',
  },
  azure: {
    external: ['203.0.113.17'],
    labels: { region: 'westeurope', zone: 'westeurope-1', type: 'Standard_B2s', tier: 'edge' },
    id: 'azure:///subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/edge-rg/providers/Microsoft.Compute/virtualMachines/edge-1',
  },
  gcp: {
    external: ['203.0.113.17'],
    labels: { region: 'europe-west1', zone: 'europe-west1-b', type: 'e2-small', tier: 'edge' },
    id: 'gce://edge-project/europe-west1-b/edge-1',
  },
  digitalocean: {
    external: ['203.0.113.17', '2a03:b0c0:3:d0::17'],
    labels: { region: 'fra1', tier: 'edge' },
    id: 'digitalocean://2756294',
  },
  hetzner: {
    external: ['203.0.113.17', '2a01:4f8:c17:1::1'],
    labels: { region: 'fsn1', zone: 'fsn1-dc14' },
    id: 'hcloud://42000001',
  },
  oracle: {
    external: [oraclesAddress],
    labels: {
      region: 'eu-frankfurt-1',
      zone: 'EU-FRANKFURT-1-AD-1',
      type: 'VM.Standard.A1.Flex',
      tier: 'edge',
    },
    id: `oci://${oracleId}`,
  },
};

const labelNames: Readonly<Record<string, string>> = {
  region: 'topology.kubernetes.io/region',
  zone: 'topology.kubernetes.io/zone',
  type: 'node.kubernetes.io/instance-type',
  tier: 'tier',
};

const role = {
  accessKeyId: 'ASIAEXAMPLE',
  secretKey: 'the-secret-of-the-role',
  token: 'the-token-of-the-role',
};
const tags = { 'mooring-label-tier': 'edge', 'mooring-taint-dedicated': 'web:PreferNoSchedule', Name: 'x y' };
/** Azure's address is the load balancer's, AWS' tags are EC2's to tell. */
const changes = { tags, role, isBehindLoadBalancer: true };

describe('a first boot', () => {
  let bed: Bed;

  before(async () => {
    bed = await Bed.start({ boot: false, userData: false });
    await bed.node.prepareFile('/usr/local/bin/k3s', await readFile(bed.k3s), 0o755);
    await bed.node.bake([bed.deb, bed.zerotierDeb]);
    await bed.node.prepareFile(
      '/etc/systemd/system/mooring.service.d/60-ec2.conf',
      '[Service]\nEnvironment=AWS_ENDPOINT_URL_EC2=http://169.254.169.254:8080\n',
    );
  });
  after(async () => {
    await bed?.stop();
  });

  /** The image again, at another cloud, as another instance. */
  async function bootAt(cloud: MetadataCloud): Promise<void> {
    const isFirst = cloud === metadataClouds[0];
    if (!isFirst) await bed.node.powerOff();
    for (const path of [
      'var/lib/mooring',
      'etc/mooring/config.yaml',
      'etc/mooring/k3s-token',
      `.${k3sConfig}`,
    ])
      await run(['rm', '-rf', join(bed.node.rootDir, path)]);
    await bed.node.seed(`instance-at-${cloud}`, {
      hostname: `edge-${cloud}`,
      userData: await renderExample(bed.values, bakedExample),
    });
    const externalIp = cloud === 'oracle' ? oraclesAddress : 'auto';
    await bed.node.prepareFile(
      '/etc/mooring/config.d/50-test.yaml',
      `k3s: {restart: {settle: 1s}}\nnode: {externalIp: ${externalIp}, tags: {}}\n`,
    );
    await bed.moveTo(cloud, changes);
    await bed.node.boot();
    if (isFirst) await bed.authorise();
    await bed.waitForReady(60_000);
  }

  const ourNode = async (cloud: MetadataCloud) => {
    const nodes = await bed.home.k3sNodes();
    assert.ok(Array.isArray(nodes));
    const node: unknown = nodes.find((one) => one.name === `edge-${cloud}`);
    assert.ok(typeof node === 'object' && node !== null, JSON.stringify(nodes));
    return node;
  };

  for (const cloud of metadataClouds) {
    const { external, labels, id } = expected[cloud];
    test(`at ${cloud} ends in a node with its addresses, labels and id`, async () => {
      await bootAt(cloud);
      const done = await bed.node.waitForCloudInit(60_000);
      assert.match(done, /extended_status: done$/m);
      assert.equal(await bed.node.run('cat /var/lib/cloud/data/instance-id'), `instance-at-${cloud}`);

      const config = await bed.node.run(['cat', k3sConfig]);
      assert.match(config, new RegExp(`"provider-id=${id}"`));
      for (const address of external) assert.ok(config.includes(`"${address}"`), config);
      const given = [
        ...config.matchAll(/^ {2}- "((?:topology|node)\.kubernetes\.io\/[a-z-]+|tier)=([^"]*)"$/gm),
      ];
      const wanted = Object.entries(labels).map(([name, value]) => [labelNames[name] ?? name, value]);
      assert.deepEqual(given.map(([, name, value]) => [name, value]).sort(), wanted.sort());

      const node = JSON.parse(JSON.stringify(await ourNode(cloud)));
      assert.deepEqual([node.externalIPs, node.providerID], [external, id]);
      assert.deepEqual(node.taints, cloud === 'hetzner' ? [] : ['dedicated=web:PreferNoSchedule']);
      assert.deepEqual(await k3sStarts(bed), { start: 1 }, 'all of it was there at the first start');
      const told = (await bed.status())?.conditions.find(({ type }) => type === 'CloudFactsKnown');
      assert.equal(told?.reason, cloud === 'hetzner' ? 'TagsUnknown' : 'Known');
    });

    if (cloud === 'aws') {
      test("at aws leaves nothing of the role's credentials, nor the program that had them", async () => {
        const secrets = [role.secretKey, role.token];
        const left = await bed.node.tryRun([
          'grep',
          '-rlsF',
          ...secrets.flatMap((one) => ['-e', one]),
          '/run',
          '/var/lib',
          '/var/cache/mooring',
          '/etc',
          '/tmp',
        ]);
        assert.equal(left.stdout, '');
        const journal = await bed.node.journal({ lines: 5000 });
        const status = await bed.node.run('mooring status --json; curl -s http://127.0.0.1:9810/metrics');
        for (const secret of secrets) assert.equal((journal + status).includes(secret), false);
        assert.equal(await bed.node.run('pgrep -fc "[a]ws-tags" || true'), '0');
      });
    }

    if (cloud === 'gcp') {
      test('at gcp takes a new address within seconds, by the long poll, with one restart', async () => {
        await bed.cloud.change({ publicIpv4: '203.0.113.99' });
        await waitFor('the restart of the agent', async () => (await k3sStarts(bed))['config'] === 1, {
          timeoutMs: 30_000,
          context: () => bed.report(),
        });
        await bed.waitForReady(30_000);
        assert.match(JSON.stringify(await ourNode('gcp')), /"externalIPs":\["203\.0\.113\.99"\]/);
      });
    }
  }
});
