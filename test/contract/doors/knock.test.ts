/**
 * Ports that rules in the kernel take away, by the real kernel, iptables of both kinds and nftables. The file runs its tests in a
 * network namespace of its own, with a pod and the outside beside it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import { probeSource } from '../../../src/agent/render/nginx-probe.ts';
import { createDoors } from '../../../src/systems/doors/doors.ts';
import { findOtherEnds, isAnswered } from '../../../src/systems/doors/knock.ts';
import { ownAddress } from '../../../src/systems/doors/own-address.ts';
import { inOwnNamespaces, withProcesses } from '../../support/own-namespaces.ts';
import { forgetRules, portmapRules } from '../../support/portmap.ts';

const bounded = { timeout: 20_000 };
const options = { deadlineMs: 700, netFolder: '/proc/self/net' };
const v4 = { address: '10.99.0.2', port: 80 };
const v6 = { address: 'fd99::2', port: 80 };
const generation = '0123456789abcdef';

const sh = (command: string) => execFileSync('sh', ['-ec', command], { encoding: 'utf8', timeout: 10_000 });

/** A wire to a namespace of that name, with these addresses on this end and on that one. */
function wire(name: string, here: string, ends: readonly (readonly [string, string])[]): void {
  sh(`ip netns add ${name} && ip -n ${name} link set lo up`);
  sh(
    `ip link add ${here} type veth peer name eth0 netns ${name} && ip link set ${here} up && ip -n ${name} link set eth0 up`,
  );
  for (const [own, other] of ends) {
    const nodad = own.includes(':') ? 'nodad' : '';
    sh(`ip addr add ${own} dev ${here} ${nodad} && ip -n ${name} addr add ${other} dev eth0 ${nodad}`);
    sh(`ip -n ${name} route add default via ${own.replace(/\/.*/, '')}`);
  }
}

/** What a client outside hears at the node's port 80. */
async function outside(address: string): Promise<string> {
  const script = `read -r line </dev/tcp/${address}/80; echo "$line"`;
  const client = spawn('ip', ['netns', 'exec', 'outside', 'timeout', '2', 'bash', '-c', script]);
  let said = '';
  client.stdout.on('data', (chunk) => {
    said += chunk;
  });
  await once(client, 'close');
  return said.trim();
}

const saysPod =
  "require('node:net').createServer((s) => s.on('error', () => 0).write('pod\\n')).listen(8000, '::', () => console.log('up'))";

