/** The client of zerotier-one's local API against servers that answer as 1.14.1 does, and against ones that misbehave. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { SystemError } from '../../../src/systems/error.ts';
import { createZeroTier, type ZeroTierClient } from '../../../src/systems/zerotier/zerotier.ts';
import {
  answerWith,
  type BadHttpServer,
  type Behaviour,
  inTurn,
  misbehaviours,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { networkAnswer, networkId, peerAnswer, statusAnswer } from '../../support/zerotier-answers.ts';

const bounded = { timeout: 10_000 };
const deadlineMs = 300;

/** zerotier-one with one joined network; `token` is the one it accepts. */
const zerotierOne =
  (token: string): Behaviour =>
  (request, response, socket) => {
    const answers: Readonly<Record<string, unknown>> = {
      'GET /status': statusAnswer(),
      'GET /network': [networkAnswer()],
      'GET /peer': peerAnswer(),
      [`GET /network/${networkId}`]: { ...networkAnswer(), allowGlobal: true },
      [`POST /network/${networkId}`]: networkAnswer(),
      [`DELETE /network/${networkId}`]: { result: true },
      'POST /config/settings': {},
    };
    const answer = answers[`${request.method} ${request.path}`];
    if (request.headers['x-zt1-auth'] !== token) answerWith(401, '{}')(request, response, socket);
    else if (answer === undefined) answerWith(404, '')(request, response, socket);
    else answerWith(200, JSON.stringify(answer))(request, response, socket);
  };

