/**
 * The package's life on real nodes: baked into an image, installed over itself, upgraded and taken back; and on a node
 * where ZeroTier and nginx were first: installed, removed, installed again, purged without a trace, and installed anew.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Bed } from './bed.ts';
import { exampleDoors } from './client.ts';
import { bakedExample, renderExample } from './example.ts';
import { lifelines } from './lifelines.ts';
import { BedError, waitFor } from './process.ts';
import { makeTrialPackage } from './trial-package.ts';

const ours = ['mooring.service', 'mooring-ingress.service', 'k3s-node.service'];
const pageOfDebian = /Welcome to nginx/;

const apt = (bed: Bed, ...args: string[]) =>
  bed.node.run(['apt-get', '-y', '-q', ...args], {
    timeoutMs: 120_000,
    env: { DEBIAN_FRONTEND: 'noninteractive' },
  });

/** Waits until the daemon of this version answers. */
const waitForVersion = (bed: Bed, version: string) =>
  waitFor(`mooring ${version}`, async () => (await bed.status())?.version === version, {
    timeoutMs: 30_000,
    context: () => bed.report(),
  });

describe('the package in an image', () => {
  let bed: Bed;
  let told: string;

  before(async () => {
    bed = await Bed.start({ boot: false, userData: (values) => renderExample(values, bakedExample) });
    await bed.node.prepareFile('/usr/local/bin/k3s', await readFile(bed.k3s), 0o755);
    told = await bed.node.bake([bed.deb, bed.zerotierDeb]);
  });
  after(async () => {
    await bed?.stop();
  });

  test('is installed without complaint where no systemd runs, and leaves nothing that belongs to one node', async () => {
    assert.match(told, /Setting up mooring/);
    assert.doesNotMatch(told, /mooring: |error|fail/i);
    for (const path of ['var/lib/mooring', 'var/cache/mooring', 'run/mooring', 'etc/mooring/config.yaml']) {
      await assert.rejects(readFile(join(bed.node.rootDir, path)), { code: 'ENOENT' });
    }
  });

  test('moors the node at its first boot with the config that the example for images has cloud-init write', async () => {
    await bed.node.boot();
    await bed.authorise();
    await bed.waitForReady();
    await bed.node.waitForCloudInit();
    assert.equal(await bed.node.unitProperty('nginx.service', 'ActiveEnterTimestampMonotonic'), '0');
  });

  test('has its kernel settings in force since the boot', async () => {
    assert.deepEqual(await kernelSettings(bed), await wantedSettings(bed));
  });

  test('has an nginx of the size of the machine, which takes all the open files that the memory allows', async () => {
    const { cores, memoryBytes } = { cores: availableParallelism(), memoryBytes: totalmem() };
    const conf = await bed.node.run(['cat', '/var/lib/mooring/nginx/nginx.conf']);
    const of = (directive: string) => Number(new RegExp(`^ *${directive} (\\d+);$`, 'm').exec(conf)?.[1]);
    assert.equal(of('worker_processes'), Math.min(cores, 16), 'the daemon sees the cores');
    const master = await bed.node.run(['cat', '/run/mooring-ingress/nginx.pid']);
    const limits = await bed.node.run(['cat', `/proc/${master}/limits`]);
    const openFiles = Number(/^Max open files +(\d+)/m.exec(limits)?.[1]);
    // Two a connection, of which the memory allows one for each 80 KiB of a quarter of it.
    const byMemory = (2 * memoryBytes) / 4 / (80 * 1024) / Math.min(cores, 16);
    const connections = of('worker_connections');
    assert.ok(connections <= openFiles, `${connections} connections, ${openFiles} files`);
    assert.ok(connections >= 0.95 * Math.min(openFiles, byMemory), `${connections} connections`);
    const journal = await bed.node.journal({ unit: 'mooring-ingress.service' });
    assert.doesNotMatch(journal, /open file resource limit|setrlimit|\[(warn|alert|emerg)\]/);
  });

  test('is upgraded, taken back and installed over itself while pods, agent and doors live on', async () => {
    const own = await bed.node.run('dpkg-query -W mooring | cut -f 2');
    const before = await lifelines(bed);
    // Somebody's hand on a setting of ours is undone; what the admin's own file says is not, nor is any other setting touched.
    await bed.node.run(
      'echo net.ipv4.tcp_tw_reuse=0 > /etc/sysctl.d/90-own.conf; sysctl -w net.ipv4.ip_local_reserved_ports= net.ipv4.tcp_tw_reuse=2 net.ipv4.tcp_fin_timeout=61',
    );
    const knocking = bed.client.knock(exampleDoors);
    await bed.node.push(bed.deb, '/root/own.deb');
    await bed.node.push(await makeTrialPackage(bed.deb, '99.0.0', bed.dir), '/root/next.deb');
    let pid = await bed.node.unitProperty('mooring.service', 'MainPID');
    for (const [deb, version] of [
      ['/root/next.deb', '99.0.0'],
      ['/root/own.deb', own],
      ['/root/own.deb', own],
    ] as const) {
      await bed.node.run(['dpkg', '-i', deb], { timeoutMs: 120_000 });
      await waitForVersion(bed, version);
      await bed.waitForReady(30_000);
      const next = await bed.node.unitProperty('mooring.service', 'MainPID');
      assert.notEqual(next, pid, `the daemon of ${version} runs`);
      pid = next;
      assert.deepEqual(await lifelines(bed), before, await bed.report());
    }
    await knocking.more(5);
    assert.deepEqual(
      (await knocking.stop()).filter(({ ok }) => !ok),
      [],
    );
    assert.equal(await bed.node.run(['systemctl', '--failed', '--no-legend', '--plain']), '');
    assert.deepEqual(await kernelSettings(bed), {
      ...(await wantedSettings(bed)),
      'net.ipv4.tcp_tw_reuse': '0',
    });
    assert.equal(await bed.node.run('cat /proc/sys/net/ipv4/tcp_fin_timeout'), '61');
  });
});

