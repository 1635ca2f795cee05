/** One table of scenarios for all clouds: the watch against stand-ins that answer as each one's documentation says, and go wrong. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { answerWith, inTurn, misbehaviours, startBadHttpServer } from '../../support/bad-http-server.ts';
import { serving } from '../../support/metadata/behaviour.ts';
import { createMetadataService, metadataClouds } from '../../support/metadata/clouds.ts';
import { firmware } from '../../support/metadata/firmware.ts';
import type { MetadataAnswer } from '../../support/metadata/service.ts';
import { createRig } from './rig.ts';
import { scenarios } from './scenarios.ts';

const bounded = { timeout: 15_000 };

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

for (const mode of metadataClouds) {
  const { facts, refusal, tells, hostile } = scenarios[mode];
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
      await rig.writeDmi(firmware[mode]);
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
