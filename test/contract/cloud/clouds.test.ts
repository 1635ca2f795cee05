/** One table of scenarios for all clouds: the watch against stand-ins that answer as each one's documentation says, and go wrong. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import type { CloudFacts } from '../../../src/systems/cloud/types.ts';
import { answerWith, inTurn, misbehaviours, startBadHttpServer } from '../../support/bad-http-server.ts';
import { serving } from '../../support/metadata/behaviour.ts';
import { createMetadataService, type MetadataCloud } from '../../support/metadata/clouds.ts';
import { oracleId } from '../../support/metadata/oracle.ts';
import type { MetadataAnswer } from '../../support/metadata/service.ts';
import { createRig } from './rig.ts';

const bounded = { timeout: 15_000 };

interface Scenario {
  /** What the default instance is known by. */
  readonly facts: Omit<CloudFacts, 'provider' | 'tags'>;
  readonly dmi: Readonly<Record<string, string>>;
  /** The answer to a question without the demanded header; undefined where none is demanded. */
  readonly refusal: { readonly path: string; readonly status: number } | undefined;
  /** Whether tags are in the metadata. */
  readonly tells: { readonly tags: boolean; readonly publicIpv4: boolean };
  /** Words of the answers that a hostile service could put in the place of these, and the field that then is none. */
  readonly hostile: readonly (readonly [genuine: string, hostile: string, field: string])[];
}

const scenarios: Readonly<Record<MetadataCloud, Scenario>> = {
  aws: {
    facts: {
      instanceId: 'i-0123456789abcdef0',
      instanceType: 't3.small',
      region: 'eu-central-1',
      zone: 'eu-central-1a',
      publicIpv4: '203.0.113.17',
      publicIpv6: undefined,
      providerId: 'aws:///eu-central-1a/i-0123456789abcdef0',
    },
    dmi: { sys_vendor: 'Amazon EC2', board_asset_tag: 'i-0123456789abcdef0' },
    refusal: { path: '/latest/meta-data/instance-id', status: 401 },
    tells: { tags: true, publicIpv4: true },
    hostile: [
      ['i-0123456789abcdef0', 'i-1"\nkubelet-arg: evil', 'instanceId'],
      ['t3.small', '{{ evil }}', 'instanceType'],
      ['203.0.113.17', '203.0.113.17\n203.0.113.18', 'publicIpv4'],
      ['203.0.113.17', '2001:db8::1', 'publicIpv4'],
    ],
  },
  azure: {
    facts: {
      instanceId: '02aab8a4-74ef-476e-8182-f6d2ba4166a6',
      instanceType: 'Standard_B2s',
      region: 'westeurope',
      zone: 'westeurope-1',
      publicIpv4: '203.0.113.17',
      publicIpv6: undefined,
      providerId:
        'azure:///subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/edge-rg/providers/Microsoft.Compute/virtualMachines/edge-1',
    },
    dmi: { sys_vendor: 'Microsoft Corporation', chassis_asset_tag: '7783-7084-3265-9085-8269-3286-77' },
    refusal: { path: '/metadata/instance?api-version=2021-02-01', status: 400 },
    tells: { tags: true, publicIpv4: true },
    hostile: [
      ['02aab8a4-74ef-476e-8182-f6d2ba4166a6', 'a b', 'instanceId'],
      ['Standard_B2s', 'x'.repeat(64), 'instanceType'],
      ['resourceGroups/Edge-RG', 'resourceGroups/\\u000a evil', 'providerId'],
      ['203.0.113.17', 'evil.example', 'publicIpv4'],
    ],
  },
  gcp: {
    facts: {
      instanceId: '5678901234567890123',
      instanceType: 'e2-small',
      region: 'europe-west1',
      zone: 'europe-west1-b',
      publicIpv4: '203.0.113.17',
      publicIpv6: undefined,
      providerId: 'gce://edge-project/europe-west1-b/edge-1',
    },
    dmi: { sys_vendor: 'Google', product_name: 'Google Compute Engine' },
    refusal: { path: '/computeMetadata/v1/instance/id', status: 403 },
    tells: { tags: true, publicIpv4: true },
    hostile: [
      ['europe-west1-b', 'europe-west1-b\nevil: 1', 'zone'],
      ['edge-project', 'edge project', 'providerId'],
      ['203.0.113.17', '203.0.113.1700', 'publicIpv4'],
    ],
  },
  digitalocean: {
    facts: {
      instanceId: '2756294',
      instanceType: undefined,
      region: 'fra1',
      zone: undefined,
      publicIpv4: '203.0.113.17',
      publicIpv6: '2a03:b0c0:3:d0::17',
      providerId: 'digitalocean://2756294',
    },
    dmi: { sys_vendor: 'DigitalOcean', product_serial: '2756294' },
    refusal: undefined,
    tells: { tags: true, publicIpv4: true },
    hostile: [
      ['2756294', '"../../etc"', 'instanceId'],
      ['fra1', 'fra1, evil=1', 'region'],
      ['203.0.113.17', '203.0.113.17/24', 'publicIpv4'],
    ],
  },
  hetzner: {
    facts: {
      instanceId: '42000001',
      instanceType: undefined,
      region: 'fsn1',
      zone: 'fsn1-dc14',
      publicIpv4: '203.0.113.17',
      publicIpv6: '2a01:4f8:c17:1::1',
      providerId: 'hcloud://42000001',
    },
    dmi: { sys_vendor: 'Hetzner', product_serial: '42000001' },
    refusal: undefined,
    tells: { tags: false, publicIpv4: true },
    hostile: [
      ['42000001', '[1, 2]', 'instanceId'],
      ['fsn1-dc14', '"fsn1 dc14"', 'zone'],
      ['203.0.113.17', '"::ffff:203.0.113.17"', 'publicIpv4'],
    ],
  },
  oracle: {
    facts: {
      instanceId: oracleId,
      instanceType: 'VM.Standard.A1.Flex',
      region: 'eu-frankfurt-1',
      zone: 'EU-FRANKFURT-1-AD-1',
      publicIpv4: undefined,
      publicIpv6: '2603:c020:8005:1::17',
      providerId: `oci://${oracleId}`,
    },
    dmi: { sys_vendor: 'QEMU', chassis_asset_tag: 'OracleCloud.com' },
    refusal: { path: '/opc/v2/instance/', status: 401 },
    tells: { tags: true, publicIpv4: false },
    hostile: [
      [oracleId, `ocid1 ${'x'.repeat(300)}`, 'instanceId'],
      ['EMIr:EU-FRANKFURT-1-AD-1', 'EMIr:../../etc', 'zone'],
      ['VM.Standard.A1.Flex', '-', 'instanceType'],
    ],
  },
};

