/**
 * The ingress' config in the nginx of each Debian that it is for: the same config, asked the same questions, and reloaded
 * a hundred times under load.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type NginxConf, renderNginxConf } from '#src/agent/render/nginx-conf.ts';
import { nginxSize } from '#src/agent/render/nginx-size.ts';
import { readGeneration } from '#src/systems/nginx/generation.ts';
import { readMachine } from '#src/systems/nginx/machine.ts';
import { createSessionCounts } from '#src/systems/nginx/sessions.ts';
import type { SessionCounts } from '#src/systems/nginx/types.ts';
import { aConfig } from '../support/world.ts';
import { Client } from './client.ts';
import { layNginxRoot, type NginxSuite, nginxSuites, nginxVersion } from './nginx-root.ts';
import { waitFor } from './process.ts';
import { type Background, Run } from './run.ts';

const upstreamProgram = join(import.meta.dirname, 'nginx-upstream.ts');
const upstream = '127.0.0.1:31693';
const entries = [
  { name: 'http', listen: 8080, upstreams: [upstream], proxyProtocol: 'v1' },
  { name: 'spare', listen: 8081, upstreams: ['127.0.0.1:1', { address: upstream, backup: true }] },
  { name: 'denied', listen: 8082, upstreams: [upstream], deny: ['127.0.0.5'] },
  { name: 'single', listen: 8083, upstreams: [upstream], connectionsPerClient: 1 },
  { name: 'quic', listen: 8443, protocol: 'udp', upstreams: [upstream] },
  { name: 'inside', listen: 8081, addresses: 'zerotier', upstreams: [upstream], proxyProtocol: 'v1' },
  { name: 'named', listen: 8084, addresses: '127.0.0.2', upstreams: [upstream] },
  { name: 'quic-inside', listen: 8444, protocol: 'udp', addresses: 'zerotier', upstreams: [upstream] },
];
/** Every address of 127.0.0.0/8 is this host's; this one plays ZeroTier's, and the other one that does not exist. */
const [zerotiers, nowhere] = ['127.9.9.9', 'fd45::7'];
const host = {
  ipv6: true,
  size: nginxSize(aConfig().nginx, readMachine()),
  addresses: { here: ['127.0.0.2', zerotiers], defaultRoute: [], zerotier: [zerotiers, nowhere] },
};

/** The config, which differs by how long a connection may idle. */
const render = (idleTimeout = '1h'): NginxConf =>
  renderNginxConf(aConfig({ ingress: entries.map((entry) => ({ ...entry, idleTimeout })) }).ingress, host);

/** What Debian had of nginx when this was written, or later: another major version wants another look. */
const versions: Readonly<Record<NginxSuite, RegExp>> = {
  bookworm: /^1\.22\./,
  trixie: /^1\.26\./,
  sid: /^1\.(2[89]|[3-9]\d)\./,
};

/** nginx in a root and a network of its own, with its upstream beside it. */
class Scene {
  readonly run = Run.open();
  readonly netns = `${this.run.id}-nginx`;
  readonly root = join(this.run.dir, 'root');
  readonly client = new Client(this.run, this.netns, '127.0.0.1');
  private nginx: Background | undefined;
  private counts: SessionCounts | undefined;

  async open(suite: NginxSuite): Promise<void> {
    const { run, netns, root } = this;
    const place = { part: 'nginx' };
    assert.equal(await layNginxRoot(suite, run), root);
    await run.run(['ip', 'netns', 'add', netns], place);
    await run.run(['ip', '-n', netns, 'link', 'set', 'lo', 'up'], place);
    run.start('upstream', [process.execPath, upstreamProgram, '31693'], { netns, part: 'upstream' });
    const asked = ['curl', '-sS', '--max-time', '1', `http://${upstream}/`];
    await waitFor('the upstream to answer', () => this.client.run(asked), { timeoutMs: 10_000 });
    const conf = render();
    await this.write(conf);
    const nginx = ['/usr/sbin/nginx', '-e', 'stderr', '-c', '/etc/ingress.conf'];
    const settings = ['-g', 'daemon off; pid /run/mooring-ingress/nginx.pid;'];
    this.nginx = run.start('nginx', ['chroot', root, ...nginx, ...settings], { netns, part: 'nginx' });
    await this.serves(conf);
  }