describe('zerotier-one’s local API', () => {
  let folder: string;
  let tokenFile: string;
  let server: BadHttpServer;
  let zerotier: ZeroTierClient;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-zerotier-'));
    tokenFile = join(folder, 'authtoken.secret');
  });
  after(() => rm(folder, { recursive: true }));
  beforeEach(async () => {
    await writeFile(tokenFile, 'k3yk3yk3y');
    server = await startBadHttpServer(zerotierOne('k3yk3yk3y'));
    zerotier = createZeroTier({ tokenFile, baseUrl: server.url, deadlineMs });
  });
  afterEach(async () => {
    await zerotier.close();
    await server.close();
  });

  test('a reading holds the node, its networks and the controller’s freshness', bounded, async () => {
    const reading = await zerotier.read();
    assert.equal(reading.kind, 'answered');
    assert.deepEqual(
      reading.networks.map((network) => [network.id, network.status, network.portDeviceName]),
      [[networkId, 'OK', 'zt5z3ovhj4']],
    );
    assert.deepEqual(reading.peers, [{ address: '734bea9d3d', lastReceiveAgeMs: 2542 }]);
    assert.deepEqual(server.seen.map((request) => request.path).sort(), ['/network', '/peer', '/status']);
  });

  test('a join carries a body, since zerotier-one waits five seconds for one', bounded, async () => {
    await zerotier.join(networkId);
    assert.deepEqual(
      server.seen.map(({ method, path, body, headers }) => [method, path, body, headers['content-length']]),
      [['POST', `/network/${networkId}`, '{}', '2']],
    );
  });

  test('a join answered without a network says that there is no tun device', bounded, async () => {
    server.behave(answerWith(200, '{}'));
    await assert.rejects(zerotier.join(networkId), (error) => {
      assert.ok(error instanceof SystemError);
      assert.equal(error.code, 'zerotier-join-refused');
      assert.match(error.message, /\/dev\/net\/tun/);
      return true;
    });
  });

  test('leaving a network that is not joined is fine', bounded, async () => {
    server.behave(answerWith(200, '{}'));
    await zerotier.leave(networkId);
    assert.deepEqual(
      server.seen.map(({ method, path }) => [method, path]),
      [['DELETE', `/network/${networkId}`]],
    );
  });

  test('a network that is left and joined keeps the settings that a person gave it', bounded, async () => {
    await zerotier.rejoin(networkId);
    const path = `/network/${networkId}`;
    assert.deepEqual(
      server.seen.map((request) => [request.method, request.path]),
      [
        ['GET', path],
        ['DELETE', path],
        ['POST', path],
      ],
    );
    assert.deepEqual(JSON.parse(server.seen[2]?.body ?? ''), {
      allowManaged: true,
      allowGlobal: true,
      allowDefault: false,
      allowDNS: false,
    });
  });

  test('a network that is not joined is not left and joined', bounded, async () => {
    server.behave(answerWith(404, '{}'));
    await assert.rejects(zerotier.rejoin(networkId), { code: 'zerotier-unexpected' });
    assert.deepEqual(
      server.seen.map(({ method }) => method),
      ['GET'],
    );
  });

  test('the blacklist is posted as the settings that ZeroTier merges', bounded, async () => {
    await zerotier.setInterfacePrefixBlacklist(['flannel', 'cni']);
    assert.deepEqual(
      server.seen.map(({ method, path, body }) => [method, path, JSON.parse(body)]),
      [['POST', '/config/settings', { interfacePrefixBlacklist: ['flannel', 'cni'] }]],
    );
  });

  test('nothing but a network id gets into a path', bounded, async () => {
    await assert.rejects(zerotier.leave('../controller'), { code: 'zerotier-bad-network' });
    assert.equal(server.seen.length, 0);
  });

  test('no token file, an empty one and no file name all read as no token', bounded, async () => {
    await writeFile(tokenFile, '');
    assert.deepEqual(await zerotier.read(), { kind: 'no-token' });
    await rm(tokenFile);
    assert.deepEqual(await zerotier.read(), { kind: 'no-token' });
    const nameless = createZeroTier({ tokenFile: undefined, baseUrl: server.url, deadlineMs });
    assert.deepEqual(await nameless.read(), { kind: 'no-token' });
    await nameless.close();
    await assert.rejects(zerotier.join(networkId), { code: 'zerotier-no-token' });
    assert.equal(server.seen.length, 0);
  });

  test('a replaced token is picked up within the same reading', bounded, async () => {
    assert.equal((await zerotier.read()).kind, 'answered');
    server.behave(zerotierOne('newkey'));
    await writeFile(tokenFile, 'newkey\n');
    assert.equal((await zerotier.read()).kind, 'answered');
  });

  test('a refused token is told apart from a node that is away', bounded, async () => {
    server.behave(zerotierOne('another'));
    assert.deepEqual(await zerotier.read(), { kind: 'unauthorized' });
    await assert.rejects(zerotier.join(networkId), { code: 'zerotier-unauthorized' });
  });

  test('a token never shows in an error', bounded, async () => {
    await writeFile(tokenFile, 'two\nlines-of-secret');
    const reading = await zerotier.read();
    assert.equal(reading.kind, 'unreachable');
    assert.doesNotMatch(reading.error, /secret$|lines-of/);
  });

  test('nobody listening reads as unreachable', bounded, async () => {
    await server.close();
    const reading = await zerotier.read();
    assert.equal(reading.kind, 'unreachable');
    assert.match(reading.error, /connection refused/);
  });

  test('a port taken by another program is told', bounded, async () => {
    server.behave(answerWith(200, '<html>hello</html>'));
    const reading = await zerotier.read();
    assert.equal(reading.kind, 'unreachable');
    assert.match(reading.error, /no JSON/);
  });

  test('a fault in one of the three answers fails the reading as a whole', bounded, async () => {
    server.behave((request, response, socket) =>
      (request.path === '/peer' ? answerWith(500, '{}') : zerotierOne('k3yk3yk3y'))(
        request,
        response,
        socket,
      ),
    );
    const reading = await zerotier.read();
    assert.equal(reading.kind, 'unreachable');
    assert.match(reading.error, /\/peer with status 500/);
  });

  test('closing ends a reading that hangs', bounded, async () => {
    const asked = Promise.withResolvers<void>();
    server.behave(() => asked.resolve());
    const patient = createZeroTier({ tokenFile, baseUrl: server.url, deadlineMs: 60_000 });
    const reading = patient.read();
    await asked.promise;
    await patient.close();
    assert.equal((await reading).kind, 'unreachable');
  });

  for (const { name, behave, error } of misbehaviours) {
    test(
      `a server that ${name} makes a reading unreachable and a verb fail, both in time`,
      bounded,
      async () => {
        server.behave(behave);
        const startedAt = performance.now();
        const reading = await zerotier.read();
        assert.equal(reading.kind, 'unreachable');
        assert.match(reading.error, error);
        await assert.rejects(zerotier.join(networkId), (thrown) => {
          assert.ok(thrown instanceof SystemError);
          assert.match(thrown.message, error);
          return true;
        });
        assert.ok(performance.now() - startedAt < deadlineMs * 2 + 2000);
      },
    );
  }

  test('a server that comes to its senses is believed again', bounded, async () => {
    const three = [answerWith(500, ''), answerWith(500, ''), answerWith(500, '')] as const;
    server.behave(inTurn(...three, zerotierOne('k3yk3yk3y')));
    assert.equal((await zerotier.read()).kind, 'unreachable');
    assert.equal((await zerotier.read()).kind, 'answered');
  });
});
