import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { plan } from '../../../src/agent/plan.ts';
import { meaningOf } from '../../../src/agent/stages/tags.ts';
import type { CloudReading } from '../../../src/systems/cloud/types.ts';
import { aConfig, aMemory, at, aWorld, someFacts } from '../../support/world.ts';

describe('the tags of an instance', () => {
  test('are labels and taints by their second word', () => {
    const tags = {
      'mooring-label-tier': 'edge',
      'mooring-label-empty': '',
      'mooring-taint-dedicated': 'web:NoSchedule',
      'mooring-taint-spot': 'NoExecute',
      Name: 'a b c',
    };
    assert.deepEqual(meaningOf(tags, 'mooring-'), {
      labels: { tier: 'edge', empty: '' },
      taints: ['dedicated=web:NoSchedule', 'spot:NoExecute'],
      skipped: [],
    });
  });

  const refused: readonly (readonly [key: string, value: string, why: RegExp])[] = [
    ['m/label-', 'x', /may not set this key/],
    ['m/label-node-role.kubernetes.io/master', '', /may not set this key/],
    ['m/label-a b', 'x', /may not set this key/],
    ['m/label-a\nb', 'x', /"m\/label-a\\nb"/],
    ['m/label-tier', 'two words', /no value of a label/],
    ['m/label-tier', 'x'.repeat(64), /no value of a label/],
    ['m/label-tier', '-', /no value of a label/],
    ['m/taint-a', 'b', /neither value:Effect nor Effect/],
    ['m/taint-a', 'b:Never', /neither value:Effect nor Effect/],
    ['m/taint-a', 'b:c:NoSchedule', /neither value:Effect nor Effect/],
    ['m/taint-a', 'b,c:NoSchedule', /neither value:Effect nor Effect/],
    ['m/role', 'x', /neither m\/label-… nor m\/taint-…/],
  ];
  for (const [key, value, why] of refused) {
    test(`are left out and told where a kubelet would refuse them: ${JSON.stringify([key, value.slice(0, 20)])}`, () => {
      const { labels, taints, skipped } = meaningOf({ [key]: value }, 'm/');
      assert.deepEqual([labels, taints, skipped.length], [{}, [], 1]);
      assert.match(skipped[0] ?? '', why);
    });
  }
});

describe('the k3s config of a node at a cloud', () => {
  function look(reading: CloudReading, node: object, k3s: object = {}) {
    const secret = { server: 'https://k3s.home.example:6443', token: { file: '/etc/mooring/k3s-token' } };
    const config = aConfig({ node: { cloud: 'auto', ...node }, k3s: { ...secret, ...k3s } });
    const input = { config, world: aWorld({ cloud: reading }), memory: aMemory(), now: at(100_000) };
    const { actions, conditions } = plan(input, 0.5);
    const write = actions.k3s.find((action) => action.do === 'k3s.write-config');
    const condition = conditions.find(({ type }) => type === 'CloudFactsKnown');
    return { text: write?.do === 'k3s.write-config' ? write.text : '', condition };
  }
  const known = (facts: Parameters<typeof someFacts>[0], tagsError?: string): CloudReading => ({
    kind: 'known',
    facts: someFacts(facts),
    stale: undefined,
    tagsError,
  });

  test('has what the tags say, below what the config and the cloud itself say', () => {
    const tags = {
      'mooring-label-tier': 'from-tag',
      'mooring-label-spot': 'yes',
      'mooring-label-topology.kubernetes.io/zone': 'elsewhere',
      'mooring-taint-a': 'tag:NoSchedule',
      'mooring-taint-b': 'NoExecute',
    };
    const own = { labels: { tier: 'from-config' }, taints: ['a=config:NoSchedule'] };
    const { text, condition } = look(known({ tags }), { tags: {} }, own);
    assert.match(text, /"tier=from-config"/);
    assert.match(text, /"spot=yes"/);
    assert.match(text, /"topology\.kubernetes\.io\/zone=eu-central-1a"/);
    assert.deepEqual(text.match(/"[^"]*:No[A-Z]\w+"/g), ['"a=config:NoSchedule"', '"b:NoExecute"']);
    assert.equal(condition?.reason, 'Known');
  });

  test('has nothing of tags where the config does not ask for them', () => {
    assert.doesNotMatch(look(known({ tags: { 'mooring-label-spot': 'yes' } }), {}).text, /spot/);
  });

  test('does without a tag that a kubelet would refuse, and the condition names it', () => {
    const { text, condition } = look(known({ tags: { 'mooring-label-x': 'two words' } }), { tags: {} });
    assert.doesNotMatch(text, /two words/);
    assert.deepEqual([condition?.status, condition?.reason], ['true', 'TagsSkipped']);
    assert.match(condition?.message ?? '', /mooring-label-x/);
  });

  test('names some of many tags that a kubelet would refuse', () => {
    const tags = Object.fromEntries(
      Array.from({ length: 64 }, (_, i) => [`mooring-label-${i}`, ' '.repeat(300)]),
    );
    const { condition } = look(known({ tags }), { tags: {} });
    assert.match(condition?.message ?? '', /; and 59 more$/);
    assert.ok((condition?.message.length ?? 0) < 1500);
  });

  test('tells of tags that cannot be had', () => {
    const { condition } = look(known({}, 'no role'), { tags: {} });
    assert.deepEqual([condition?.status, condition?.reason], ['unknown', 'TagsUnknown']);
  });

  test("carries the provider's id unless the config says none, before the user's own arguments", () => {
    const facts = known({ providerId: 'hcloud://42' });
    const own = { config: { 'kubelet-arg': ['max-pods=50'] } };
    assert.match(
      look(facts, {}, own).text,
      /kubelet-arg\+:\n {2}- "provider-id=hcloud:\/\/42"\n {2}- "max-pods=50"/,
    );
    assert.match(look(facts, {}).text, /kubelet-arg\+:\n {2}- "provider-id=hcloud:\/\/42"\n/);
    assert.match(
      look(facts, {}, { config: { 'kubelet-arg': 'max-pods=50' } }).text,
      /hcloud:\/\/42"\n {2}- "max-pods/,
    );
    assert.doesNotMatch(look(facts, { providerId: 'none' }, own).text, /provider-id/);
  });

  test('on Oracle says that the public address has to be written down, until it is', () => {
    const oracle = known({ provider: 'oracle', publicIpv6: '2603:c020::17' });
    assert.equal(look(oracle, {}).condition?.reason, 'NoPublicAddress');
    assert.equal(look(oracle, { externalIp: '198.51.100.7' }).condition?.reason, 'Known');
    assert.match(look(oracle, { externalIp: '198.51.100.7' }).text, /198\.51\.100\.7/);
  });
});