const clouds = Object.entries(scenarios).map(
  ([name, scenario]) => [name as MetadataCloud, scenario] as const,
);

/** Documents that are what they should not be, however the cloud writes its own. */
const malformedBodies = [
  '',
  '{',
  '[]',
  'null',
  '"x"',
  '{"a":',
  '\0\0\0',
  '{"compute": 7, "interfaces": [], "id": {}}',
];

for (const [mode, { facts, dmi, refusal, tells, hostile }] of clouds) {
  describe(`the metadata of ${mode}`, { concurrency: 4 }, () => {
    const known = { kind: 'known', facts: { provider: mode, ...facts, tags: undefined }, stale: undefined };

    test('gives the facts of the default instance', bounded, async (context) => {
      const rig = await createRig(context, serving(createMetadataService(mode)));
      const cloud = await rig.start({ mode, calmMs: 60_000 });
      assert.equal(cloud.read().kind, 'unavailable');
      await rig.wakes.next();
      assert.deepEqual(cloud.read(), { ...known, tagsError: undefined });
    });

    test('is asked where the firmware names the cloud, and nobody else is', bounded, async (context) => {
      const rig = await createRig(context, serving(createMetadataService(mode)));
      await rig.writeDmi(dmi);
      const cloud = await rig.start({ mode: 'auto', calmMs: 60_000 });
      await rig.wakes.next();
      const reading = cloud.read();
      assert.equal(reading.kind === 'known' && reading.facts.provider, mode);
    });

    test('has no public address where the instance has none', bounded, async (context) => {
      const service = createMetadataService(mode, { publicIpv4: null, publicIpv6: null });
      const rig = await createRig(context, serving(service));
      const cloud = await rig.start({ mode, calmMs: 60_000 });
      await rig.wakes.next();
      const reading = cloud.read();
      assert.ok(reading.kind === 'known');
      assert.deepEqual([reading.facts.publicIpv4, reading.facts.publicIpv6], [undefined, undefined]);
    });

    test('shows a new address, which wakes once', bounded, async (context) => {
      const service = createMetadataService(mode);
      const rig = await createRig(context, serving(service));
      const cloud = await rig.start({ mode });
      await rig.wakes.next();
      const address = tells.publicIpv4
        ? { publicIpv4: '203.0.113.99' }
        : { publicIpv6: '2603:c020:8005:1::99' };
      service.change(address);
      assert.equal(await rig.wakes.next(), 'cloud: the facts changed');
      const reading = cloud.read();
      assert.ok(reading.kind === 'known');
      assert.deepEqual({ ...reading.facts, ...address }, reading.facts);
    });

    test('gives the tags with the wanted prefix, and says where it cannot', bounded, async (context) => {
      const tags = { 'mooring-label-tier': 'edge', 'mooring-taint-dedicated': 'web:NoSchedule', Name: 'x' };
      const rig = await createRig(context, serving(createMetadataService(mode, { tags, showsTags: true })));
      const cloud = await rig.start({ mode, calmMs: 60_000, tagPrefix: 'mooring-' });
      await rig.wakes.next();
      const reading = cloud.read();
      assert.ok(reading.kind === 'known');
      const { Name: _, ...wanted } = tags;
      assert.deepEqual(reading.facts.tags, tells.tags ? wanted : undefined);
      assert.equal(reading.tagsError === undefined, tells.tags);
    });

    if (refusal !== undefined) {
      test('refuses a question without the demanded header', bounded, async (context) => {
        const rig = await createRig(context, serving(createMetadataService(mode)));
        const answer = await fetch(rig.server.url + refusal.path);
        assert.equal(answer.status, refusal.status);
      });
    }

    test('is asked again where it is busy or at fault', bounded, async (context) => {
      const service = serving(createMetadataService(mode));
      const rig = await createRig(context, inTurn(answerWith(429, ''), answerWith(503, ''), service));
      const cloud = await rig.start({ mode, calmMs: 60_000 });
      await rig.wakes.next();
      assert.equal(cloud.read().kind, 'known');
      assert.deepEqual(new Set(rig.server.seen.slice(0, 3).map(({ path }) => path)).size, 1);
    });

    test('may be slow, within the deadline', bounded, async (context) => {
      const service = serving(createMetadataService(mode));
      const rig = await createRig(context, (...request) => {
        setTimeout(() => service(...request), 60);
      });
      const cloud = await rig.start({ mode, calmMs: 60_000, requestDeadlineMs: 2000 });
      await rig.wakes.next();
      assert.equal(cloud.read().kind, 'known');
    });

    test('is unavailable where nobody listens', bounded, async (context) => {
      const rig = await createRig(context, answerWith(200, ''));
      const gone = await startBadHttpServer(answerWith(200, ''));
      await gone.close();
      const cloud = await rig.start({ mode, baseUrls: [gone.url] });
      assert.match(await rig.logs.next(), /connection refused/);
      assert.equal(cloud.read().kind, 'unavailable');
    });

    test('outlives a restart, marked as stale until it is confirmed', bounded, async (context) => {
      const rig = await createRig(context, serving(createMetadataService(mode)));
      const first = await rig.start({ mode, calmMs: 60_000 });
      await rig.wakes.next();
      await first.close();
      rig.server.behave(answerWith(403, ''));
      const second = await rig.start({ mode });
      await rig.logs.next();
      const reading = second.read();
      assert.ok(reading.kind === 'known');
      assert.deepEqual(reading.facts, known.facts);
      assert.match(reading.stale ?? '', /an earlier run/);
    });

    test(
      'of another instance, on a copied disk, is dropped with the first answer',
      bounded,
      async (context) => {
        const rig = await createRig(context, serving(createMetadataService(mode)));
        await writeFile(
          rig.cacheFile,
          JSON.stringify({ ...known.facts, instanceId: 'another', region: 'other' }),
        );
        const cloud = await rig.start({ mode, calmMs: 60_000 });
        assert.match(await rig.logs.next(), /another instance/);
        await rig.wakes.next();
        await rig.wakes.next();
        const reading = cloud.read();
        assert.deepEqual(reading.kind === 'known' && reading.facts, known.facts);
      },
    );

    test('kept of another cloud is not read', bounded, async (context) => {
      const rig = await createRig(context, () => undefined);
      const provider = mode === 'aws' ? 'azure' : 'aws';
      await writeFile(rig.cacheFile, JSON.stringify({ ...known.facts, provider }));
      assert.equal((await rig.start({ mode })).read().kind, 'unavailable');
    });

    test('that is anybody’s words leaves the facts unavailable', bounded, async (context) => {
      for (const body of malformedBodies) {
        const retouch = (answer: MetadataAnswer) => ({ ...answer, body });
        const rig = await createRig(context, serving(createMetadataService(mode), retouch));
        const cloud = await rig.start({ mode, calmMs: 60_000 });
        assert.match(await rig.logs.next(), /metadata service/, JSON.stringify(body));
        assert.equal(cloud.read().kind, 'unavailable', JSON.stringify(body));
      }
    });

    for (const [genuine, replacement, field] of hostile) {
      test(
        `with a hostile ${field} (${replacement.slice(0, 12)}) fails, naming it`,
        bounded,
        async (context) => {
          const retouch = (answer: MetadataAnswer) => ({
            ...answer,
            body: answer.body.replaceAll(genuine, replacement),
          });
          const rig = await createRig(context, serving(createMetadataService(mode), retouch));
          const cloud = await rig.start({ mode, calmMs: 60_000 });
          assert.match(await rig.logs.next(), new RegExp(`no valid ${field}`));
          assert.equal(cloud.read().kind, 'unavailable');
          assert.equal(JSON.stringify(cloud.read()).includes('evil'), false);
        },
      );
    }

    for (const { name, behave, error } of misbehaviours) {
      test(`from a service that ${name} is unavailable until it is well`, bounded, async (context) => {
        const well = serving(createMetadataService(mode));
        // A service that gives a session and goes bad then is worse than one that gives none.
        const rig = await createRig(context, (...request) =>
          (request[0].method === 'PUT' ? well : behave)(...request),
        );
        const cloud = await rig.start({ mode });
        assert.match(await rig.logs.next(), error);
        const reading = cloud.read();
        assert.ok(reading.kind === 'unavailable');
        assert.match(reading.error, error);
        rig.server.behave(well);
        await rig.wakes.next();
        assert.equal(cloud.read().kind, 'known');
      });
    }
  });
}

