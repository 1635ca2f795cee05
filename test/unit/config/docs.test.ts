/** docs/config.md must be true: its examples parse, its defaults are the schema's, and it names every key. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { keyDescriptions } from '#src/config/json-schema.ts';
import { parseConfig } from '#src/config/parse.ts';
import { formatProblem } from '#src/config/problem.ts';
import { defaultInterfacePrefixBlacklist } from '#src/config/schema.ts';

const text = readFileSync(new URL('../../../docs/config.md', import.meta.url), 'utf8');
const examples = [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map((match) => match[1] ?? '');
const smallest = examples[0] ?? '';

function parse(...texts: string[]) {
  const result = parseConfig(texts.map((source, i) => ({ path: `example ${i}`, text: source })));
  assert.ok(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
  return result.config;
}

/** The default column of the row of a key in the section that starts with `heading`. */
function documentedDefault(heading: string, key: string): string | undefined {
  const section = text.slice(text.indexOf(heading) + heading.length).split('\n## ')[0] ?? '';
  const row = section.split('\n').find((line) => line.startsWith(`| \`${key}\` |`));
  return row?.split('|')[2]?.trim();
}

describe('docs/config.md', () => {
  test('has examples that are accepted, alone or as a drop-in of the smallest', () => {
    assert.ok(examples.length >= 4);
    for (const example of examples) {
      if (/^zerotier:/m.test(example)) parse(example);
      else parse(smallest, example);
    }
  });

  test('has a row for every key', () => {
    for (const path of Object.keys(keyDescriptions)) {
      const [section = '', ...rest] = path.split('.');
      if (rest.length === 0) assert.ok(text.includes(`\n## \`${section.replace('[]', '')}\``), path);
      else
        assert.ok(
          text.includes(`\n| \`${rest.join('.')}\` |`) || text.includes(`\n| \`${rest.at(-1)}\` |`),
          path,
        );
    }
  });

  test('tells the defaults that are in force', () => {
    const config = parse(smallest);
    const { restart } = config.k3s;
    const told = (heading: string, key: string) => documentedDefault(heading, key)?.replaceAll('`', '');
    assert.equal(
      told('## `zerotier`', 'interfacePrefixBlacklist'),
      `[${defaultInterfacePrefixBlacklist.join(', ')}]`,
    );
    assert.equal(told('## `zerotier`', 'networks[].dns'), config.zerotier.networks[0]?.dns);
    const { repair } = config.zerotier;
    assert.equal(told('## `zerotier`', 'rejoin'), String(repair.rejoin));
    assert.equal(told('## `zerotier`', 'restart'), String(repair.restart));
    assert.deepEqual([told('## `zerotier`', 'patience'), repair.patience], ['10s', 10_000]);
    assert.deepEqual([told('## `zerotier`', 'grace'), repair.grace], ['15s', 15_000]);
    assert.deepEqual([told('## `zerotier`', 'pause'), repair.pause], ['60s', 60_000]);
    assert.deepEqual(
      [told('## `zerotier`', 'budget'), repair.budget],
      ['3/1h', { count: 3, periodMs: 3_600_000 }],
    );
    assert.deepEqual([told('## `zerotier`', 'maxDelay'), repair.maxDelay], ['1h', 3_600_000]);
    assert.equal(told('## `dns`', 'repair.restart'), String(config.dns.repair.restart));
    assert.deepEqual([told('## `dns`', 'repair.patience'), config.dns.repair.patience], ['2s', 2_000]);
    assert.equal(told('## `k3s`', 'nodeName'), config.k3s.nodeName);
    assert.equal(told('## `k3s`', 'withNodeId'), String(config.k3s.withNodeId));
    assert.equal(told('## `k3s`', 'binary'), config.k3s.binary);
    assert.deepEqual([told('## `k3s`', 'outage'), restart.outage], ['30s', 30_000]);
    assert.deepEqual([told('## `k3s`', 'settle'), restart.settle], ['2s', 2_000]);
    assert.deepEqual([told('## `k3s`', 'spread'), restart.spread], ['45s', 45_000]);
    assert.deepEqual(
      [told('## `k3s`', 'budget'), restart.budget],
      ['5/10m', { count: 5, periodMs: 600_000 }],
    );
    assert.deepEqual([told('## `k3s`', 'maxDelay'), restart.maxDelay], ['10m', 600_000]);
    assert.deepEqual([told('## `k3s`', 'calm'), config.k3s.probe.calm], ['60s', 60_000]);
    assert.deepEqual([told('## `k3s`', 'eager'), config.k3s.probe.eager], ['3s', 3_000]);
    assert.deepEqual([told('## `k3s`', 'deadline'), config.k3s.probe.deadline], ['2500ms', 2_500]);
    assert.deepEqual(
      [told('## `k3s`', 'controllerSilence'), config.k3s.probe.controllerSilence],
      ['150s', 150_000],
    );
    for (const key of ['workers', 'connections'] as const)
      assert.equal(told('## `nginx`', key), config.nginx[key]);
    assert.deepEqual([told('## `nginx`', 'shutdown'), config.nginx.shutdown], ['10m', 600_000]);
    assert.equal(told('## `node`', 'externalIp'), config.node.externalIp);
    assert.deepEqual([told('## `node`', 'patience'), config.node.patience], ['20s', 20_000]);
    assert.equal(told('## `node`', 'cloud'), config.node.cloud);
    assert.equal(told('## `health`', 'listen'), `[${config.health.listen.join(', ')}]`);
    assert.equal(told('## `health`', 'port'), String(config.health.port));
  });

  test('tells the defaults of an ingress entry and of dns as a mapping', () => {
    const { ingress, zerotier } = parse(
      smallest.replace('id: 8056c2e21c000001', 'id: 8056c2e21c000001\n      dns: {servers: [10.45.0.1]}'),
      'ingress: [{name: a, listen: 80, upstreams: ["127.0.0.1:1000"]}]',
    );
    const dns = zerotier.networks[0]?.dns;
    assert.ok(typeof dns === 'object');
    const told = (heading: string, key: string) => documentedDefault(heading, key)?.replaceAll('`', '');
    assert.equal(told('## `ingress`', 'protocol'), ingress[0]?.protocol);
    assert.equal(told('## `ingress`', 'proxyProtocol'), ingress[0]?.proxyProtocol);
    assert.equal(told('## `zerotier`', 'defaultRoute'), String(dns.defaultRoute));
    assert.equal(told('## `zerotier`', 'reverseZones'), String(dns.reverseZones));
    assert.equal(told('## `zerotier`', 'domains'), `[${dns.domains.join(', ')}]`);
  });
});