  async write({ text }: NginxConf): Promise<void> {
    await writeFile(join(this.root, 'etc/ingress.conf'), text);
  }

  /** Waits until the workers answer with the config's generation. */
  async serves({ generation }: NginxConf): Promise<void> {
    const socket = join(this.root, 'run/mooring-ingress/generation.sock');
    await waitFor(
      'nginx to serve the config',
      async () => (await readGeneration(socket, 500)) === generation,
      {
        timeoutMs: 10_000,
        everyMs: 5,
        context: () => this.log(),
      },
    );
  }

  /** Puts the config in place and has it taken over. */
  async reload(conf: NginxConf): Promise<void> {
    await this.write(conf);
    const pid = await readFile(join(this.root, 'run/mooring-ingress/nginx.pid'), 'utf8');
    process.kill(Number(pid), 'SIGHUP');
    await this.serves(conf);
  }

  /** Sessions over TCP so far, by listener, as mooring reads them; nginx writes them down within a second. */
  async sessions(): Promise<Readonly<Record<string, Readonly<Record<string, number>>>>> {
    this.counts ??= createSessionCounts({
      log: (_, message) => assert.fail(message),
      now: () => performance.now(),
      logPath: join(this.root, 'run/mooring-ingress/sessions.log'),
      configPath: join(this.root, 'etc/ingress.conf'),
      keptPath: join(this.run.dir, 'kept.json'),
      ss: ['true'],
    });
    const figures = await this.counts.read();
    assert.equal(this.counts.discardedLines, 0);
    return Object.fromEntries(figures.map(({ name, sessions }) => [name, sessions]));
  }

  log(): Promise<string> {
    assert.ok(this.nginx, 'nginx was started');
    return this.nginx.log();
  }
}