describe('what only one cloud has', () => {
  test(
    'Azure: the address of the load balancer, where the instance has a Standard one in front',
    bounded,
    async (context) => {
      const service = createMetadataService('azure', {
        isBehindLoadBalancer: true,
        publicIpv6: '2603:1020:200::17',
      });
      const rig = await createRig(context, serving(service));
      const cloud = await rig.start({ mode: 'azure', calmMs: 60_000 });
      await rig.wakes.next();
      const reading = cloud.read();
      assert.ok(reading.kind === 'known');
      assert.equal(reading.facts.publicIpv4, '203.0.113.17');
      assert.equal(reading.facts.publicIpv6, '2603:1020:200::17');
    },
  );

  test(
    'Azure: an older API version where the newest is refused, kept from then on',
    bounded,
    async (context) => {
      const rig = await createRig(
        context,
        serving(createMetadataService('azure', { newestVersion: '2021-02-01' })),
      );
      const cloud = await rig.start({ mode: 'azure', calmMs: 60_000 });
      await rig.wakes.next();
      assert.equal(cloud.read().kind, 'known');
      const versions = rig.server.seen.map(({ path }) => path.replace(/.*api-version=/, ''));
      assert.deepEqual(versions, ['2023-07-01', '2021-02-01', '2021-02-01']);
    },
  );

  test('Google Cloud: an answer without its header is not believed', bounded, async (context) => {
    const retouch = (answer: MetadataAnswer) => ({ status: answer.status, body: answer.body });
    const rig = await createRig(context, serving(createMetadataService('gcp'), retouch));
    const cloud = await rig.start({ mode: 'gcp', calmMs: 60_000 });
    assert.match(await rig.logs.next(), /without Metadata-Flavor/);
    assert.equal(cloud.read().kind, 'unavailable');
  });

  test(
    'Google Cloud: a new address is told at once, long before the calm question',
    bounded,
    async (context) => {
      const service = createMetadataService('gcp');
      const rig = await createRig(context, serving(service));
      const cloud = await rig.start({ mode: 'gcp', calmMs: 600_000 });
      await rig.wakes.next();
      await seen(rig.server, 1, 'wait_for_change');
      service.change({ publicIpv4: '203.0.113.99' });
      await rig.wakes.next();
      const reading = cloud.read();
      assert.equal(reading.kind === 'known' && reading.facts.publicIpv4, '203.0.113.99');
    },
  );

  test(
    'Google Cloud: a server that claims a change every time is not asked in a circle',
    bounded,
    async (context) => {
      const service = createMetadataService('gcp');
      let changes = 0;
      const retouch = (answer: MetadataAnswer) => {
        changes += 1;
        return { ...answer, headers: { ...answer.headers, etag: String(changes) } };
      };
      const rig = await createRig(context, serving(service, retouch));
      const startedMs = performance.now();
      await rig.start({ mode: 'gcp', calmMs: 600_000, retryMs: 100 });
      await seen(rig.server, 4, 'instance/id');
      assert.ok(performance.now() - startedMs > 290, 'three pauses of 100 ms');
    },
  );

  test(
    'Google Cloud: a proxy’s answer to a long question does not end the watch',
    bounded,
    async (context) => {
      const service = serving(createMetadataService('gcp'));
      const rig = await createRig(context, (...request) =>
        (request[0].path.includes('wait_for_change') ? answerWith(500, '') : service)(...request),
      );
      const cloud = await rig.start({ mode: 'gcp' });
      await rig.wakes.next();
      await seen(rig.server, 1, 'wait_for_change');
      rig.server.behave(serving(createMetadataService('gcp', { publicIpv4: '203.0.113.98' })));
      await rig.wakes.next();
      const reading = cloud.read();
      assert.equal(reading.kind === 'known' && reading.facts.publicIpv4, '203.0.113.98');
    },
  );

  test('DigitalOcean: a reserved address comes before the droplet’s own', bounded, async (context) => {
    const retouch = (answer: MetadataAnswer) => ({
      ...answer,
      body: answer.body.replace(
        '"reserved_ip":{"ipv4":{"active":false}}',
        '"reserved_ip":{"ipv4":{"active":true,"ip_address":"198.51.100.4"}}',
      ),
    });
    const rig = await createRig(context, serving(createMetadataService('digitalocean'), retouch));
    const cloud = await rig.start({ mode: 'digitalocean', calmMs: 60_000 });
    await rig.wakes.next();
    const reading = cloud.read();
    assert.equal(reading.kind === 'known' && reading.facts.publicIpv4, '198.51.100.4');
  });

  test('Hetzner: a document that unfolds without end is malformed', bounded, async (context) => {
    const bomb = [
      'a: &a [x,x,x]',
      ...'bcdefgh'.split('').map((name, i) => `${name}: &${name} [${`*${'abcdefgh'[i]},`.repeat(9)}]`),
    ];
    const rig = await createRig(context, answerWith(200, bomb.join('\n')));
    await rig.start({ mode: 'hetzner', calmMs: 60_000 });
    assert.match(await rig.logs.next(), /no YAML/);
  });
});

/** Settles when a question with `word` in its path was asked so many times. */
async function seen(
  server: { readonly seen: readonly { readonly path: string }[] },
  times: number,
  word: string,
): Promise<void> {
  for (let i = 0; i < 1000; i += 1) {
    if (server.seen.filter(({ path }) => path.includes(word)).length >= times) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`${word} was not asked ${times} times`);
}
