/** The client of a network's controller against a fake ZeroTier Central, a controller's own API, and servers that misbehave. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createController } from '../../../src/systems/controller/controller.ts';
import { SystemError } from '../../../src/systems/error.ts';
import {
  answerWith,
  type BadHttpServer,
  type Behaviour,
  misbehaviours,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { identity } from '../../support/certificates.ts';

const bounded = { timeout: 10_000 };
const networkId = '8056c2e21c000001';
const address = '40c95ab4df';
const secret = 's3cr3ts3cr3ts3cr3t';
const deadlineMs = 300;

/** What ZeroTier Central answers about a member, as its API description has it. */
const centralMember = (name: string, config: object = {}) => ({
  id: `${networkId}-${address}`,
  clock: 1_795_429_571_719,
  networkId,
  nodeId: address,
  controllerId: '8056c2e21c',
  hidden: false,
  name,
  description: '',
  config: {
    activeBridge: false,
    authorized: false,
    capabilities: [],
    creationTime: 1_795_429_571_000,
    id: address,
    ipAssignments: [],
    lastAuthorizedTime: 0,
    lastDeauthorizedTime: 0,
    noAutoAssignIps: false,
    revision: 1,
    tags: [],
    ...config,
  },
  lastOnline: 0,
});

/** A member of a controller's own API, as zerotier-one 1.14.1 answers. */
const localMember = (config: object = {}) => ({
  activeBridge: false,
  address,
  authenticationExpiryTime: 0,
  authorized: false,
  capabilities: [],
  creationTime: 1_795_429_639_184,
  id: address,
  identity: '',
  ipAssignments: [],
  lastAuthorizedCredential: null,
  lastAuthorizedTime: 0,
  lastDeauthorizedTime: 0,
  noAutoAssignIps: false,
  nwid: networkId,
  revision: 2,
  ...config,
});

/** Central with one network; `member` is what it knows of the node, undefined where nothing. */
function central(member?: object): Behaviour {
  return (request, response, socket) => {
    const say = (status: number, body: unknown) =>
      answerWith(status, JSON.stringify(body))(request, response, socket);
    if (request.headers['authorization'] !== `token ${secret}`) return say(401, {});
    if (!request.path.startsWith(`/network/${networkId}`)) return say(404, {});
    if (request.path === `/network/${networkId}`) return say(200, { id: networkId });
    if (request.method !== 'POST') return member === undefined ? say(404, {}) : say(200, member);
    const { name = '', config } = JSON.parse(request.body) as { name?: string; config: object };
    return say(200, centralMember(name, { ...config, lastAuthorizedTime: 5 }));
  };
}

