/** The question to the k3s server against servers that answer as k3s does, against wrong ones, and against ones that misbehave. */
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { createAskServer, type ServerAnswer, type ServerOptions } from '#src/systems/home/ask-server.ts';
import { caHash, tokenCaHash } from '#src/systems/home/ca-hash.ts';
import {
  answerWith,
  type BadHttpServer,
  type Behaviour,
  misbehaviours,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { identity } from '../../support/certificates.ts';

const bounded = { timeout: 10_000 };
const never = new AbortController().signal;
const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex');
const secret = 'K10-secret-password';

const ca = identity('home-ca');
const otherCa = identity('other-ca');
const server = identity('k3s', ca, 'IP:127.0.0.1,DNS:localhost');

/** A server as k3s is one, with this bundle. */
const k3s =
  (bundle: string): Behaviour =>
  (request, response, socket) =>
    answerWith(...answerOf(request.path, bundle))(request, response, socket);
function answerOf(path: string, bundle: string): [number, string] {
  if (path === '/ping') return [200, 'pong'];
  return path === '/cacerts' ? [200, bundle] : [401, 'unauthorized'];
}

describe('the question to the k3s server', () => {
  let folder: string;
  let tokenPath: string;
  const servers: BadHttpServer[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-home-'));
    tokenPath = join(folder, 'token');
  });
  after(() => rm(folder, { recursive: true }));
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((one) => one.close()));
  });

  async function serve(behaviour: Behaviour, as = server): Promise<BadHttpServer> {
    const started = await startBadHttpServer(behaviour, as);
    servers.push(started);
    return started;
  }
  const token = (hash: string) => writeFile(tokenPath, `K10${hash}::server:${secret}\n`, { mode: 0o600 });
  const asker = (url: string, options: Partial<ServerOptions> = {}) =>
    createAskServer({
      server: url,
      tokenPath,
      deadlineMs: 1_000,
      hostBundle: join(folder, 'no-bundle'),
      ...options,
    });
  const brief = (answer: ServerAnswer) => {
    switch (answer.kind) {
      case 'reachable':
        return `reachable ${answer.trust}`;
      case 'unreachable':
        return `unreachable ${answer.stage}${answer.heard ? ' heard' : ''}: ${answer.error}`;
      default:
        return `untrusted ${answer.reason}: ${answer.error}`;
    }
  };

  test(
    'verifies the CA by the hash of the token, and from then on takes one connection',
    bounded,
    async () => {
      const home = await serve(k3s(ca.cert));
      await token(sha256(ca.cert));
      const ask = asker(home.url);
      const first = await ask(never);
      assert.equal(brief(first), 'reachable verified');
      assert.ok(first.kind === 'reachable' && first.latencyMs >= 0 && first.latencyMs < 1_000);
      const before = home.seen.length;
      assert.equal(brief(await ask(never)), 'reachable verified');
      assert.deepEqual(
        home.seen.slice(before).map((request) => request.path),
        ['/ping'],
      );
    },
  );

  test('looks up a name, and judges the certificate by it', bounded, async () => {
    const home = await serve(k3s(ca.cert));
    await token(sha256(ca.cert));
    assert.equal(brief(await asker(home.url.replace('127.0.0.1', 'localhost'))(never)), 'reachable verified');
    home.behave(k3s(ca.cert));
    const nameless = await serve(k3s(ca.cert), identity('k3s', ca, 'DNS:elsewhere.example'));
    assert.match(brief(await asker(nameless.url)(never)), /^untrusted certificate: .*ALTNAME/);
  });

  test('gives nobody the token, or any other header that tells who asks', bounded, async () => {
    const home = await serve(k3s(ca.cert));
    await token(sha256(ca.cert));
    await asker(home.url)(never);
    await token(sha256(otherCa.cert));
    await asker(home.url)(never);
    assert.ok(home.seen.length >= 4);
    for (const request of home.seen) {
      assert.equal(request.body, '');
      assert.deepEqual(Object.keys(request.headers).sort(), ['connection', 'host']);
    }
  });

  test('tells a server with another CA, and one that only shows the right one', bounded, async () => {
    const wrong = await serve(k3s(otherCa.cert), identity('k3s', otherCa, 'IP:127.0.0.1'));
    await token(sha256(ca.cert));
    const ask = asker(wrong.url);
    assert.equal(brief(await ask(never)), 'untrusted ca: its CA is not the one that the token names');
    wrong.behave(k3s(ca.cert));
    assert.match(brief(await ask(never)), /^untrusted certificate: /);
  });

  test('notices a server that is another one from one question to the next', bounded, async () => {
    const home = await serve(k3s(ca.cert));
    await token(sha256(ca.cert));
    const ask = asker(home.url);
    assert.equal(brief(await ask(never)), 'reachable verified');
    await token(sha256(otherCa.cert));
    assert.match(brief(await ask(never)), /^untrusted ca: /);
    await token(sha256(ca.cert));
    assert.equal(brief(await ask(never)), 'reachable verified');
  });

  test('takes a server that this host trusts, as k3s does', bounded, async () => {
    const publicServer = await serve(k3s(''), identity('k3s', otherCa, 'IP:127.0.0.1'));
    await token(sha256(ca.cert));
    const hostBundle = join(folder, 'bundle');
    await writeFile(hostBundle, otherCa.cert);
    assert.equal(brief(await asker(publicServer.url, { hostBundle })(never)), 'reachable verified');
  });

  test('takes a damaged bundle of this host for none', bounded, async () => {
    const wrong = await serve(k3s(''), identity('k3s', otherCa, 'IP:127.0.0.1'));
    await token(sha256(ca.cert));
    const hostBundle = join(folder, 'damaged');
    await writeFile(hostBundle, otherCa.cert.replace(/\n.{10}/, '\nAAAAAAAAAA'));
    assert.match(brief(await asker(wrong.url, { hostBundle })(never)), /^untrusted ca/);
  });

  test('says that nothing was checked where the token has no hash, or cannot be read', bounded, async () => {
    const home = await serve(k3s(otherCa.cert));
    for (const text of [secret, `K10::server:${secret}`, 'abcdef.0123456789abcdef'])
      await writeFile(tokenPath, text).then(async () => {
        assert.equal(brief(await asker(home.url)(never)), 'reachable no-hash');
      });
    assert.equal(
      brief(await asker(home.url, { tokenPath: join(folder, 'none') })(never)),
      'reachable no-token',
    );
    assert.equal(
      brief(await createAskServer({ server: home.url, tokenPath: undefined, deadlineMs: 1_000 })(never)),
      'reachable no-token',
    );
  });

  // Node.js cannot reset a connection below TLS; that is among the ways of how far a question comes.
  for (const { name, behave, error } of misbehaviours.filter((one) => !one.name.startsWith('resets'))) {
    test(`is not taken in by a server that ${name}`, bounded, async () => {
      const home = await serve(behave);
      for (const text of [secret, `K10${sha256(ca.cert)}::server:${secret}`]) {
        await writeFile(tokenPath, text);
        const answer = await asker(home.url, { deadlineMs: 400 })(never);
        assert.ok(answer.kind === 'unreachable', brief(answer));
        assert.equal(answer.stage, 'http', brief(answer));
        assert.equal(answer.heard, true);
        assert.match(`${answer.error} no valid instanceId`, error);
        assert.doesNotMatch(answer.error, new RegExp(secret));
      }
    });
  }

  test('is not taken in by something else that answers', bounded, async () => {
    const other = await serve(answerWith(200, '<html>pong</html>'));
    await writeFile(tokenPath, secret);
    assert.match(brief(await asker(other.url)(never)), /^unreachable http heard: .*something else/);
    await token(sha256(ca.cert));
    assert.match(brief(await asker(other.url)(never)), /^untrusted ca/);
  });

  test('tells how far it came', bounded, async () => {
    await writeFile(tokenPath, secret);
    const plain = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.resume().end('SSH-2.0-OpenSSH_9.2p1\r\n');
    });
    const silent = createServer((socket) => socket.on('error', () => undefined));
    const resetting = createServer((socket) => socket.on('error', () => undefined).resetAndDestroy());
    const portOf = async (one: typeof plain) => {
      await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
      const address = one.address();
      return typeof address === 'object' ? address?.port : undefined;
    };
    const short = { deadlineMs: 300 };
    const at = (port: number | undefined) => asker(`https://127.0.0.1:${port}`, short)(never);
    try {
      const [plainPort, silentPort, resettingPort] = [
        await portOf(plain),
        await portOf(silent),
        await portOf(resetting),
      ];
      assert.match(brief(await at(plainPort)), /^unreachable tls heard: it does not speak TLS/);
      assert.match(brief(await at(silentPort)), /^unreachable tls heard: no answer within 300 ms/);
      assert.match(
        brief(await at(resettingPort)),
        /^unreachable (connect|tls) heard: connection (reset|ended)/,
      );
      await new Promise((resolve) => plain.close(resolve));
      assert.match(brief(await at(plainPort)), /^unreachable connect heard: connection refused/);
    } finally {
      plain.close();
      silent.close();
      resetting.close();
    }
    assert.match(
      brief(await asker('https://k3s.invalid:6443')(never)),
      /^unreachable dns: (nobody knows the name k3s.invalid|its name cannot be looked up|no answer within)/,
    );
  });

  test('ends at once when mooring ends', bounded, async () => {
    const home = await serve(() => undefined);
    await writeFile(tokenPath, secret);
    const ending = new AbortController();
    const answer = asker(home.url, { deadlineMs: 60_000 })(ending.signal);
    setImmediate(() => ending.abort());
    assert.equal((await answer).kind, 'unreachable');
  });
});

