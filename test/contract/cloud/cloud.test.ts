/** The watch over AWS' metadata service against servers that answer as IMDSv2 does, and against ones that misbehave. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { type CloudOptions, type CloudWatch, createCloud } from '../../../src/systems/cloud/cloud.ts';
import {
  answerWith,
  type BadHttpServer,
  type Behaviour,
  inTurn,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { nextOf } from './rig.ts';

const bounded = { timeout: 10_000 };

const facts = {
  'instance-id': 'i-0123456789abcdef0',
  'instance-type': 't4g.small',
  'placement/region': 'eu-central-1',
  'placement/availability-zone': 'eu-central-1a',
  'public-ipv4': '203.0.113.7',
};

const known = {
  provider: 'aws',
  instanceId: 'i-0123456789abcdef0',
  instanceType: 't4g.small',
  region: 'eu-central-1',
  zone: 'eu-central-1a',
  publicIpv4: '203.0.113.7',
  publicIpv6: undefined,
  providerId: 'aws:///eu-central-1a/i-0123456789abcdef0',
  tags: undefined,
};

/** IMDSv2 with these facts and this session token. */
const imds =
  (metadata: Readonly<Record<string, string>>, token = 'session-1'): Behaviour =>
  (request, response, socket) => {
    const fact = metadata[request.path.replace('/latest/meta-data/', '')];
    const answer = () => {
      if (request.method === 'PUT' && request.path === '/latest/api/token') {
        return request.headers['x-aws-ec2-metadata-token-ttl-seconds']
          ? answerWith(200, token)
          : answerWith(400, '');
      }
      if (request.headers['x-aws-ec2-metadata-token'] !== token) return answerWith(401, '');
      return fact === undefined ? answerWith(404, '<html>404 - Not Found</html>') : answerWith(200, fact);
    };
    answer()(request, response, socket);
  };