describe('the client of a network’s controller', () => {
  let folder: string;
  let tokenPath: string;
  let server: BadHttpServer;
  const nowMs = 1_000_000;
  const open = (controller: string | undefined = 'central', random = 0) =>
    createController({
      controller,
      tokenPath,
      now: () => nowMs,
      random: () => random,
      deadlineMs,
      centralUrl: server.url,
    });
  const fails = (code: string, words: RegExp) => (error: unknown) => {
    assert.ok(error instanceof SystemError);
    assert.equal(error.code, code);
    assert.match(error.message, words);
    assert.ok(!JSON.stringify([error, error.message, String(error.cause)]).includes(secret));
    return true;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-controller-'));
    tokenPath = join(folder, 'token');
  });
  after(() => rm(folder, { recursive: true }));
  beforeEach(async () => {
    await writeFile(tokenPath, `${secret}\n`);
    server = await startBadHttpServer(central());
  });
  afterEach(() => server.close());

  test('asks nobody unless it is told to', bounded, () => {
    assert.deepEqual(open().read(), { members: {}, quietUntilMs: undefined });
    assert.equal(server.seen.length, 0);
  });

  test('knows a member that Central has not heard of from a network that it has not', bounded, async () => {
    const controller = open();
    await controller.look(networkId, address);
    assert.deepEqual(controller.read().members, { [networkId]: { kind: 'absent', atMs: nowMs } });
    await assert.rejects(
      controller.look('8056c2e21c0000aa', address),
      fails('controller-not-found', /no network 8056c2e21c0000aa/),
    );
  });

  test('reads a member of Central, from the two requests that it takes at most', bounded, async () => {
    server.behave(
      central(
        centralMember('edge-1', {
          authorized: true,
          lastAuthorizedTime: 7,
          lastDeauthorizedTime: 6,
          ipAssignments: ['fd00:0:0::9', '10.45.0.17'],
          noAutoAssignIps: true,
        }),
      ),
    );
    const controller = open();
    await controller.look(networkId, address);
    const member = {
      authorized: true,
      hasLeft: false,
      lastAuthorizedMs: 7,
      lastDeauthorizedMs: 6,
      name: 'edge-1',
      addresses: ['10.45.0.17', 'fd00::9'],
      noAutoAssignIps: true,
    };
    assert.deepEqual(controller.read().members[networkId], { kind: 'known', atMs: nowMs, member });
    assert.deepEqual(
      server.seen.map(({ method, path }) => [method, path]),
      [['GET', `/network/${networkId}/member/${address}`]],
    );
  });

  test('tells the node’s own leaving from what somebody did later', bounded, async () => {
    const leftFile = join(folder, 'left.json');
    const controller = createController({
      ...{ controller: 'central', tokenPath, leftFile, centralUrl: server.url },
      ...{ now: () => nowMs, random: () => 0 },
    });
    const hasLeft = async (config: object) => {
      server.behave(central(centralMember('edge-1', config)));
      await controller.look(networkId, address);
      const reading = controller.read().members[networkId];
      return reading?.kind === 'known' && reading.member.hasLeft;
    };
    assert.equal(await hasLeft({ lastDeauthorizedTime: 6 }), false);
    await writeFile(leftFile, JSON.stringify({ [networkId]: 6, other: 7 }));
    assert.equal(await hasLeft({ lastDeauthorizedTime: 6 }), true);
    assert.equal(await hasLeft({ lastDeauthorizedTime: 7 }), false);
    assert.equal(await hasLeft({ lastDeauthorizedTime: 6, authorized: true }), false);
    await writeFile(leftFile, 'garbage');
    assert.equal(await hasLeft({ lastDeauthorizedTime: 6 }), false);
  });

  test('authorises at Central with name, description and addresses in one request', bounded, async () => {
    const controller = open();
    const change = { authorized: true, name: 'edge-1', description: 'there', addresses: ['10.45.0.17'] };
    await controller.change(networkId, address, change);
    const [request] = server.seen;
    assert.equal(request?.method, 'POST');
    assert.equal(request.path, `/network/${networkId}/member/${address}`);
    assert.deepEqual(JSON.parse(request.body), {
      name: 'edge-1',
      description: 'there',
      config: { authorized: true, ipAssignments: ['10.45.0.17'], noAutoAssignIps: true },
    });
    const reading = controller.read().members[networkId];
    assert.ok(reading?.kind === 'known' && reading.member.authorized && reading.member.name === 'edge-1');
  });

  test('speaks to a controller’s own API with its token, below any path', bounded, async () => {
    server.behave(answerWith(200, JSON.stringify(localMember({ authorized: true, lastAuthorizedTime: 3 }))));
    const controller = open(`${server.url}/zt/`);
    await controller.change(networkId, address, { authorized: true, addresses: ['10.45.0.17'] });
    const [request] = server.seen;
    assert.equal(request?.path, `/zt/controller/network/${networkId}/member/${address}`);
    assert.equal(request.headers['x-zt1-auth'], secret);
    assert.equal(request.headers['content-length'], String(request.body.length));
    assert.deepEqual(JSON.parse(request.body), {
      authorized: true,
      ipAssignments: ['10.45.0.17'],
      noAutoAssignIps: true,
    });
    const reading = controller.read().members[networkId];
    assert.ok(reading?.kind === 'known');
    assert.equal(reading.member.name, undefined);
    assert.equal(reading.member.lastAuthorizedMs, 3);
  });

  test('takes a replaced token with the next question', bounded, async () => {
    await writeFile(tokenPath, 'withdrawn');
    const controller = open();
    await assert.rejects(controller.look(networkId, address), fails('controller-refused', /status 401/));
    await writeFile(tokenPath, secret);
    await controller.look(networkId, address);
  });

  for (const status of [401, 403]) {
    test(`calls ${status} a refusal, also for a change`, bounded, async () => {
      server.behave(answerWith(status, `{"message": "${secret}"}`));
      const words = new RegExp(`refuses the token \\(status ${status}\\)`);
      await assert.rejects(open().look(networkId, address), fails('controller-refused', words));
      const change = open().change(networkId, address, { authorized: true });
      await assert.rejects(change, fails('controller-refused', words));
    });
  }

  for (const [what, header, random, untilMs] of [
    ['in seconds', { 'Retry-After': '120' }, 0, nowMs + 120_000],
    ['spread, since many may be told the same', { 'Retry-After': '120' }, 0.5, nowMs + 150_000],
    ['not in words', {}, 0, nowMs + 30_000],
    ['in a language of its own', { 'Retry-After': '-1' }, 0, nowMs + 30_000],
    ['for years', { 'Retry-After': '999999999' }, 0, nowMs + 3_600_000],
    ['until long ago', { 'Retry-After': 'Wed, 21 Oct 2015 07:28:00 GMT' }, 0, nowMs],
  ] as const) {
    test(`tells until when a controller wants not to be asked: ${what}`, bounded, async () => {
      server.behave(answerWith(429, '', header));
      const controller = open('central', random);
      await assert.rejects(controller.look(networkId, address), fails('controller-busy', /429/));
      assert.equal(controller.read().quietUntilMs, untilMs);
    });
  }

  for (const [what, body] of [
    ['about another member', JSON.stringify({ ...centralMember(''), nodeId: 'beef26c292' })],
    ['without a word on whether it is authorised', JSON.stringify(centralMember('', { authorized: 'yes' }))],
    ['that is a list', '[]'],
    ['that is a page', '<html>sign in</html>'],
  ] as const) {
    test(`does not believe an answer ${what}`, bounded, async () => {
      server.behave(answerWith(200, body));
      const controller = open();
      await assert.rejects(controller.look(networkId, address), fails('controller-unexpected', /its answer/));
      assert.deepEqual(controller.read().members, {});
    });
  }

  for (const [what, text] of [
    ['missing', undefined],
    ['empty', ''],
    ['of two lines', `${secret}\n${secret}`],
    ['with a space', `token ${secret}`],
  ] as const) {
    test(`asks nobody with a token that is ${what}`, bounded, async () => {
      await (text === undefined ? rm(tokenPath) : writeFile(tokenPath, text));
      await assert.rejects(open().look(networkId, address), fails('controller-no-token', /token|secret/));
      assert.equal(server.seen.length, 0);
    });
  }

  test('names the drop-in where the credential was not passed on', bounded, async () => {
    const { read: _, ...controller } = createController({
      controller: 'central',
      tokenPath: undefined,
      now: () => nowMs,
      random: () => 0,
    });
    await assert.rejects(
      controller.look(networkId, address),
      fails('controller-no-token', /LoadCredential= to mooring\.service/),
    );
  });

  test('gives its token only to a server that this host trusts', bounded, async () => {
    const ca = identity('a CA');
    const tls = await startBadHttpServer(
      answerWith(200, JSON.stringify(localMember())),
      identity('127.0.0.1', ca, 'IP:127.0.0.1'),
    );
    try {
      const hostBundle = join(folder, 'trusted.crt');
      const options = {
        controller: tls.url,
        tokenPath,
        now: () => nowMs,
        random: () => 0,
        deadlineMs: 3_000,
      };
      await writeFile(hostBundle, identity('another CA').cert);
      const wary = createController({ ...options, hostBundle });
      await assert.rejects(wary.look(networkId, address), fails('controller-away', /certificate/));
      assert.equal(tls.seen.length, 0);
      await writeFile(hostBundle, ca.cert);
      await createController({ ...options, hostBundle }).look(networkId, address);
      assert.equal(tls.seen.length, 1);
    } finally {
      await tls.close();
    }
  });

  test('nobody listening is a controller that is away', bounded, async () => {
    await server.close();
    await assert.rejects(open().look(networkId, address), fails('controller-away', /refused/));
  });

  for (const { name, behave, error } of misbehaviours.filter((one) => one.name !== 'has no such path')) {
    test(`a controller that ${name} fails in time, and changes nothing that is known`, bounded, async () => {
      server.behave(behave);
      const startedAt = performance.now();
      const controller = open();
      await assert.rejects(controller.look(networkId, address), (thrown) => {
        assert.ok(thrown instanceof SystemError);
        assert.match(thrown.code, /^controller-(away|unexpected)$/);
        assert.match(thrown.message, error);
        return true;
      });
      await assert.rejects(controller.change(networkId, address, { authorized: true }), SystemError);
      assert.deepEqual(controller.read().members, {});
      assert.ok(performance.now() - startedAt < deadlineMs * 2 + 2000);
    });
  }
});
