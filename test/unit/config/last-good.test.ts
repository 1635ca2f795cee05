import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chooseConfig, type LastGood, parseLastGood, serializeLastGood } from '#src/config/last-good.ts';
import { parseConfig } from '#src/config/parse.ts';
import { adoptStoredConfig } from '#src/config/stored-config.ts';

const sources = [
  {
    path: '/etc/mooring/config.yaml',
    text: `zerotier: {networks: [{id: 8056c2e21c000001, dns: {servers: [10.45.0.1]}}]}
k3s: {server: "https://k3s.home.example:6443", token: {file: /etc/mooring/k3s-token}, labels: {tier: edge}}
ingress: [{name: http, listen: 80, upstreams: ["127.0.0.1:31693"]}]
node: {externalIp: 203.0.113.7}
`,
  },
  { path: '/etc/mooring/config.d/a.yaml', text: 'health: {port: 9999}\n' },
];

function goodConfig() {
  const result = parseConfig(sources);
  assert.ok(result.ok);
  return result.config;
}

const config = goodConfig();
const kept = serializeLastGood(sources, config);

describe('the last good config', () => {
  test('comes back as it was accepted', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(parseLastGood(kept))), {
      kind: 'usable',
      config: JSON.parse(JSON.stringify(config)),
      sources,
    });
  });

  test('is not believed when it was cut short at any byte', () => {
    for (let length = 0; length < kept.trimEnd().length; length += 7)
      assert.equal(parseLastGood(kept.slice(0, length)).kind, 'corrupt');
  });

  test('is not believed when it was altered, though it still parses', () => {
    for (const altered of [
      kept.replace('9999', '9998'),
      kept.replace('"tier": "edge"', '"tier": "core"'),
      kept.replace('mooring last good config', 'another'),
      '{}',
      'null',
      '[]',
    ]) {
      assert.notEqual(altered, kept);
      assert.equal(parseLastGood(altered).kind, 'corrupt');
    }
  });

  test('is of no use when it is refused today and has another shape', () => {
    const other = Object.assign(structuredClone(config), { health: 'none' });
    const lastGood = parseLastGood(serializeLastGood([{ path: 'config.yaml', text: 'old: 1' }], other));
    assert.ok(lastGood.kind === 'corrupt' && /another version/.test(lastGood.error));
    assert.equal(parseLastGood(undefined).kind, 'absent');
  });

  test('stays usable when a stricter schema refuses the very texts that were accepted', () => {
    const tooOld = [{ path: 'config.yaml', text: `${sources[0]?.text}oldKey: true\n` }];
    assert.equal(parseConfig(tooOld).ok, false);
    const lastGood = parseLastGood(serializeLastGood(tooOld, config));
    assert.equal(lastGood.kind, 'usable');
    assert.deepEqual(JSON.parse(JSON.stringify(lastGood)).config, JSON.parse(JSON.stringify(config)));
  });
});

describe('a stored config', () => {
  const stored = () => JSON.parse(JSON.stringify(config));

  test('loses keys that are gone and gets the defaults of new ones', () => {
    const old = stored();
    old.gone = 1;
    old.k3s.gone = 1;
    delete old.k3s.restart;
    delete old.node;
    const adopted = adoptStoredConfig(old);
    assert.deepEqual(adopted?.k3s.restart, config.k3s.restart);
    assert.deepEqual(adopted?.node, {
      externalIp: 'auto',
      cloud: 'auto',
      providerId: 'auto',
      patience: 20_000,
    });
    assert.deepEqual(adopted?.ingress, config.ingress);
    assert.equal(JSON.stringify(adopted).includes('gone'), false);
  });

  test('is not adopted where a value has become another kind', () => {
    for (const change of [
      { ingress: {} },
      { k3s: null },
      { zerotier: { networks: 'x' } },
      { health: { port: '9810', listen: [] } },
    ])
      assert.equal(adoptStoredConfig({ ...stored(), ...change }), undefined);
    assert.equal(adoptStoredConfig('text'), undefined);
  });
});

describe('the choice', () => {
  const absent: LastGood = { kind: 'absent' };
  const usable = parseLastGood(kept);
  const bad = parseConfig([{ path: 'config.yaml', text: 'k3s: 1\nzerotier: 2' }]);

  test('is the fresh config where it is good, whatever was kept', () => {
    for (const lastGood of [absent, usable, parseLastGood('{')])
      assert.equal(chooseConfig({ ok: true, config }, lastGood).kind, 'fresh');
  });

  test('is the last good one, with the problems, where the fresh one is bad or unreadable', () => {
    const choice = chooseConfig(bad, usable);
    assert.equal(choice.kind, 'last-good');
    assert.match(
      choice.kind === 'last-good' ? choice.problems.join('\n') : '',
      /config\.yaml:1:6: k3s: found the number 1/,
    );
    const unreadable = chooseConfig({ kind: 'unreadable', error: 'cannot read it' }, usable);
    assert.deepEqual(unreadable.kind === 'last-good' && unreadable.problems, ['cannot read it']);
  });

  test('is none where there is nothing to fall back to', () => {
    assert.equal(chooseConfig(bad, absent).kind, 'none');
    const choice = chooseConfig({ kind: 'unreadable', error: 'gone' }, parseLastGood('{'));
    assert.ok(choice.kind === 'none' && choice.problems.length === 2);
  });
});