/** What the package's file wants of the settings that a container may have of its own; those of the whole kernel are left out. */
async function wantedSettings(bed: Bed): Promise<Record<string, string>> {
  const text = await bed.node.run('cat /usr/lib/sysctl.d/50-mooring.conf');
  const settings = [...text.matchAll(/^-?([a-z][\w.]+) *= *(.*)$/gm)].map(([, key = '', value = '']) => [
    key,
    value,
  ]);
  const own = settings.filter(([key]) => key?.startsWith('net.ipv4.'));
  assert.ok(own.length >= 4 && settings.length > own.length);
  return Object.fromEntries(own);
}

/** The same settings as the kernel has them. */
async function kernelSettings(bed: Bed): Promise<Record<string, string>> {
  const keys = Object.keys(await wantedSettings(bed));
  const values = await bed.node.run(['sysctl', '-n', ...keys]);
  return Object.fromEntries(
    values.split('\n').map((value, i) => [keys[i] ?? '', value.replaceAll('\t', ' ')]),
  );
}

/** Folders in which others keep what they noted about mooring's installation and run. */
const othersNotes = [
  /^\/var\/(log|backups)\//,
  /^\/var\/(lib|cache)\/(apt|dpkg|debconf)(\/|$)/,
  /^\/var\/cache\/man(\/|$)/,
  /^\/run\/(systemd|udev|lock|log|credentials|blkid|user|netns|zerotier)(\/|$)/,
  /^\/var\/lib\/systemd\/(timers|random-seed|timesync|credential)/,
  /^\/var\/tmp\/|^\/tmp\//,
];
/** ZeroTier keeps the network it joined and the interfaces it keeps off. */
const zeroTiers = /^\/var\/lib\/zerotier-one(\/|$)/;
/** What the agent made, which stays with its pods. */
const k3sOwn =
  /^(\/var\/lib\/(rancher|kubelet|cni)|\/etc\/(rancher\/node|cni)|\/run\/(flannel|k3s|netns|xtables\.lock)|\/etc\/rancher(\/k3s)?$)(\/|$)?/;
/** What the admin wrote. */
const admins = /^\/etc\/mooring(\/(config\.yaml|k3s-token|config\.d(\/90-mine\.yaml)?))?$/;

