/** What a bed gives its tests, before anything of mooring is on the node. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { Bed } from './bed.ts';

describe('a node booted by the bed', () => {
  let bed: Bed;

  before(async () => {
    bed = await Bed.start({ userData: false, cloud: 'aws' });
  });
  after(async () => {
    await bed?.stop();
  });

  test('finishes cloud-init without a complaint', async () => {
    assert.match(await bed.node.waitForCloudInit(), /extended_status: done$/m);
  });

  test('has an eth0 that networkd brought up, and a tun device', async () => {
    assert.match(await bed.node.run(['networkctl', 'status', 'eth0']), /State: routable \(configured\)/);
    await bed.node.run(['ip', 'tuntap', 'add', 'dev', 'tap9', 'mode', 'tap']);
    await bed.node.run(['ip', 'tuntap', 'del', 'dev', 'tap9', 'mode', 'tap']);
  });

  test('knows no name of home before it is moored', async () => {
    const asked = await bed.node.tryRun(['resolvectl', 'query', 'k3s.home.example']);
    assert.notEqual(asked.exitCode, 0);
    assert.match(asked.stderr, /not found|NXDOMAIN|does not exist/i);
  });

  test('starts without anything of k3s', async () => {
    const found = await bed.node.tryRun(['ls', '/etc/rancher']);
    assert.notEqual(found.exitCode, 0);
  });

  test('gets cloud facts by a token only', async () => {
    const url = 'http://169.254.169.254/latest';
    const bare = await bed.node.run([
      'curl',
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      `${url}/meta-data/instance-id`,
    ]);
    assert.equal(bare, '401');
    const ask = `token=$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' ${url}/api/token) && curl -s -H "X-aws-ec2-metadata-token: $token" ${url}/meta-data/instance-id`;
    assert.equal(await bed.node.run(ask), 'i-0123456789abcdef0');
  });

  test('comes back after a reboot with what was written', async () => {
    await bed.node.writeFile('/var/kept', 'yes');
    await bed.node.reboot();
    assert.equal(await bed.node.run(['cat', '/var/kept']), 'yes');
  });

  test('would take zerotier-one from its repository by the signature of its key alone', async () => {
    const { zerotierUrl } = bed.values;
    const source = `deb [signed-by=/etc/apt/keyrings/zerotier.asc] ${zerotierUrl}/debian/trixie trixie main`;
    await bed.node.writeFile('/etc/apt/sources.list.d/zerotier.list', `${source}\n`);
    await bed.node.run(
      `curl -sSf -o /etc/apt/keyrings/zerotier.asc ${zerotierUrl}/contact%40zerotier.com.gpg`,
    );
    await bed.node.run(['apt-get', 'update', '-q', '--error-on=any']);
    assert.match(await bed.node.run(['apt-cache', 'policy', 'zerotier-one']), /Candidate: 1\.14\.1/);
    await bed.node.writeFile('/etc/apt/keyrings/zerotier.asc', 'no key\n');
    const other = await bed.node.tryRun(['apt-get', 'update', '-q', '--error-on=any']);
    assert.notEqual(other.exitCode, 0);
  });
});

test('stopping the bed leaves no process, mount, namespace or folder', async () => {
  const bed = await Bed.start({ userData: false });
  const pid = bed.node.enterCommand()[2] ?? '';
  const id = bed.dir.split('/').at(-1) ?? '';
  await bed.stop();
  // What is dead may wait as a zombie for whoever inherited it.
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => `${pid} (gone) Z`);
  assert.match(state, /\) [ZX]/);
  const left = execFileSync('sh', [
    '-c',
    'ip netns; cat /proc/self/mounts; ls /run/mooring-bed; ls /sys/fs/cgroup/*',
  ]);
  assert.ok(!left.toString().includes(id), `${id} is still there`);
});