describe("a CA's hash", () => {
  const raw = (pem: string) => new X509Certificate(pem).raw;

  test('is of the bytes of the file for one certificate, whatever stands around it', () => {
    assert.equal(caHash(Buffer.from(ca.cert)), sha256(ca.cert));
    assert.equal(caHash(Buffer.from(`${ca.cert}\n`)), sha256(`${ca.cert}\n`));
  });

  test("is of the root's DER for several, so that those below it can change", () => {
    const intermediate = identity('intermediate', ca);
    const below = identity('server-ca', intermediate);
    for (const bundle of [
      intermediate.cert + ca.cert,
      below.cert + intermediate.cert + ca.cert,
      below.cert + otherCa.cert + ca.cert + intermediate.cert,
    ])
      assert.equal(caHash(Buffer.from(bundle)), sha256(raw(ca.cert)));
  });

  test('is of the bytes where several do not belong together', () => {
    const bundle = ca.cert + otherCa.cert;
    assert.equal(caHash(Buffer.from(bundle)), sha256(bundle));
  });

  test('is none where there is no certificate', () => {
    const damaged = ca.cert.replace(/\n.{10}/, '\nAAAAAAAAAA');
    for (const text of ['', 'pong', damaged]) assert.equal(caHash(Buffer.from(text)), undefined);
  });

  test('is found in a full token alone', () => {
    assert.equal(tokenCaHash(`K10${'a'.repeat(64)}::server:x`), 'a'.repeat(64));
    for (const text of ['', 'plain', 'K10', 'K10plain', 'K10::server:x', 'abcdef.0123456789abcdef'])
      assert.equal(tokenCaHash(text), undefined, text);
  });
});
