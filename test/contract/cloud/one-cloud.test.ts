/** What only one of the clouds has: a load balancer's address, a long poll, a reserved address, a document that unfolds. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { answerWith } from '../../support/bad-http-server.ts';
import { serving } from '../../support/metadata/behaviour.ts';
import { createMetadataService } from '../../support/metadata/clouds.ts';
import type { MetadataAnswer } from '../../support/metadata/service.ts';
import { createRig } from './rig.ts';

const bounded = { timeout: 15_000 };

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
      assert.deepEqual(versions, ['2023-07-01', '2021-02-01', '2020-10-01']);
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

  test('AWS: a tag cannot make mooring ask for anything but itself', bounded, async (context) => {
    const tags = { 'mooring-label-a:b@c': 'x', 'mooring-/../../../iam/security-credentials/edge-role': 'y' };
    const role = { accessKeyId: 'ASIAEXAMPLE', secretKey: 'a-secret', token: 'a-token' };
    const service = createMetadataService('aws', { tags, role, showsTags: true });
    // The stand-in lists by path segments, AWS line by line.
    const list = Object.keys(tags).join('\n');
    const rig = await createRig(context, (request, ...rest) =>
      (request.path.endsWith('/tags/instance') ? answerWith(200, list) : serving(service))(request, ...rest),
    );
    const cloud = await rig.start({ mode: 'aws', calmMs: 60_000, tagPrefix: 'mooring-' });
    await rig.wakes.next();
    assert.deepEqual(
      rig.server.seen.filter(({ path }) => path.includes('iam/')),
      [],
    );
    assert.equal(JSON.stringify(cloud.read()).includes('a-secret'), false);
    const reading = cloud.read();
    assert.equal(reading.kind === 'known' && reading.facts.tags?.['mooring-label-a:b@c'], 'x');
  });

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