for (const suite of nginxSuites) {
  describe(`the ingress' config in the nginx of ${suite}`, () => {
    const scene = new Scene();
    before(() => scene.open(suite));
    after(() => scene.run.end());

    const { client } = scene;
    const curl = (port: number, ...more: string[]) =>
      client.tryRun(['curl', '-sS', '--max-time', '5', ...more, `http://127.0.0.1:${port}/`]);

    test('is the version that it is meant for', async (t) => {
      const version = await nginxVersion(scene.root, scene.run);
      t.diagnostic(`nginx ${version}`);
      assert.match(version, versions[suite]);
    });

    test('tells the upstream who the client is', async () => {
      const { stdout } = await curl(8080, '--interface', '127.0.0.7');
      assert.match(stdout, /^traefik: PROXY TCP4 127\.0\.0\.7 127\.0\.0\.1 \d+ 8080$/);
    });

    test('turns to the backup where nobody listens, without a header that nobody asked for', async () => {
      assert.equal((await curl(8081)).stdout, 'traefik: no header');
    });

    test('turns away whom it denies and nobody else', async () => {
      const denied = await curl(8082, '--interface', '127.0.0.5');
      assert.notEqual(denied.exitCode, 0);
      assert.equal(denied.stdout, '');
      assert.match((await curl(8082, '--interface', '127.0.0.6')).stdout, /^traefik/);
    });

    test('holds a client to its number of connections, and others do not suffer', async () => {
      const script = `
import socket
def ask(source):
    s = socket.create_connection(('127.0.0.1', 8083), 5, (source, 0))
    return s
held = ask('127.0.0.5')
held.sendall(b'GET / HTTP/1.1\\r\\n')
second = ask('127.0.0.5')
second.settimeout(5)
try: print('second', second.recv(100))
except ConnectionResetError: print('second', b'')
other = ask('127.0.0.6')
other.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')
print('other', other.recv(12))
held.sendall(b'\\r\\n')
print('held', held.recv(12))
`;
      const told = await client.run(['python3', '-c', script]);
      assert.equal(told.trim(), "second b''\nother b'HTTP/1.1 200'\nheld b'HTTP/1.1 200'");
    });

    test('carries datagrams both ways', async () => {
      assert.equal(await client.udpEcho(8443, 'ahoy'), 'ahoy');
    });

    test('tells one address from another, whether it has a socket of its own or not', async () => {
      const at = (address: string, port: number) =>
        client.tryRun(['curl', '-sS', '--max-time', '5', `http://${address}:${port}/`]);
      const inside = new Client(scene.run, scene.netns, zerotiers);
      const turnedAway = await at(zerotiers, 8080);
      assert.notEqual(turnedAway.exitCode, 0);
      assert.match(turnedAway.stderr, /Empty reply|reset/);
      await assert.rejects(inside.udpEcho(8443, 'ahoy', 300));
      assert.match((await at(zerotiers, 8081)).stdout, /PROXY TCP4 \S+ 127\.9\.9\.9 /);
      assert.equal((await at('127.0.0.3', 8081)).stdout, 'traefik: no header');
      assert.equal((await at('127.0.0.2', 8084)).stdout, 'traefik: no header');
      assert.match((await at('127.0.0.3', 8084)).stderr, /refused|Couldn't connect/);
      assert.equal(await inside.udpEcho(8444, 'ahoy'), 'ahoy');
      await assert.rejects(client.udpEcho(8444, 'ahoy', 300));
      assert.doesNotMatch(await scene.log(), /access forbidden by rule.*127\.9\.9\.9/);
    });

    test('is taken over a hundred times under load, and nobody is turned away', async (t) => {
      const [one, other] = [render('2h'), render()];
      const knocking = client.knock({ a: 'http:8080', b: 'http:8080', c: 'http:8081', quic: 'udp:8443' });
      await knocking.more(20);
      for (let i = 0; i < 50; i += 1) {
        await scene.reload(one);
        await scene.reload(other);
      }
      await knocking.more(5);
      const knocks = await knocking.stop();
      const lost = knocks.filter(({ ok, said }) => !ok || !(said === 'knock' || said.startsWith('traefik')));
      t.diagnostic(`${knocks.length} knocks, ${lost.length} lost`);
      assert.ok(knocks.length > 400, `only ${knocks.length} knocks in 100 reloads`);
      assert.deepEqual(lost, []);
      // Also those that ended with the workers of former reloads. The tests before this one came a few times as well.
      for (const [listener, doors] of [
        ['http', ['a', 'b']],
        ['spare', ['c']],
      ] as const) {
        const answered = knocks.filter(({ door }) => doors.some((one) => one === door)).length;
        const counted = await waitFor(
          `${answered} sessions to be written down`,
          async () => {
            const number = (await scene.sessions())[listener]?.['ok'] ?? 0;
            return number >= answered ? number : undefined;
          },
          { timeoutMs: 5_000 },
        );
        assert.ok(counted <= answered + 10, `${counted} sessions, and ${answered} knocks`);
      }
    });

    test('goes on with a session over UDP through reloads, short of answers under way', async (t) => {
      const script = `
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('127.0.0.1', 8443))
s.settimeout(0.25)
end = time.monotonic() + 3
sent = lost = 0
while time.monotonic() < end:
    sent += 1
    s.send(b'%d' % sent)
    try:
        while s.recv(100) != b'%d' % sent: pass
        last = sent
    except TimeoutError: lost += 1
    time.sleep(0.01)
print(sent, lost, last)
`;
      const session = client.run(['python3', '-c', script]);
      let isOver = false;
      let reloads = 0;
      const counted = session.finally(() => {
        isOver = true;
      });
      counted.catch(() => undefined);
      for (; !isOver; reloads += 1) await scene.reload(render(`${(reloads % 9) + 1}h`));
      const [sent = 0, lost = 0, last = 0] = (await counted).trim().split(' ').map(Number);
      t.diagnostic(`${sent} datagrams, ${lost} without an answer, in ${reloads} reloads`);
      assert.ok(reloads > 5 && sent > 20, `${sent} datagrams in ${reloads} reloads prove nothing`);
      assert.ok(lost <= reloads, 'more was lost than one answer a reload');
      assert.ok(last >= sent - 1, 'the session is dead in the end');
    });

    test('gives nginx no reason to complain', async () => {
      const complaints = (await scene.log())
        .split('\n')
        .filter((line) => /\[(alert|crit|emerg)\]/.test(line));
      assert.deepEqual(complaints, []);
    });
  });
}
