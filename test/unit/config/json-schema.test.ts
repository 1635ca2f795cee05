import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { configJsonSchema, keyDescriptions } from '#src/config/json-schema.ts';
import { keysAt } from '#src/config/schema-walk.ts';

describe('the JSON Schema', () => {
  const schema = configJsonSchema();

  test('is of draft 2020-12, has a name, and survives JSON', () => {
    assert.equal(schema['$schema'], 'https://json-schema.org/draft/2020-12/schema');
    assert.equal(typeof schema['$id'], 'string');
    assert.equal(typeof schema['title'], 'string');
    assert.deepEqual(JSON.parse(JSON.stringify(schema)), schema);
  });

  test('asks only for what has no default, and for no unknown key', () => {
    assert.deepEqual(schema['required'], ['zerotier', 'k3s']);
    assert.equal(schema['additionalProperties'], false);
  });

  test('describes every key', () => {
    const places: (readonly [string, readonly PropertyKey[]])[] = [
      ['', []],
      ['zerotier.', ['zerotier']],
      ['zerotier.networks[].', ['zerotier', 'networks', 0]],
      ['zerotier.authorize.', ['zerotier', 'authorize']],
      ['zerotier.repair.', ['zerotier', 'repair']],
      ['dns.', ['dns']],
      ['dns.repair.', ['dns', 'repair']],
      ['k3s.', ['k3s']],
      ['k3s.install.', ['k3s', 'install']],
      ['k3s.install.sha256.', ['k3s', 'install', 'sha256']],
      ['k3s.install.images.', ['k3s', 'install', 'images']],
      ['k3s.restart.', ['k3s', 'restart']],
      ['k3s.probe.', ['k3s', 'probe']],
      ['k3s.podNetwork.', ['k3s', 'podNetwork']],
      ['ingress[].', ['ingress', 0]],
      ['nginx.', ['nginx']],
      ['node.', ['node']],
      ['node.tags.', ['node', 'tags']],
      ['health.', ['health']],
    ];
    const keys = places.flatMap(([prefix, path]) => keysAt(path).map((key) => `${prefix}${key}`));
    assert.deepEqual(keys.sort(), Object.keys(keyDescriptions).sort());
  });
});
