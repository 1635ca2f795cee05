/** EC2's API asked for tags by the shipped bundle, as a child: it signs, it parses, it is bounded, and it holds no secret of ours. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { buildBundle } from '../../../packaging/bundle.ts';
import { createAwsTags } from '../../../src/systems/cloud/aws-tags.ts';
import { type Behaviour, startBadHttpServer } from '../../support/bad-http-server.ts';
import { serving } from '../../support/metadata/behaviour.ts';
import { createMetadataService } from '../../support/metadata/clouds.ts';
import { ec2 } from '../../support/metadata/ec2.ts';
import { createRig } from './rig.ts';

const bounded = { timeout: 30_000 };
const role = { accessKeyId: 'ASIAEXAMPLE', secretKey: 'a-secret/key+of=the-role', token: 'a-session-token' };
const instance = { instanceId: 'i-0123456789abcdef0', region: 'eu-central-1', isIpv6: false };
const tags = { 'mooring-label-tier': 'edge', 'with space & <signs>': '"ü"', empty: '' };
const genuine = ec2({ role, instanceId: instance.instanceId, tags });

describe('tags from EC2', () => {
  let folder: string;
  let command: readonly [string, ...string[]];
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-aws-tags-'));
    const root = join(import.meta.dirname, '../../..');
    const bundle = { name: 'aws-tags', entry: 'src/systems/cloud/aws-tags-program.ts' };
    await buildBundle({ root, bundle, version: '0', outFolder: folder });
    command = [process.execPath, join(folder, 'aws-tags.cjs')];
  });
  after(() => rm(folder, { recursive: true }));

  /** The adapter, with EC2 and the metadata service that have these manners. */
  async function adapter(
    context: TestContext,
    options: {
      ec2?: Behaviour;
      hasRole?: boolean;
      command?: readonly [string, ...string[]];
      deadlineMs?: number;
    } = {},
  ) {
    const api = await startBadHttpServer(options.ec2 ?? genuine);
    const metadata = createMetadataService('aws', options.hasRole === false ? {} : { role });
    const imds = await startBadHttpServer(serving(metadata));
    const ending = new AbortController();
    let nowMs = 0;
    context.after(async () => {
      ending.abort();
      await Promise.all([api.close(), imds.close()]);
    });
    const environment = {
      AWS_ENDPOINT_URL_EC2: api.url,
      AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
      AWS_SECRET_ACCESS_KEY: 'of somebody else',
      NODE_OPTIONS: '--throw-deprecation',
    };
    const reader = createAwsTags({
      command: options.command ?? command,
      environment,
      signal: ending.signal,
      now: () => nowMs,
      random: () => 0.99,
      deadlineMs: options.deadlineMs ?? 15_000,
    });
    const pass = (ms: number) => {
      nowMs += ms;
    };
    return { reader, api, ending, pass };
  }

  test(
    'are asked with a signature by the role’s credentials, and read whatever is in them',
    bounded,
    async (context) => {
      const { reader, api } = await adapter(context);
      assert.deepEqual(await reader.read(instance), tags);
      assert.match(
        String(api.seen[0]?.headers.authorization),
        /Credential=ASIAEXAMPLE\/\d{8}\/eu-central-1\/ec2\//,
      );
    },
  );

  test('are refused by the stand-in where the signature is another one’s', bounded, async (context) => {
    const other = ec2({ role: { ...role, secretKey: 'another' }, instanceId: instance.instanceId, tags });
    const { reader } = await adapter(context, { ec2: other });
    await assert.rejects(reader.read(instance), /EC2's API: it refuses .*AuthFailure/);
  });

  test('are asked at most every 15 minutes, and two minutes after a failure', bounded, async (context) => {
    const { reader, api, pass } = await adapter(context);
    await reader.read(instance);
    pass(440_000);
    await reader.read(instance);
    assert.equal(api.seen.length, 1);
    pass(460_000);
    api.behave(ec2({ role, instanceId: instance.instanceId, tags, isForbidden: true }));
    await assert.rejects(reader.read(instance));
    const asked = api.seen.length;
    pass(59_000);
    await assert.rejects(reader.read(instance));
    assert.equal(api.seen.length, asked);
    api.behave(genuine);
    pass(61_000);
    assert.deepEqual(await reader.read(instance), tags);
  });

  test(
    'that the role may not read are told with what to do, and not in EC2’s words',
    bounded,
    async (context) => {
      const forbidden = ec2({ role, instanceId: instance.instanceId, tags, isForbidden: true });
      const { reader } = await adapter(context, { ec2: forbidden });
      await assert.rejects(reader.read(instance), (error: Error) => {
        assert.match(error.message, /role may not call ec2:DescribeTags/);
        assert.doesNotMatch(error.message, /Encoded/);
        return true;
      });
    },
  );

  test('need a role', bounded, async (context) => {
    const { reader, api } = await adapter(context, { hasRole: false });
    await assert.rejects(reader.read(instance), /the instance has no role/);
    assert.equal(api.seen.length, 0);
  });

  for (const [what, body] of [
    ['no XML', 'hello'],
    ['cut short', '<?xml version="1.0"?><DescribeTagsResponse><tagSet><item><key>a</ke'],
    ['of another kind', '<?xml version="1.0"?><Other><tagSet>7</tagSet></Other>'],
  ] as const) {
    test(`that are ${what} are an error or none, and end the child`, bounded, async (context) => {
      const { reader } = await adapter(context, {
        ec2: (_request, response) => response.writeHead(200, { 'Content-Type': 'text/xml' }).end(body),
      });
      const read = await reader.read(instance).catch((error: Error) => error.message);
      assert.ok(typeof read === 'string' ? read.startsWith("EC2's API: ") : Object.keys(read).length === 0);
    });
  }

  test('are given up after the deadline, and the child with them', bounded, async (context) => {
    const pidFile = join(folder, 'hanging.pid');
    const { reader } = await adapter(context, {
      command: ['/bin/sh', '-c', `echo $$ >${pidFile}; exec sleep 60`],
      deadlineMs: 300,
    });
    await assert.rejects(reader.read(instance), /no answer within 300 ms/);
    assert.equal(existsSync(`/proc/${(await readFile(pidFile, 'utf8')).trim()}`), false);
  });

  test('end with the watch', bounded, async (context) => {
    const { reader, ending } = await adapter(context, { ec2: () => ending.abort() });
    await assert.rejects(reader.read(instance), /EC2's API/);
  });

  for (const [what, script, why] of [
    ['says nothing', 'true', /failed/],
    ['prints no JSON', 'echo hello', /failed/],
    ['prints another shape', 'echo "[1]"', /failed/],
    ['prints tags and fails', `echo '{"tags":{}}'; exit 3`, /failed/],
    ['prints without end', 'exec yes', /larger than/],
  ] as const) {
    test(`are not believed of a child that ${what}`, bounded, async (context) => {
      const { reader } = await adapter(context, { command: ['/bin/sh', '-c', script] });
      await assert.rejects(reader.read(instance), why);
    });
  }

  test(
    'are asked by a child that gets no more of the environment than it needs',
    bounded,
    async (context) => {
      const seen = join(folder, 'environment');
      const script = `tr '\\0' '\\n' </proc/$$/environ >${seen}; tr '\\0' ' ' </proc/$$/cmdline >>${seen}; echo '{"tags":{}}'`;
      const { reader } = await adapter(context, { command: ['/bin/sh', '-c', script, 'child'] });
      await reader.read({ ...instance, isIpv6: true });
      const text = await readFile(seen, 'utf8');
      const names = [...text.matchAll(/^(\w+)=/gm)].map(([, name]) => name).sort();
      assert.deepEqual(names, [
        'AWS_EC2_METADATA_SERVICE_ENDPOINT',
        'AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE',
        'AWS_ENDPOINT_URL_EC2',
        'AWS_USE_DUALSTACK_ENDPOINT',
      ]);
      assert.doesNotMatch(text, /of somebody else/);
    },
  );

  test('come with the facts where the metadata service does not show them', bounded, async (context) => {
    const service = createMetadataService('aws', { tags, role });
    const rig = await createRig(context, serving(service));
    const api = await startBadHttpServer(genuine);
    const endpoints = { AWS_ENDPOINT_URL_EC2: api.url, AWS_EC2_METADATA_SERVICE_ENDPOINT: rig.server.url };
    Object.assign(process.env, endpoints);
    context.after(() => {
      for (const name of Object.keys(endpoints)) delete process.env[name];
      return api.close();
    });
    const cloud = await rig.start({ calmMs: 60_000, tagPrefix: 'mooring-', awsTagsCommand: command });
    await rig.wakes.next();
    const reading = cloud.read();
    assert.ok(reading.kind === 'known');
    assert.deepEqual(reading.facts.tags, { 'mooring-label-tier': 'edge' });
    assert.doesNotMatch(await readFile(rig.cacheFile, 'utf8'), /secret|session-token/);
  });

  test('that cannot be had leave those that were known, and the rest is fresh', bounded, async (context) => {
    const rig = await createRig(
      context,
      serving(createMetadataService('aws', { publicIpv4: '203.0.113.5' })),
    );
    const kept = { provider: 'aws', instanceId: instance.instanceId, tags: { 'mooring-label-tier': 'kept' } };
    await writeFile(rig.cacheFile, JSON.stringify(kept));
    const cloud = await rig.start({ calmMs: 60_000, tagPrefix: 'mooring-' });
    await rig.wakes.next();
    const reading = cloud.read();
    assert.ok(reading.kind === 'known');
    assert.deepEqual([reading.facts.publicIpv4, reading.facts.tags], ['203.0.113.5', kept.tags]);
    assert.deepEqual([reading.stale, /EC2's API/.test(reading.tagsError ?? '')], [undefined, true]);
  });
});
