/**
 * The files and commands that docs/home.md shows, tried as they stand: routing and DNS in network namespaces with the real
 * kernel, nftables and dnsmasq, the unit by systemd's own check. The file runs its tests in namespaces of its own, which
 * end everything with them.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { defaultInterfacePrefixBlacklist } from '#src/config/schema.ts';
import { inOwnNamespaces, withProcesses } from '../../support/own-namespaces.ts';

const page = readFileSync(new URL('../../../docs/home.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```\w+\n(.*?)^```$/gms)].map((match) => match[1] ?? '');

/** The shown file with this path. */
function shown(path: string): string {
  const text = blocks.find((block) => block.startsWith(`# ${path}`));
  assert.ok(text !== undefined, path);
  return text;
}

/** The interface's name in the page. */
const zt = 'ztmjfmfyq5';

/** A command in one of the namespaces: edge, router, lan. */
function within(netns: string, command: readonly string[], timeoutMs = 10_000) {
  const run = spawnSync('ip', ['netns', 'exec', netns, ...command], { encoding: 'utf8', timeout: timeoutMs });
  return { status: run.status, out: `${run.stdout}${run.stderr}` };
}

function must(netns: string, ...command: string[]): string {
  const { status, out } = within(netns, command);
  assert.equal(status, 0, `${command.join(' ')}: ${out}`);
  return out;
}

/** The edge's wire to the router: on both ends an interface as ZeroTier names them. */
function layZeroTierWire(): void {
  const peer = ['peer', 'name', zt, 'netns', 'edge'];
  execFileSync('ip', ['-n', 'router', 'link', 'add', zt, 'type', 'veth', ...peer]);
  for (const [end, address] of [
    ['router', '10.45.0.1/24'],
    ['edge', '10.45.0.17/24'],
  ] as const) {
    execFileSync('ip', ['-n', end, 'address', 'add', address, 'dev', zt]);
    execFileSync('ip', ['-n', end, 'link', 'set', zt, 'up']);
  }
  execFileSync('ip', ['-n', 'edge', 'route', 'add', '192.168.1.0/24', 'via', '10.45.0.1']);
}

/** Asks a DNS server for a name from a namespace: its address, or the error's code. */
function ask(netns: string, server: string, name: string): string {
  const script = `const { Resolver } = require('node:dns');
    const resolver = new Resolver({ timeout: 800, tries: 2 });
    resolver.setServers(['${server}']);
    resolver.resolve4('${name}', (error, found) => console.log(error?.code ?? found.join()));`;
  return must(netns, process.execPath, '-e', script).trim();
}

/** Whether a TCP port answers, and as whom it sees the caller. */
function knock(netns: string, address: string, port: number): string {
  return within(netns, ['timeout', '1', 'bash', '-c', `cat </dev/tcp/${address}/${port}`]).out.trim();
}