describe('the cloud’s metadata', () => {
  let folder: string;
  let server: BadHttpServer;
  let wakes: ReturnType<typeof nextOf<string>>;
  let logs: ReturnType<typeof nextOf<string>>;
  let started: CloudWatch[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-cloud-'));
    server = await startBadHttpServer(imds(facts));
    wakes = nextOf();
    logs = nextOf();
    started = [];
  });
  afterEach(async () => {
    for (const cloud of started) await cloud.close();
    await server.close();
    await rm(folder, { recursive: true });
  });

  const cacheFile = () => join(folder, 'cloud.json');

  async function start(options: Partial<CloudOptions> = {}): Promise<CloudWatch> {
    const cloud = createCloud({
      mode: 'aws',
      awsTagsCommand: ['false'],
      cacheFile: cacheFile(),
      wake: wakes.put,
      log: (_level, message) => logs.put(message),
      dmiDirectory: join(folder, 'dmi'),
      baseUrls: [server.url],
      requestDeadlineMs: 200,
      calmMs: 20,
      retryMs: 8,
      ...options,
    });
    started.push(cloud);
    await cloud.start();
    return cloud;
  }

  async function writeDmi(fields: Readonly<Record<string, string>>): Promise<void> {
    await mkdir(join(folder, 'dmi'));
    for (const [name, value] of Object.entries(fields))
      await writeFile(join(folder, 'dmi', name), `${value}\n`);
  }

  test('facts are asked with a session token; one that the instance lacks is absent', bounded, async () => {
    const cloud = await start({ calmMs: 60_000 });
    assert.equal(cloud.read().kind, 'unavailable');
    await wakes.next();
    assert.deepEqual(cloud.read(), {
      kind: 'known',
      facts: known,
      stale: undefined,
      tagsError: undefined,
    });
    assert.equal(server.seen.filter((request) => request.method === 'PUT').length, 1);
  });

  test(
    'an answer is asked again calmly, wakes only when it differs, and keeps its session',
    bounded,
    async () => {
      const cloud = await start();
      await wakes.next();
      const asked = Promise.withResolvers<void>();
      let ids = 0;
      server.behave((request, response, socket) => {
        if (request.path.endsWith('instance-id') && ++ids === 3) {
          server.behave(imds({ ...facts, 'public-ipv4': '203.0.113.8' }));
          asked.resolve();
        }
        imds(facts)(request, response, socket);
      });
      await asked.promise;
      assert.equal(await wakes.next(), 'cloud: the facts changed');
      const reading = cloud.read();
      assert.equal(reading.kind === 'known' && reading.facts.publicIpv4, '203.0.113.8');
      assert.equal(server.seen.filter((request) => request.method === 'PUT').length, 1);
    },
  );

  test('a refused session token is renewed', bounded, async () => {
    const cloud = await start();
    await wakes.next();
    server.behave(imds({ ...facts, 'public-ipv4': '203.0.113.9' }, 'session-2'));
    await wakes.next();
    const reading = cloud.read();
    assert.equal(reading.kind === 'known' && reading.facts.publicIpv4, '203.0.113.9');
  });

  test('a throttled question is repeated', bounded, async () => {
    server.behave(inTurn(answerWith(429, ''), answerWith(503, ''), imds(facts)));
    const cloud = await start({ calmMs: 60_000 });
    await wakes.next();
    assert.equal(cloud.read().kind, 'known');
    assert.deepEqual(
      server.seen.slice(0, 3).map((request) => request.method),
      ['PUT', 'PUT', 'PUT'],
    );
  });

  test('the second address is asked where the first is silent', bounded, async () => {
    const silent = await startBadHttpServer(() => undefined);
    const cloud = await start({ baseUrls: [silent.url, server.url], calmMs: 60_000 });
    await wakes.next();
    assert.equal(cloud.read().kind, 'known');
    await silent.close();
  });

  test('an answer outlives a restart, marked as stale until it is confirmed', bounded, async () => {
    const first = await start({ calmMs: 60_000 });
    await wakes.next();
    await first.close();
    server.behave(answerWith(403, ''));
    const second = await start();
    await logs.next();
    const reading = second.read();
    assert.equal(reading.kind, 'known');
    assert.deepEqual(reading.facts, known);
    assert.match(reading.stale ?? '', /switched off.*an earlier run/);
  });

  test('a failure after a good answer keeps the facts and says since when', bounded, async () => {
    const cloud = await start({ now: () => 1_795_429_571_719 });
    await wakes.next();
    server.behave(answerWith(500, ''));
    await logs.next();
    const reading = cloud.read();
    assert.equal(reading.kind, 'known');
    assert.match(reading.stale ?? '', /status 500; the facts are from 2026-11-23T/);
  });

  test(
    'kept facts of another instance are dropped as soon as the instance tells its id',
    bounded,
    async () => {
      await writeFile(cacheFile(), JSON.stringify({ ...known, instanceId: 'i-0ffffffffffffffff' }));
      const { 'instance-id': id } = facts;
      server.behave((request, response, socket) =>
        (request.path.endsWith('instance-type') ? answerWith(500, '') : imds({ 'instance-id': id }))(
          request,
          response,
          socket,
        ),
      );
      const cloud = await start();
      assert.equal(cloud.read().kind, 'known');
      await wakes.next();
      assert.equal(cloud.read().kind, 'unavailable');
      await logs.next();
      await logs.next();
      assert.equal(await readFile(cacheFile(), 'utf8'), 'null\n');
    },
  );

  test(
    'kept facts of another instance are not even read where the firmware tells the id',
    bounded,
    async () => {
      await writeDmi({ sys_vendor: 'Amazon EC2', board_asset_tag: 'i-0123456789abcdef0' });
      await writeFile(cacheFile(), JSON.stringify({ ...known, instanceId: 'i-0ffffffffffffffff' }));
      server.behave(() => undefined);
      const cloud = await start({ mode: 'auto' });
      assert.equal(cloud.read().kind, 'unavailable');
    },
  );

  for (const text of [
    '',
    '{',
    '[]',
    'null',
    '{"provider":"aws","instanceId":"i-1","zone":"a b"}',
    '\0\0\0',
  ]) {
    test(`kept facts that are damaged (${JSON.stringify(text)}) count as none`, bounded, async () => {
      await writeFile(cacheFile(), text);
      server.behave(() => undefined);
      const cloud = await start();
      assert.equal(cloud.read().kind, 'unavailable');
    });
  }

  test('a host without a known cloud is asked nothing over the network', bounded, async () => {
    await writeDmi({ sys_vendor: 'QEMU', board_asset_tag: 'i-0123456789abcdef0' });
    const cloud = await start({ mode: 'auto' });
    assert.deepEqual(cloud.read(), { kind: 'none' });
    await cloud.close();
    assert.equal(server.seen.length, 0);
  });

  test('a host whose firmware says EC2 is asked', bounded, async () => {
    await writeDmi({ sys_vendor: 'Xen', bios_version: '4.11.amazon', product_uuid: 'EC2AB000-0000' });
    const cloud = await start({ mode: 'auto', calmMs: 60_000 });
    await wakes.next();
    assert.equal(cloud.read().kind, 'known');
  });

  test('switched off, nothing is asked', bounded, async () => {
    const cloud = await start({ mode: 'none' });
    await cloud.close();
    assert.deepEqual(cloud.read(), { kind: 'none' });
    assert.equal(server.seen.length, 0);
  });

  test('a proxy in the environment is not used', bounded, async (context) => {
    const proxy = await startBadHttpServer(answerWith(200, 'i-am-a-proxy'));
    for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY']) process.env[name] = proxy.url;
    context.after(() => {
      for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY']) delete process.env[name];
      return proxy.close();
    });
    await start({ calmMs: 60_000 });
    await wakes.next();
    assert.equal(proxy.seen.length, 0);
  });

  const hostile: readonly (readonly [fact: string, value: string, field: string])[] = [
    ['instance-id', 'i-1"\nkubelet-arg: evil', 'instanceId'],
    ['instance-type', '{{ evil }}', 'instanceType'],
    ['placement/region', 'a'.repeat(64), 'region'],
    ['placement/availability-zone', '../../etc', 'zone'],
    ['public-ipv4', '203.0.113.7\n203.0.113.8', 'publicIpv4'],
    ['public-ipv4', '2001:db8::1', 'publicIpv4'],
    ['ipv6', 'fe80::1%eth0', 'publicIpv6'],
  ];
  for (const [fact, value, field] of hostile) {
    test(
      `a ${fact} of ${JSON.stringify(value.slice(0, 20))} fails the answer, naming ${field}`,
      bounded,
      async () => {
        server.behave(imds({ ...facts, [fact]: value }));
        const cloud = await start();
        assert.match(await logs.next(), new RegExp(`no valid ${field}`));
        const reading = cloud.read();
        assert.equal(reading.kind, 'unavailable');
        assert.equal(JSON.stringify(reading).includes('evil'), false);
      },
    );
  }

  test('addresses are told in canonical form', bounded, async () => {
    server.behave(imds({ ...facts, ipv6: '2001:DB8:0:0::1' }));
    const cloud = await start({ calmMs: 60_000 });
    await wakes.next();
    const reading = cloud.read();
    assert.equal(reading.kind === 'known' && reading.facts.publicIpv6, '2001:db8::1');
  });

  test('an answer that cannot be kept on disk is used all the same', bounded, async () => {
    const cloud = await start({ cacheFile: join(folder, 'missing', 'cloud.json'), calmMs: 60_000 });
    await wakes.next();
    assert.equal(cloud.read().kind, 'known');
    assert.match(await logs.next(), /its folder does not exist/);
  });
});
