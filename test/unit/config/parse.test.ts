import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseConfig } from '#src/config/parse.ts';
import type { Problem } from '#src/config/problem.ts';
import type { Config } from '#src/config/schema.ts';
import { editDistance, suggest } from '#src/config/suggest.ts';

const minimal = `zerotier:
  networks:
    - id: 8056C2E21C000001
k3s:
  server: https://k3s.home.example:6443
  token: {file: /etc/mooring/k3s-token}
`;

function parse(...texts: string[]) {
  return parseConfig(
    texts.map((text, i) => ({ path: i === 0 ? 'config.yaml' : `config.d/${i}.yaml`, text })),
  );
}

function accepted(...texts: string[]): Config {
  const result = parse(...texts);
  assert.ok(result.ok, JSON.stringify(result));
  return result.config;
}

function onlyProblem(...texts: string[]): Problem {
  const result = parse(...texts);
  assert.ok(!result.ok);
  const [first, ...others] = result.problems;
  assert.ok(first);
  assert.deepEqual(others, []);
  return first;
}

describe('a good config', () => {
  test('gets every default', () => {
    const config = accepted(minimal);
    assert.equal(config.zerotier.networks[0]?.id, '8056c2e21c000001');
    assert.equal(config.zerotier.networks[0]?.dns, 'auto');
    assert.deepEqual(config.k3s.restart, {
      outage: 30_000,
      settle: 2_000,
      budget: { count: 5, periodMs: 600_000 },
      spread: 45_000,
      maxDelay: 600_000,
    });
    assert.deepEqual(config.ingress, []);
    assert.equal(config.health.port, 9810);
  });

  test('may use anchors, a byte order mark and Windows line ends', () => {
    const text = `\uFEFF${minimal}ingress:\n  - {name: a, listen: 80, upstreams: &u ["127.0.0.1:1000"]}\n  - {name: b, listen: 81, upstreams: *u}\n`;
    assert.deepEqual(accepted(text.replaceAll('\n', '\r\n')).ingress[1]?.upstreams, ['127.0.0.1:1000']);
  });

  test('keeps keys that JavaScript knows as plain labels', () => {
    const config = accepted(`${minimal}  labels: {constructor: a, toString: b, hasOwnProperty: c}\n`);
    assert.deepEqual(Object.entries(config.k3s.labels), [
      ['constructor', 'a'],
      ['toString', 'b'],
      ['hasOwnProperty', 'c'],
    ]);
  });
});

describe('drop-ins', () => {
  test('merge mappings deeply, and replace lists and scalars as a whole', () => {
    const config = accepted(
      `${minimal}  labels: {tier: edge, spot: "no"}\n  taints: ["a=b:NoSchedule"]\n`,
      'k3s: {labels: {tier: core}, taints: ["c=d:NoExecute"]}',
      'k3s: {server: "https://other.example:6443"}',
    );
    assert.deepEqual({ ...config.k3s.labels }, { tier: 'core', spot: 'no' });
    assert.deepEqual(config.k3s.taints, ['c=d:NoExecute']);
    assert.equal(config.k3s.server, 'https://other.example:6443');
  });

  test('may be empty, unlike the main file', () => {
    accepted(minimal, '', '# nothing yet\n', '---\n');
    assert.equal(onlyProblem('', minimal).found, 'an empty file');
  });

  test('are named in the message about a value that came from them', () => {
    const problem = onlyProblem(
      minimal,
      'health:\n  port: 9811',
      'health:\n  listen: [loopback]\n  port:   "x"\n',
    );
    assert.equal(problem.file, 'config.d/2.yaml');
    assert.deepEqual([problem.line, problem.column, problem.path], [3, 11, 'health.port']);
  });

  test('do not draw blame for a value that another file holds', () => {
    const problem = onlyProblem(`${minimal}  nodeName: "-"\n`, 'k3s: {withNodeId: true}');
    assert.deepEqual([problem.file, problem.line], ['config.yaml', 7]);
  });

  test('clash with the main file where they do not fit it', () => {
    const problem = onlyProblem(minimal, 'k3s: {network: 8056c2e21c000002}');
    assert.deepEqual([problem.file, problem.path], ['config.d/1.yaml', 'k3s.network']);
  });

  test('are all read before any is judged: each broken file is reported', () => {
    const result = parse('a: [', 'b: {');
    assert.ok(!result.ok);
    assert.deepEqual([...new Set(result.problems.map((p) => p.file))], ['config.yaml', 'config.d/1.yaml']);
  });
});

describe('suggestions', () => {
  test('count a swap of neighbours as one edit', () => {
    assert.equal(editDistance('lables', 'labels'), 1);
    assert.equal(editDistance('', 'abc'), 3);
    assert.equal(editDistance('kitten', 'sitting'), 3);
  });

  test('look past case and dashes, and stay silent where nothing is near', () => {
    assert.equal(suggest('node-name', ['nodeName', 'network']), 'nodeName');
    assert.equal(suggest('xyz', ['nodeName', 'network']), undefined);
    assert.equal(suggest('a'.repeat(100_000), ['nodeName']), undefined);
  });
});
