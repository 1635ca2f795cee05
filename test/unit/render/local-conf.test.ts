import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mergeLocalConf } from '#src/agent/render/local-conf.ts';
import { assertGolden } from '../golden-file.ts';

const ours = ['flannel', 'cni', 'veth'];

function written(existing: string | undefined, prefixes: readonly string[] = ours): string {
  const merge = mergeLocalConf(existing, prefixes);
  assert.ok(merge.kind === 'write', merge.kind);
  return merge.text;
}

describe("ZeroTier's local.conf", () => {
  test('is made where there is none, or an empty one', () => {
    assertGolden('local-conf/new.json', written(undefined));
    for (const empty of ['', ' \n']) assert.equal(written(empty), written(undefined));
  });

  test("keeps everything of the user's, in its order", () => {
    const existing = `{"virtual": {"feed00000001": {"role": "UPSTREAM"}}, "physical": {"10.0.0.0/8": {"blacklist": true}},
      "settings": {"primaryPort": 9994, "interfacePrefixBlacklist": ["wg", "veth"], "allowTcpFallbackRelay": false}, "__proto__": {"x": 1}}`;
    assertGolden('local-conf/kept.json', written(existing));
    assert.deepEqual(Object.keys(JSON.parse(written(existing))), [
      'virtual',
      'physical',
      'settings',
      '__proto__',
    ]);
  });

  test('turns a lone string, which ZeroTier ignores, into a list', () => {
    const text = written('{"settings": {"interfacePrefixBlacklist": "veth"}}');
    assert.deepEqual(JSON.parse(text), {
      settings: { interfacePrefixBlacklist: ['veth', 'flannel', 'cni'] },
    });
    assert.equal(mergeLocalConf('{"settings": {"interfacePrefixBlacklist": "veth"}}', []).kind, 'write');
  });

  test('is left alone where it has all of ours, however it is written, also after our own write', () => {
    assert.equal(
      mergeLocalConf('{"settings":{"interfacePrefixBlacklist":["veth","x","cni","flannel"]}}', ours).kind,
      'unchanged',
    );
    assert.equal(mergeLocalConf(written(undefined), ours).kind, 'unchanged');
  });

  test('names each prefix once', () => {
    assert.deepEqual(JSON.parse(written('{}', ['a', 'b', 'a'])).settings.interfacePrefixBlacklist, [
      'a',
      'b',
    ]);
  });

  for (const text of [
    '{',
    '{"settings": {}',
    '[]',
    'null',
    '"x"',
    '1',
    '{"settings": []}',
    '{"settings": "x"}',
    '{"settings": {"interfacePrefixBlacklist": {}}}',
    '{"a": 1,}',
    '\0',
  ])
    test(`is reported and left alone where it is ${JSON.stringify(text)}`, () => {
      const merge = mergeLocalConf(text, ours);
      assert.ok(merge.kind === 'invalid');
      assert.match(merge.error, /correct it or delete it/);
    });
});
