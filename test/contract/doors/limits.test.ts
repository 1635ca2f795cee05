/**
 * The limits of new connections by the real kernel and nft. The file runs its tests in a network namespace of its own with clients
 * beside it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { renderLimits } from '../../../src/agent/render/nft-limits.ts';
import { renderNginxConf } from '../../../src/agent/render/nginx-conf.ts';
import { listensOf } from '../../../src/agent/render/nginx-listens.ts';
import { inOwnNamespaces } from '../../support/own-namespaces.ts';
import { aConfig, aHost } from '../../support/world.ts';

const bounded = { timeout: 20_000 };
const sh = (command: string) => execFileSync('sh', ['-ec', command], { encoding: 'utf8', timeout: 10_000 });

/** Rules for port 80, TCP and UDP, of five connections an hour. */
function load(newConnectionsPerClient: unknown = '5/1h'): void {
  const upstreams = ['127.0.0.1:31693'];
  const { ingress } = aConfig({
    ingress: [
      { name: 'http', listen: 80, upstreams, newConnectionsPerClient },
      { name: 'quic', listen: 80, protocol: 'udp', upstreams, newConnectionsPerClient },
      { name: 'free', listen: 81, upstreams },
    ],
  });
  const text = renderLimits(ingress, listensOf(renderNginxConf(ingress, aHost).text));
  assert.ok(text !== undefined);
  writeFileSync('/run/limits.nft', text);
  sh('nft -c -f /run/limits.nft && nft -f /run/limits.nft');
}

const client = `
import socket, sys
way, source, target, port, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
family = socket.AF_INET6 if ':' in target else socket.AF_INET
kind = socket.SOCK_DGRAM if way == 'udp' else socket.SOCK_STREAM
heard, held = 0, []
for _ in range(count):
    s = socket.socket(family, kind); s.settimeout(0.2); held.append(s)
    try:
        s.bind((source, 0)); s.connect((target, port)); s.send(b'x'); s.recv(1); heard += 1
    except OSError: pass
print(heard)
`;

