import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { type K3sConfigInput, renderK3sConfig } from '#src/agent/render/k3s-config.ts';
import { parseConfig } from '#src/config/parse.ts';
import { assertGolden } from '../golden-file.ts';

function k3sSection(lines: string): K3sConfigInput['k3s'] {
  const result = parseConfig([
    {
      path: 'config.yaml',
      text: `zerotier: {networks: [{id: 8056c2e21c000001}]}
k3s:
  server: https://k3s.home.example:6443
  token: {file: /etc/mooring/k3s-token}
${lines}`,
    },
  ]);
  assert.ok(result.ok, JSON.stringify(result));
  return result.config.k3s;
}

function input(change: Partial<K3sConfigInput> = {}): K3sConfigInput {
  return {
    k3s: k3sSection(''),
    nodeIps: ['10.45.0.7'],
    iface: 'zt5z3ovhj4',
    externalIps: [],
    nodeName: 'edge-1',
    labels: {},
    taints: [],
    kubeletArgs: [],
    ...change,
  };
}

const full = () =>
  input({
    k3s: k3sSection(`  withNodeId: true
  config:
    kubelet-arg: [max-pods=50, "eviction-hard=memory.available<5%"]
    snapshotter: "on"
    lb-server-port: 6444
    debug: false
    odd: "'\\"# : {}, [x] *a &b !c %d @e \`f \\\\"
    ratio: "1.50"
    version: "1_0"
`),
    nodeIps: ['10.45.0.7', 'fd00::7'],
    externalIps: ['203.0.113.7', '2001:db8::7'],
    labels: {
      tier: 'edge',
      'topology.kubernetes.io/region': 'eu-central-1',
      version: '1.10',
      on: 'yes',
      empty: '',
    },
    taints: ['edge=true:NoSchedule', 'spot:NoExecute'],
    kubeletArgs: ['provider-id=aws:///eu-central-1a/i-0123456789abcdef0'],
  });

describe("k3s' drop-in", () => {
  test('with the least that it needs', () => assertGolden('k3s/least.yaml', renderK3sConfig(input())));

  test('with everything', () => assertGolden('k3s/full.yaml', renderK3sConfig(full())));

  test('reads the same as YAML 1.1, which k3s speaks, and as YAML 1.2', () => {
    const text = renderK3sConfig(full());
    assert.deepEqual(parse(text, { version: '1.1' }), parse(text, { version: '1.2' }));
    assert.equal(parse(text, { version: '1.1' })['snapshotter'], 'on');
    assert.equal(parse(text)['odd'], full().k3s.config['odd']);
  });

  test("appends lists to the user's own, and replaces what binds the node to its link", () => {
    const keys = Object.keys(parse(renderK3sConfig(full())));
    for (const key of ['node-label+', 'node-taint+', 'kubelet-arg+']) assert.ok(keys.includes(key));
    for (const key of ['server', 'token-file', 'node-ip', 'flannel-iface', 'node-external-ip', 'node-name'])
      assert.ok(keys.includes(key));
  });

  test('does not depend on the order in which labels, taints and options are given', () => {
    const one = renderK3sConfig(full());
    const { k3s, labels } = full();
    const other = {
      ...full(),
      k3s: { ...k3s, config: Object.fromEntries(Object.entries(k3s.config).reverse()) },
      taints: full().taints.toReversed(),
      labels: Object.fromEntries(Object.entries(labels).reverse()),
    };
    assert.equal(renderK3sConfig(other), one);
  });

  test('holds no secret, only where it is', () => {
    const text = renderK3sConfig(full());
    assert.match(text, /^token-file: "\/run\/mooring\/k3s-token"$/m);
    assert.doesNotMatch(text, /^token:/m);
  });

  test('is not made of values that would make k3s exit', () => {
    assert.throws(() => renderK3sConfig(input({ nodeIps: [] })), TypeError);
    assert.throws(() => renderK3sConfig(input({ nodeIps: ['10.45.0.7/24'] })), TypeError);
    assert.throws(() => renderK3sConfig(input({ nodeIps: [''] })), TypeError);
    assert.throws(() => renderK3sConfig(input({ externalIps: ['auto'] })), TypeError);
    assert.throws(() => renderK3sConfig(input({ iface: '' })), TypeError);
    assert.throws(() => renderK3sConfig(input({ iface: 'zt\nserver: x' })), TypeError);
  });

  test('keeps newlines and YAML signs of any text inside its quotes', () => {
    const text = renderK3sConfig(
      input({ nodeName: 'a"\nserver: "https://evil.example', labels: { a: 'b\n- c' } }),
    );
    assert.deepEqual(Object.keys(parse(text)), [
      'server',
      'token-file',
      'node-name',
      'node-ip',
      'flannel-iface',
      'node-label+',
    ]);
    assert.equal(parse(text)['server'], 'https://k3s.home.example:6443');
  });
});
