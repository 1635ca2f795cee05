/** The shell scripts that stand between systemd and k3s, with an `ip` of the test's own in front of the real one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { renderK3sConfig } from '../../../src/agent/render/k3s-config.ts';
import { configSchema } from '../../../src/config/schema.ts';

const scripts = join(import.meta.dirname, '../../../packaging/systemd');
let folder = '';

/** Runs the check against a node whose interface ztabcdefgh carries `carried`. */
function check(config: string | undefined, carried: readonly string[] = []) {
  const path = join(folder, 'config.yaml');
  rmSync(path, { force: true });
  if (config !== undefined) writeFileSync(path, config);
  const { status, stdout } = spawnSync('/bin/sh', [join(scripts, 'k3s-address-check'), path], {
    encoding: 'utf8',
    env: { PATH: `${folder}:/usr/bin:/bin`, CARRIED: carried.join(' ') },
  });
  return { status, said: stdout.trim() };
}

/** What mooring writes for k3s. */
function rendered(binary: string): string {
  const { k3s } = configSchema.parse({
    zerotier: { networks: [{ id: '8056c2e21c000001' }] },
    k3s: { server: 'https://k3s.home.example:6443', token: { file: '/t' }, labels: { tier: 'edge' }, binary },
  });
  return renderK3sConfig({
    k3s,
    nodeIps: ['10.97.17.1'],
    iface: 'ztabcdefgh',
    externalIps: ['192.0.2.7'],
    nodeName: 'node',
    labels: k3s.labels,
    taints: [],
    kubeletArgs: [],
  });
}

test("k3s-agent runs the binary that mooring's config names, in its own place", () => {
  const own = mkdtempSync(join(tmpdir(), 'k3s agent-'));
  try {
    const binary = join(own, 'my k3s');
    writeFileSync(binary, '#!/bin/sh\necho "$$ $@"\n');
    chmodSync(binary, 0o755);
    writeFileSync(join(own, 'config.yaml'), rendered(binary));
    const { pid, stdout } = spawnSync(join(scripts, 'k3s-agent'), [join(own, 'config.yaml')], {
      encoding: 'utf8',
    });
    assert.equal(stdout, `${pid} agent\n`);
  } finally {
    rmSync(own, { recursive: true });
  }
});

describe('k3s-address-check', () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'k3s-check-'));
    const ip = join(folder, 'ip');
    // ip -o address show dev DEVICE to ADDRESS: prints a line where both are known, as iproute2 does.
    writeFileSync(
      ip,
      '#!/bin/sh\n[ "$1 $2 $3 $4 $6" = "-o address show dev to" ] || exit 255\n' +
        '[ "$5" = ztabcdefgh ] || { echo "Device \\"$5\\" does not exist." >&2; exit 1; }\n' +
        'for one in $CARRIED; do [ "$one" != "$7" ] || echo "7: $5 inet $one/24 scope global"; done\n',
    );
    chmodSync(ip, 0o755);
  });
  after(() => rmSync(folder, { recursive: true }));

  test('lets k3s start when the interface carries the address', () => {
    const { status } = check('node-ip: 10.97.17.1\nflannel-iface: ztabcdefgh\n', ['10.97.17.1']);
    assert.equal(status, 0);
  });

  test('reads values in either kind of quotes', () => {
    const config = 'node-ip: "10.97.17.1"\nflannel-iface: \'ztabcdefgh\'  \n';
    assert.equal(check(config, ['10.97.17.1']).status, 0);
  });

  const dualStack = {
    'given in one text': 'node-ip: "10.97.17.1,fd00::1"\nflannel-iface: ztabcdefgh\n',
    'given as a list':
      'node-ip:\n  - "10.97.17.1"\n  - "fd00::1"\nflannel-iface: "ztabcdefgh"\nnode-label+:\n  - "a=b"\n',
  };
  for (const [how, config] of Object.entries(dualStack)) {
    test(`wants every address of a dual-stack node, ${how}`, () => {
      assert.deepEqual(check(config, ['10.97.17.1', 'fd00::1']), { status: 0, said: '' });
      assert.deepEqual(check(config, ['10.97.17.1']), {
        status: 1,
        said: 'k3s is not started: interface ztabcdefgh does not carry fd00::1 now',
      });
    });
  }

  test('understands what mooring writes', () => {
    const config = rendered('/usr/local/bin/k3s');
    assert.deepEqual(check(config, ['10.97.17.1']), { status: 0, said: '' });
    assert.equal(check(config, ['192.0.2.7']).status, 1);
  });

  test('skips the start when the interface is gone', () => {
    const { status, said } = check('node-ip: 10.97.17.1\nflannel-iface: ztother\n', ['10.97.17.1']);
    assert.equal(status, 1);
    assert.match(said, /ztother does not carry 10\.97\.17\.1/);
  });

  test('is not misled by a longer address or by a key that only ends alike', () => {
    const config = 'my-node-ip: 10.97.17.1\nnode-ip: 10.97.17.1\nflannel-iface: ztabcdefgh\n';
    assert.equal(check(config, ['10.97.17.10']).status, 1);
  });

  test('skips the start, and says why, before there is a config or a key in it', () => {
    assert.match(check(undefined).said, /does not exist yet/);
    assert.match(check('node-ip: 10.97.17.1\n').said, /names no flannel-iface/);
    assert.match(check('flannel-iface: ztabcdefgh\n').said, /names no node-ip/);
    for (const config of [undefined, 'node-ip: 10.97.17.1\n', '']) assert.equal(check(config).status, 1);
  });
});