function tests(): void {
  let pod: ChildProcess;
  let nginx: Server;
  const connections = new Set<Socket>();

  before(async () => {
    wire('outside', 'eth0', [
      ['10.99.0.2/24', '10.99.0.9/24'],
      ['fd99::2/64', 'fd99::9/64'],
    ]);
    wire('pod', 'cni0', [
      ['10.42.1.1/24', '10.42.1.5/24'],
      ['fd42::1/64', 'fd42::5/64'],
    ]);
    sh('ip route add default via 10.99.0.9 && ip route add default via fd99::9');
    sh('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.cni0.route_localnet=1');
    pod = spawn('ip', ['netns', 'exec', 'pod', process.execPath, '-e', saysPod]);
    assert.ok(pod.stdout !== null);
    await once(pod.stdout, 'data');
    // As the ingress: mooring's own address is answered with the generation, everybody else comes to an upstream.
    nginx = createServer({ allowHalfOpen: true }, (socket) => {
      connections.add(socket.on('error', () => undefined));
      if (socket.remoteAddress?.endsWith(probeSource)) socket.end(generation);
      else socket.write('nginx\n');
    });
    nginx.listen(80, '::');
    await once(nginx, 'listening');
  });
  after(async () => {
    pod.kill();
    for (const socket of connections) socket.destroy();
    nginx.close();
  });

  describe('a port that nobody took', () => {
    test('is answered by nginx, and has its other end here', bounded, async () => {
      assert.equal(await isAnswered(v4, options), true);
      assert.deepEqual(await findOtherEnds([v4, v6], options), ['ours', 'ours']);
    });

    test('has its other end here also where that was closed at once', bounded, async () => {
      const brusque = createServer((socket) => socket.on('error', () => undefined).end());
      brusque.listen(81, '::');
      await once(brusque, 'listening');
      const door = { ...v4, port: 81 };
      assert.equal(await isAnswered(door, options), false);
      assert.deepEqual(await findOtherEnds([door], options), ['ours']);
      brusque.close();
    });

    test('is tried at the address that others use', bounded, async () => {
      assert.equal(await ownAddress('udp4'), v4.address);
      assert.equal(await ownAddress('udp6'), v6.address);
      sh('ip -6 route del default');
      assert.equal(await ownAddress('udp6'), undefined, 'there is none');
      sh('ip -6 route add default via fd99::9');
    });
  });

  for (const [iptables, door] of [
    ['iptables-nft', v4],
    ['iptables-legacy', v4],
    ['ip6tables-nft', v6],
  ] as const)
    test(
      `a port that portmap took with ${iptables} ends elsewhere, until the rules go`,
      bounded,
      async () => {
        const isV6 = door === v6;
        const { address: host } = door;
        const target = isV6
          ? { podNetwork: 'fd42::/64', pod: 'fd42::5' }
          : { podNetwork: '10.42.1.0/24', pod: '10.42.1.5' };
        assert.equal(await outside(host), 'nginx');
        for (const rule of portmapRules({ iptables, ...target, hostPort: 80, podPort: 8000 })) sh(rule);
        try {
          assert.equal(await outside(host), 'pod', 'the rules take the port away');
          if (!isV6) assert.equal(await isAnswered(door, options), false);
          assert.deepEqual(await findOtherEnds([door], options), ['elsewhere']);
        } finally {
          sh(forgetRules(iptables));
        }
        if (!isV6) assert.equal(await isAnswered(door, options), true);
        assert.deepEqual(await findOtherEnds([door], options), ['ours']);
      },
    );

  describe('with rules of nftables', () => {
    const nft = (chain: string, rule: string) =>
      sh(
        `nft 'table inet test { chain c { type nat hook ${chain} priority -100; policy accept; ${rule}; }; }'`,
      );
    afterEach(() => {
      sh('nft delete table inet test');
    });

    test('a port that is led to another program of this host ends elsewhere', bounded, async () => {
      const other = createServer((socket) => socket.on('error', () => undefined).resume());
      other.listen(8080, '::');
      await once(other, 'listening');
      nft('output', 'tcp dport 80 redirect to :8080');
      assert.equal(await isAnswered(v4, options), false);
      assert.deepEqual(await findOtherEnds([v4, v6], options), ['elsewhere', 'elsewhere']);
      other.close();
    });

    test('a port that is led away for packets from outside alone is not seen', bounded, async () => {
      nft('prerouting', 'iifname "eth0" ip daddr 10.99.0.2 tcp dport 80 dnat ip to 10.42.1.5:8000');
      assert.equal(await outside(v4.address), 'pod');
      assert.deepEqual(await findOtherEnds([v4], options), ['ours']);
    });

    for (const verdict of ['drop', 'reject with tcp reset'])
      test(`a firewall that says ${verdict} proves nothing`, bounded, async () => {
        sh(
          `nft 'table inet test { chain f { type filter hook input priority 0; tcp dport 80 ${verdict}; }; }'`,
        );
        assert.equal(await isAnswered(v4, options), false);
        assert.deepEqual(await findOtherEnds([v4, v6], options), ['unclear', 'unclear']);
      });
  });

  test(
    'a program with too much to do proves nothing, though connections to it stand without a socket',
    bounded,
    async () => {
      const script = `
import socket, sys
s = socket.socket(); s.bind(('10.99.0.2', 82)); s.listen(0)
held = [socket.socket() for _ in range(4)]
for one in held:
    one.setblocking(False); one.connect_ex(('10.99.0.2', 82))
print('full', flush=True); sys.stdin.read()
`;
      const full = spawn('python3', ['-c', script]);
      assert.ok(full.stdout !== null);
      await once(full.stdout, 'data');
      const door = { ...v4, port: 82 };
      for (const cookies of [0, 1, 2]) {
        sh(`sysctl -qw net.ipv4.tcp_syncookies=${cookies}`);
        assert.deepEqual(await findOtherEnds([door], options), ['unclear'], `syncookies ${cookies}`);
      }
      sh('sysctl -qw net.ipv4.tcp_syncookies=1');
      full.kill();
    },
  );

  test(
    'the watch tells after three proofs in a row, and takes it back after one answer',
    bounded,
    async () => {
      const wakes: string[] = [];
      const doors = createDoors({
        wake: (reason) => wakes.push(reason),
        log: (level, message) => assert.fail(`${level}: ${message}`),
        random: () => 0.5,
        deadlineMs: 500,
        pace: { firstMs: 1, againMs: 20, awayMs: 20, calmMs: 20 },
      });
      const listens = [80, 443].map((port) => ({ protocol: 'tcp', address: '0.0.0.0', port }) as const);
      const until = async (isSo: () => Promise<boolean>) => {
        for (let i = 0; i < 200; i += 1) {
          if (await isSo()) return;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        assert.fail('it never came');
      };
      const redirected = async () => (await doors.read()).redirected;
      doors.start();
      doors.aim({ holdersOf: [], tried: listens, servedBy: generation });
      const startedMs = connections.size;
      await until(async () => connections.size > startedMs + 5);
      assert.deepEqual(await redirected(), []);
      const rules = portmapRules({
        iptables: 'iptables-nft',
        podNetwork: '10.42.1.0/24',
        pod: '10.42.1.5',
        hostPort: 80,
        podPort: 8000,
      });
      for (const rule of rules) sh(rule);
      await until(async () => (await redirected()).length > 0);
      assert.deepEqual(await redirected(), [v4], 'not 443, where nobody listens');
      assert.deepEqual(wakes, ['doors: connections end elsewhere at 10.99.0.2 80']);
      doors.aim({ holdersOf: [], tried: listens, servedBy: undefined });
      assert.deepEqual(await redirected(), [v4], 'while another config is taken over');
      doors.aim({ holdersOf: [], tried: listens, servedBy: 'another' });
      sh(forgetRules('iptables-nft'));
      await until(async () => (await redirected()).length === 0);
      assert.equal(wakes.length, 2);
      doors.aim({ holdersOf: [], tried: [], servedBy: undefined });
      await doors.close();
    },
  );
}

inOwnNamespaces(
  'doors, in network namespaces of their own',
  {
    file: import.meta.url,
    flags: withProcesses,
    prepare: `mkdir -p /run/netns
      mount -t tmpfs netns /run/netns
      mount -t tmpfs run /run/lock
      ip link set lo up`,
    timeoutMs: 90_000,
    runner: ['--test-force-exit'],
  },
  tests,
);