/** How many of `count` new connections are answered. */
const heard = async (source: string, target: string, port = 80, count = 8, way = 'tcp') => {
  const place = source.startsWith('127.') ? [] : ['ip', 'netns', 'exec', 'client'];
  const [program = '', ...args] = [...place, 'python3', '-c', client, way, source, target];
  const run = spawn(program, [...args, String(port), String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  run.stdout.on('data', (chunk) => {
    said += chunk;
  });
  await once(run, 'close');
  return Number(said);
};

function tests(): void {
  const servers: Server[] = [];
  let udp: ChildProcess | undefined;
  before(async () => {
    sh('ip netns add client && ip link add eth0 type veth peer name eth0 netns client');
    sh('ip link set eth0 up && ip -n client link set eth0 up && ip -n client link set lo up');
    sh('ip addr add 10.99.0.2/24 dev eth0 && ip addr add fd99::2/48 dev eth0 nodad');
    for (const address of ['10.99.0.8/24', '10.99.0.9/24', 'fd99::8/48', 'fd99::9/48', 'fd99:0:0:1::8/48'])
      sh(`ip -n client addr add ${address} dev eth0 ${address.includes(':') ? 'nodad' : ''}`);
    for (const port of [80, 81]) {
      const server = createServer((socket) => socket.on('error', () => undefined).end('x'));
      servers.push(server.listen(port, '::'));
      await once(server, 'listening');
    }
    const echo =
      'import socket\ns=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); s.bind(("::",80))\nprint("up",flush=True)\nwhile True: s.sendto(*s.recvfrom(9))';
    udp = spawn('python3', ['-c', echo]);
    assert.ok(udp.stdout !== null);
    await once(udp.stdout, 'data');
    sh(
      'nft add table inet theirs && nft add set inet theirs kept "{ type ipv4_addr; elements = { 10.1.1.1 }; }"',
    );
  });
  after(() => {
    udp?.kill();
    for (const server of servers) server.close();
  });

  describe('a client that opens connections too fast', () => {
    test('is turned away beyond its burst, while others and other ports are served', bounded, async () => {
      assert.equal(await heard('10.99.0.9', '10.99.0.2'), 8, 'without the rules it is not');
      load();
      assert.equal(await heard('10.99.0.9', '10.99.0.2'), 5);
      assert.equal(await heard('10.99.0.9', '10.99.0.2'), 0);
      assert.equal(await heard('10.99.0.8', '10.99.0.2', 80, 5), 5);
      assert.equal(await heard('10.99.0.9', '10.99.0.2', 81), 8);
    });

    test('is a whole /64 over IPv6, and none of it over loopback', bounded, async () => {
      load();
      assert.equal(await heard('fd99::8', 'fd99::2'), 5);
      assert.equal(await heard('fd99::9', 'fd99::2', 80, 2), 0);
      assert.equal(await heard('fd99:0:0:1::8', 'fd99::2', 80, 5), 5);
      assert.equal(await heard('127.0.0.1', '10.99.0.2'), 8);
    });

    test('is turned away over UDP by its flows, not by their datagrams', bounded, async () => {
      load({ rate: '5/1h', burst: 100 });
      assert.equal(await heard('10.99.0.9', '10.99.0.2', 80, 8, 'udp'), 8);
      load();
      assert.equal(await heard('10.99.0.9', '10.99.0.2', 80, 8, 'udp'), 5);
    });

    test('comes in again as its allowance fills up', bounded, async () => {
      load({ rate: '4/1s', burst: 2 });
      assert.equal(await heard('10.99.0.8', '10.99.0.2', 80, 3), 2);
      await new Promise((resolve) => setTimeout(resolve, 600));
      assert.ok((await heard('10.99.0.8', '10.99.0.2', 80, 1)) === 1);
    });
  });

  test(
    'the unit’s program falls back to what nft took last, and tells what is in force',
    bounded,
    async () => {
      const [dir, run] = ['/var/lib/mooring/nginx', '/run/mooring-ingress-limits'];
      const program = () =>
        spawnSync('packaging/systemd/ingress-limits', { encoding: 'utf8', timeout: 10_000 });
      const read = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined);
      load();
      const good = readFileSync('/run/limits.nft', 'utf8');
      sh('nft delete table inet mooring_ingress');
      writeFileSync(`${dir}/limits.nft`, 'table inet mooring_ingress { broken');
      assert.equal(program().status, 1);
      assert.match(read(`${run}/said`) ?? '', /syntax error.*the wanted limits are not loaded/s);
      assert.equal(read(`${run}/loaded.nft`), undefined);

      writeFileSync(`${dir}/limits.nft`, good);
      assert.equal(program().status, 0);
      assert.deepEqual([read(`${run}/loaded.nft`), read(`${dir}/limits-last.nft`)], [good, good]);
      assert.equal(read(`${run}/said`), '');

      writeFileSync(`${dir}/limits.nft`, `${good}table inet theirs { broken`);
      const { status, stderr } = program();
      assert.equal(status, 0, 'the last ones are in force');
      assert.match(stderr, /are not loaded/);
      assert.deepEqual([read(`${run}/loaded.nft`), read(`${dir}/limits-last.nft`)], [good, good]);
      assert.match(sh('nft list table inet mooring_ingress'), /dport 80/);
    },
  );

  test('the rules are replaced and removed without a trace in other tables', bounded, async () => {
    const others = () => sh('nft list table inet theirs');
    const before = others();
    load();
    load('7/1s');
    assert.equal(sh('nft list tables').trim().split('\n').length, 2);
    assert.match(sh('nft list table inet mooring_ingress'), /limit rate over 7\/second burst 7 packets/);
    const stop = /^ExecStop=(.*)$/m.exec(sh('cat packaging/systemd/mooring-ingress-limits.service'))?.[1];
    assert.ok(stop !== undefined);
    for (let i = 0; i < 2; i += 1) sh(stop);
    assert.equal(sh('nft list tables').trim(), 'table inet theirs');
    assert.equal(others(), before);
  });
}

inOwnNamespaces(
  'limits, in a network namespace of their own',
  {
    file: import.meta.url,
    flags: ['--net', '--mount'],
    // What is written is this namespace's own, and what is there, such as this file, stays in sight.
    prepare: `mount -t tmpfs own /run
      mkdir -p /run/netns /run/mooring-ingress-limits /run/upper /run/work
      mount -t overlay own /var/lib -o lowerdir=/var/lib,upperdir=/run/upper,workdir=/run/work
      mkdir -p /var/lib/mooring/nginx
      ip link set lo up`,
    timeoutMs: 60_000,
    runner: ['--test-force-exit'],
  },
  tests,
);