function tests(): void {
  let folder: string;
  const servers: ChildProcess[] = [];
  const serve = (netns: string, command: readonly string[]) =>
    servers.push(spawn('ip', ['netns', 'exec', netns, ...command], { stdio: 'ignore' }));

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mooring-home-'));
    for (const netns of ['edge', 'router', 'lan']) {
      execFileSync('ip', ['netns', 'add', netns]);
      execFileSync('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
    }
    layZeroTierWire();
    const peer = ['peer', 'name', 'eth0', 'netns', 'lan'];
    execFileSync('ip', ['-n', 'router', 'link', 'add', 'eth0', 'type', 'veth', ...peer]);
    for (const [end, address] of [
      ['router', '192.168.1.10/24'],
      ['lan', '192.168.1.20/24'],
    ] as const) {
      execFileSync('ip', ['-n', end, 'address', 'add', address, 'dev', 'eth0']);
      execFileSync('ip', ['-n', end, 'link', 'set', 'eth0', 'up']);
    }
    for (const path of ['/etc/sysctl.d/60-edge.conf', '/etc/nftables.d/edge.nft', '/etc/dnsmasq.d/edge.conf'])
      writeFileSync(join(folder, basename(path)), shown(path));
    // The NAS: says who calls.
    const server = `require('node:net').createServer((c) => c.end(c.remoteAddress)).listen(PORT, '192.168.1.20')`;
    for (const port of [443, 445])
      serve('lan', [process.execPath, '-e', server.replace('PORT', String(port))]);
    for (
      let tries = 0;
      knock('lan', '192.168.1.20', 445) === '' || knock('lan', '192.168.1.20', 443) === '';
    )
      assert.ok(tries++ < 50, 'the NAS does not serve');
    const conf = `--conf-file=${join(folder, 'edge.conf')}`;
    const dnsmasq = ['dnsmasq', '--keep-in-foreground', '--pid-file=', '--user=root', conf];
    serve('router', dnsmasq);
  });
  after(() => {
    for (const server of servers) server.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  describe('DNS', () => {
    test('is a file that dnsmasq takes', () => {
      must('router', 'dnsmasq', '--test', `--conf-file=${join(folder, 'edge.conf')}`);
    });

    test('answers members of the network for names at home', () => {
      assert.equal(ask('edge', '10.45.0.1', 'k3s.home.example'), '10.45.0.1');
      assert.equal(ask('edge', '10.45.0.1', 'nas.home.example'), '192.168.1.20');
      assert.equal(ask('edge', '10.45.0.1', 'nobody.home.example'), 'ENOTFOUND');
    });

    test('refuses all other names, and answers nobody outside the network', () => {
      assert.equal(ask('edge', '10.45.0.1', 'example.org'), 'EREFUSED');
      assert.match(ask('lan', '192.168.1.10', 'k3s.home.example'), /^(ECONNREFUSED|ETIMEOUT)$/);
    });

    test('answers again on an interface that was made anew', () => {
      execFileSync('ip', ['-n', 'router', 'link', 'delete', zt]);
      assert.notEqual(ask('router', '10.45.0.1', 'k3s.home.example'), '10.45.0.1');
      layZeroTierWire();
      assert.equal(ask('edge', '10.45.0.1', 'k3s.home.example'), '10.45.0.1');
    });
  });

  describe('the way into the LAN', () => {
    test('is closed before the router forwards', () => {
      must('router', 'sysctl', '--quiet', '--write', 'net.ipv4.ip_forward=0');
      assert.equal(knock('edge', '192.168.1.20', 443), '');
    });

    test('leads to what is listed, from the address of the router, and to nothing else', () => {
      must('router', 'sysctl', `--load=${join(folder, '60-edge.conf')}`);
      const rules = join(folder, 'edge.nft');
      must('router', 'nft', '--check', '--file', rules);
      // Twice: a file that is loaded again must not add its rules a second time.
      for (let times = 0; times < 2; times += 1) must('router', 'nft', '--file', rules);
      assert.equal(must('router', 'nft', 'list', 'table', 'inet', 'edge').match(/masquerade/g)?.length, 1);
      assert.equal(knock('edge', '192.168.1.20', 443), '192.168.1.10');
      assert.equal(knock('edge', '192.168.1.20', 445), '');
      assert.equal(knock('router', '192.168.1.20', 445), '192.168.1.10', 'the NAS itself is there');
    });
  });

  describe('the look from outside', () => {
    const script = blocks.find((block) => block.startsWith('ADDRESS=')) ?? '';
    const look = (address: string) =>
      must('router', 'bash', '-c', script.replace(/^ADDRESS=.*$/m, `ADDRESS=${address}`));

    test('tells which ports are open, and that the others are not', () => {
      assert.equal(look('192.168.1.20'), 'open: 443\nno other port of these is open\n');
      assert.equal(look('10.45.0.17'), 'no other port of these is open\n');
    });

    test('looks at every port that home has and the examples do not open', () => {
      for (const port of [22, 53, 5432, 6443]) assert.match(script, new RegExp(`\\b${port}\\b`));
    });
  });

  describe('the k3s server', () => {
    const dropIn = shown('/etc/systemd/system/k3s.service.d/10-zerotier.conf');
    const wait = /^ExecStartPre=\/bin\/sh -c '(.*)'$/m.exec(dropIn)?.[1] ?? '';

    test('has a drop-in that systemd takes', () => {
      mkdirSync(join(folder, 'k3s.service.d'));
      writeFileSync(join(folder, 'k3s.service'), '[Service]\nType=notify\nExecStart=/bin/true\n');
      writeFileSync(join(folder, 'zerotier-one.service'), '[Service]\nExecStart=/bin/true\n');
      writeFileSync(join(folder, 'k3s.service.d/10-zerotier.conf'), dropIn);
      const env = { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` };
      const run = spawnSync('systemd-analyze', ['verify', '--man=no', 'k3s.service'], {
        env,
        encoding: 'utf8',
      });
      assert.equal(run.status, 0, run.stderr);
      assert.ok(!run.stderr.includes(folder), run.stderr);
    });

    test('has a ZeroTier that keeps off what mooring keeps it off on a node', () => {
      const local: unknown = JSON.parse(blocks.find((block) => block.startsWith('{')) ?? '');
      assert.deepEqual(local, {
        settings: { interfacePrefixBlacklist: [...defaultInterfacePrefixBlacklist] },
      });
    });

    test('waits for the address, and no longer', () => {
      must('router', 'sh', '-c', wait);
      execFileSync('ip', ['-n', 'router', 'address', 'flush', 'dev', zt]);
      assert.equal(within('router', ['timeout', '1', 'sh', '-c', wait]).status, 124);
    });

    test('binds to the address that the rest of the page names', () => {
      const config: Record<string, unknown> = parse(shown('/etc/rancher/k3s/config.yaml'));
      assert.equal(config['node-ip'], '10.45.0.1');
      assert.equal(config['flannel-iface'], zt);
      assert.deepEqual(config['tls-san'], ['k3s.home.example', '10.45.0.1']);
      assert.ok(dropIn.includes(`dev ${zt} `));
      assert.match(shown('/etc/dnsmasq.d/edge.conf'), /^host-record=k3s\.home\.example,10\.45\.0\.1$/m);
    });
  });
}

inOwnNamespaces(
  'docs/home.md is true',
  {
    file: import.meta.url,
    flags: withProcesses,
    prepare: 'mkdir -p /run/netns && mount -t tmpfs netns /run/netns',
    timeoutMs: 90_000,
  },
  tests,
);