describe('the package on a node where ZeroTier and nginx were first', () => {
  let bed: Bed;
  let files: ReadonlySet<string>;
  let etc: ReadonlyMap<string, string>;

  before(async () => {
    bed = await Bed.start({ userData: false });
    await bed.node.waitForCloudInit();
    await bed.node.push(bed.zerotierDeb, '/root/zerotier-one.deb');
    await bed.node.push(bed.k3s, '/usr/local/bin/k3s');
    await bed.node.run(['chmod', '755', '/usr/local/bin/k3s']);
    await bed.node.push(bed.deb, '/root/mooring.deb');
    await apt(bed, 'update');
    await apt(bed, 'install', '/root/zerotier-one.deb', 'nginx', 'libnginx-mod-stream');
    await waitFor(
      'ZeroTier to have its token',
      () => bed.node.run('cat /var/lib/zerotier-one/authtoken.secret'),
      {
        timeoutMs: 20_000,
      },
    );
    files = await listFiles(bed);
    etc = await contentsOfEtc(bed);
  });
  after(async () => {
    await bed?.stop();
  });

  const zeroTierPid = () => bed.node.unitProperty('zerotier-one.service', 'MainPID');
  const dnsOfLink = () => bed.node.run('resolvectl dns | grep "(zt" || true');

  /** The example's config and token, as an admin would write them by hand. */
  async function configure(): Promise<void> {
    const example = await renderExample(bed.values);
    const body = /path: \/etc\/mooring\/config\.yaml\n.*?content: \|\n(.*?)\n\n/s.exec(example)?.[1];
    if (body === undefined) throw new BedError('the example holds no config');
    await bed.node.writeFile('/etc/mooring/config.yaml', `${body.replaceAll(/^ {6}/gm, '')}\n`);
    await bed.node.writeFile('/etc/mooring/k3s-token', `${bed.values.k3sToken}\n`, 0o600);
    await bed.node.writeFile('/etc/mooring/config.d/90-mine.yaml', 'k3s: {labels: {tier: edge}}\n');
  }

  async function assertMoored(): Promise<void> {
    await bed.waitForReady(60_000);
    assert.match(await dnsOfLink(), /10\.45\.0\.1/);
    assert.match((await bed.client.http(80)).body, /traefik/);
    assert.match(await bed.node.run(['resolvectl', 'query', 'nas.home.example']), /10\.45\.0\.20/);
  }

  test("waits for a config, and stops Debian's untouched default page", async () => {
    assert.match((await bed.client.http(80)).body, pageOfDebian);
    const told = await apt(bed, 'install', '/root/mooring.deb');
    assert.match(told, /Setting up mooring/);
    assert.equal(await bed.node.unitProperty('mooring.service', 'ActiveState'), 'inactive');
    assert.equal(await bed.node.unitProperty('nginx.service', 'ActiveState'), 'inactive');
    assert.equal(await bed.node.run(['systemctl', '--failed', '--no-legend', '--plain']), '');
    await assert.rejects(bed.client.http(80, { timeoutMs: 2000 }));
  });

  test('has a ZeroTier that runs already keep off the pod network, without a restart of it', async () => {
    const pid = await zeroTierPid();
    const local = await bed.node.tryRun('cat /var/lib/zerotier-one/local.conf');
    assert.doesNotMatch(local.stdout, /flannel/, 'ZeroTier started without the list');
    await configure();
    await bed.node.run(['systemctl', 'start', 'mooring.service']);
    await bed.waitForCondition('BlacklistInForce', 'true', 60_000);
    assert.match(await bed.node.run('cat /var/lib/zerotier-one/local.conf'), /"flannel"/);
    assert.equal(await zeroTierPid(), pid);
    await bed.authorise();
    await assertMoored();
  });

  test('lets go of everything when it is removed, and keeps config, state and pods', async () => {
    const { pod } = await lifelines(bed);
    const zerotier = await zeroTierPid();
    await apt(bed, 'remove', 'mooring');
    for (const unit of [...ours, 'mooring-zerotier-token.path']) {
      assert.equal(await bed.node.unitProperty(unit, 'ActiveState'), 'inactive', unit);
      assert.equal(await bed.node.unitProperty(unit, 'LoadState'), 'not-found', unit);
    }
    assert.doesNotMatch(await dnsOfLink(), /10\.45/);
    assert.notEqual((await bed.node.tryRun(['resolvectl', 'query', 'nas.home.example'])).exitCode, 0);
    await assert.rejects(bed.client.http(80, { timeoutMs: 2000 }));
    assert.equal((await bed.node.tryRun(['kill', '-0', `${pod}`])).exitCode, 0, 'the pod lives');
    assert.equal(await zeroTierPid(), zerotier);
    const kept = '/etc/mooring/config.yaml /etc/mooring/config.d/90-mine.yaml /etc/mooring/k3s-token';
    await bed.node.run(`ls ${kept} /var/lib/mooring/last-good.json /usr/local/bin/k3s`);
    assert.equal(await bed.node.run(['systemctl', '--failed', '--no-legend', '--plain']), '');
  });

  test('moors again from what was kept when it is installed again', async () => {
    await apt(bed, 'install', '/root/mooring.deb');
    await assertMoored();
  });

  test('leaves nothing behind that it made when it is purged', async () => {
    const allowed = [...othersNotes, zeroTiers, k3sOwn, admins];
    const isNotOurs = (path: string) => allowed.some((pattern) => pattern.test(path));
    const added = async () =>
      [...(await listFiles(bed))].filter((path) => !files.has(path) && !isNotOurs(path));
    const made = await added();
    for (const path of [
      '/etc/rancher/k3s/config.yaml.d/50-mooring.yaml',
      '/etc/systemd/system/multi-user.target.wants/mooring.service',
      '/var/lib/mooring/last-good.json',
      '/var/lib/systemd/deb-systemd-helper-enabled/mooring.service.dsh-also',
      '/var/cache/mooring',
      '/run/mooring/k3s-token',
    ]) {
      assert.ok(made.includes(path), `${path} is there before the purge`);
    }
    await apt(bed, 'purge', 'mooring');
    assert.doesNotMatch(await dnsOfLink(), /10\.45/);
    assert.deepEqual(await added(), []);
    const left = await listFiles(bed);
    // nginx.service was stopped when mooring came.
    const lost = [...files].filter(
      (path) => !left.has(path) && !isNotOurs(path) && path !== '/run/nginx.pid',
    );
    assert.deepEqual(lost, []);
    const etcNow = await contentsOfEtc(bed);
    assert.deepEqual(
      [...etc].filter(([path, sum]) => etcNow.get(path) !== sum),
      [],
    );
    await bed.node.run(
      'ls /etc/mooring/config.yaml /etc/mooring/k3s-token /etc/mooring/config.d/90-mine.yaml',
    );
    const listUnits = 'systemctl list-units --all --no-legend --plain';
    assert.equal(await bed.node.run(`${listUnits} "*mooring*"`), '');
    // Its cgroup lives as long as the pods in it.
    assert.match(
      await bed.node.run(`${listUnits} "k3s-node*"`),
      /^(k3s-node\.service +not-found +inactive .*)?$/,
    );
  });

  test("gives nginx.service back to Debian's package", async () => {
    await bed.node.run(['systemctl', 'start', 'nginx.service']);
    assert.match((await bed.client.http(80)).body, pageOfDebian);
  });

  test('moors once more after a purge', async () => {
    await apt(bed, 'install', '/root/mooring.deb');
    await assertMoored();
  });
});

/** All paths of the node, its disk and /run. */
async function listFiles(bed: Bed): Promise<ReadonlySet<string>> {
  const text = await bed.node.run("find / -xdev -printf '%p\\n'; find /run -xdev -printf '%p\\n'", {
    timeoutMs: 60_000,
  });
  return new Set(text.split('\n'));
}

/** Checksums by path. */
async function contentsOfEtc(bed: Bed): Promise<ReadonlyMap<string, string>> {
  const text = await bed.node.run('find /etc -type f -print0 | xargs -0 sha256sum');
  return new Map(text.split('\n').map((line) => [line.slice(66), line.slice(0, 64)]));
}
