import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { forget, k3sTraces, zerotierTraces } from '../../../src/systems/instance/forget.ts';
import {
  type Instance,
  isOtherInstance,
  parseInstance,
  readInstance,
} from '../../../src/systems/instance/instance.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'mooring-instance-'));
});
afterEach(() => rm(root, { recursive: true }));
const put = async (path: string, text = 'x') => {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
};

const here: Instance = {
  instanceId: 'i-0123',
  productUuid: 'ec2a1b2c-0001-0002-0003-000000000004',
  machineId: 'a'.repeat(32),
};
const unknown: Instance = { instanceId: undefined, productUuid: undefined, machineId: undefined };

describe('which instance this is', () => {
  test('is told by the cloud, the firmware and the installation', async () => {
    assert.deepEqual(await readInstance(root), unknown);
    await put('var/lib/cloud/data/instance-id', 'i-0123\n');
    await put('sys/class/dmi/id/product_uuid', `${here.productUuid?.toUpperCase()}\n`);
    await put('etc/machine-id', `${here.machineId}\n`);
    assert.deepEqual(await readInstance(root), here);
  });

  test('is not told by placeholders and garbage', async () => {
    await put('var/lib/cloud/data/instance-id', 'NONE');
    await put('sys/class/dmi/id/product_uuid', '00000000-0000-0000-0000-000000000000');
    await put('etc/machine-id', 'uninitialized\n');
    assert.deepEqual(await readInstance(root), unknown);
    await put('etc/machine-id', 'two words');
    assert.deepEqual(await readInstance(root), unknown);
  });

  test('survives being written and read, and damage is nothing known', () => {
    assert.deepEqual(parseInstance(JSON.parse(JSON.stringify(here))), here);
    for (const value of [undefined, null, [], 'x', 7, {}, { instanceId: 7 }])
      assert.equal(parseInstance(value), undefined);
  });

  for (const [what, before, now, other] of [
    ['the same', here, here, false],
    ['of another cloud instance', here, { ...here, instanceId: 'i-9' }, true],
    ['of another machine', here, { ...here, productUuid: 'ec2a1b2c-0001-0002-0003-000000000005' }, true],
    ['a renewed installation', here, { ...here, machineId: 'b'.repeat(32) }, false],
    [
      'of another installation, where nobody else tells',
      { ...unknown, machineId: 'a' },
      { ...unknown, machineId: 'b' },
      true,
    ],
    ['one whose cloud is silent now', here, { ...here, instanceId: undefined }, false],
    ['one of which nothing is known', here, unknown, false],
    [
      'one that tells the first groups in the other byte order',
      here,
      { ...here, productUuid: '2c1b2aec-0100-0200-0003-000000000004' },
      false,
    ],
  ] as const) {
    test(`${what}: ${other ? 'another' : 'the same'} instance`, () =>
      assert.equal(isOtherInstance(before, now), other));
  }
});

describe('forgetting who the node was', () => {
  test('takes identity, networks, passwords and certificates, and leaves what an image is made for', async () => {
    const gone = [
      'var/lib/zerotier-one/identity.secret',
      'var/lib/zerotier-one/identity.public',
      'var/lib/zerotier-one/authtoken.secret',
      'var/lib/zerotier-one/networks.d/8056c2e21c000001.conf',
      'var/lib/zerotier-one/peers.d/8056c2e21c.peer',
      'etc/rancher/node/password',
      'var/lib/rancher/k3s/agent/client-kubelet.crt',
      'var/lib/rancher/k3s/agent/kubelet.kubeconfig',
      'var/lib/rancher/k3s/agent/etc/flannel/net-conf.json',
    ];
    const kept = [
      'var/lib/zerotier-one/local.conf',
      'var/lib/zerotier-one/planet',
      'var/lib/rancher/k3s/agent/images/airgap.tar.zst',
      'var/lib/rancher/k3s/agent/containerd/io',
      'etc/rancher/k3s/config.yaml',
    ];
    for (const path of [...gone, ...kept]) await put(path);
    const removed = await forget({ ...zerotierTraces, ...k3sTraces }, root);
    assert.equal(removed.length, gone.length);
    const left = (await readdir(root, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
    assert.deepEqual(left.sort(), kept.sort());
    assert.deepEqual(await forget(zerotierTraces, root), [], 'twice is once');
  });

  test('removes a link and not what it leads to', async () => {
    await put('precious/data');
    await mkdir(join(root, 'var/lib/zerotier-one'), { recursive: true });
    await symlink(join(root, 'precious'), join(root, 'var/lib/zerotier-one/networks.d'));
    await forget(zerotierTraces, root);
    assert.deepEqual(await readdir(join(root, 'precious')), ['data']);
  });

  test('leaves alone what something is mounted in', async () => {
    await assert.rejects(forget({ '/': ['proc'] }), { code: 'mounted' });
    await readdir('/proc/self');
  });
});
