/**
 * The Kubernetes examples fit mooring's config beside them: ports, label and taint are the same on both sides, and what
 * they ask of Traefik's chart are keys that it has. No cluster is asked.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { parseConfig } from '#src/config/parse.ts';
import { formatProblem } from '#src/config/problem.ts';
import type { Config } from '#src/config/schema.ts';

const folder = join(import.meta.dirname, '../../../examples');
const read = (path: string) => readFileSync(join(folder, path), 'utf8');

/** A node of parsed YAML that may be anything. */
function at(value: unknown, ...path: readonly string[]): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (typeof value !== 'object' || value === null) return undefined;
  return at(Object.entries(value).find(([name]) => name === key)?.[1], ...rest);
}

function documents(path: string): readonly unknown[] {
  return parseAllDocuments(read(path)).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS();
  });
}

/** Every path to a leaf; a list is a leaf. */
function leaves(value: unknown, path = ''): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, path === '' ? key : `${path}.${key}`));
}

/** Whether a toleration lets a pod onto a node with this taint, by the rules of Kubernetes. */
function tolerates(toleration: unknown, taint: { key: string; value: string; effect: string }): boolean {
  const [key, operator, value, effect] = ['key', 'operator', 'value', 'effect'].map((name) =>
    at(toleration, name),
  );
  if (effect !== undefined && effect !== taint.effect) return false;
  if (key !== undefined && key !== taint.key) return false;
  return operator === 'Exists' || (key !== undefined && String(value ?? '') === taint.value);
}

/** The part of mooring's config that the README shows, on top of a config that is complete. */
function shownConfig(): Config {
  const shown = /^```yaml\n(.*?)^```$/ms.exec(read('kubernetes/README.md'))?.[1] ?? '';
  const base = readFileSync(join(folder, '../packaging/deb/config.example.yaml'), 'utf8');
  const result = parseConfig([
    { path: 'config.yaml', text: base },
    { path: 'README.md', text: shown },
  ]);
  assert.ok(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
  return result.config;
}

const chartConfig = documents('kubernetes/traefik.yaml')[0];
const values: unknown = parse(String(at(chartConfig, 'spec', 'valuesContent')));
const workload = documents('kubernetes/edge-workload.yaml');
const pod = at(
  workload.find((one) => at(one, 'kind') === 'Deployment'),
  'spec',
  'template',
  'spec',
);
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** Keys of the chart's values.schema.json that stand for what the example sets. */
const chartKeys = [
  'deployment.kind',
  'tolerations',
  'ports.web.nodePort',
  'ports.web.proxyProtocol.trustedIPs',
  'ports.websecure.nodePort',
  'ports.websecure.proxyProtocol.trustedIPs',
  'ports.websecure.http3.enabled',
  // Passed on to the Service as it is.
  'service.spec.externalTrafficPolicy',
  'service.spec.trafficDistribution',
];

describe('the values for Traefik', () => {
  test('are for the chart that k3s installs', () => {
    assert.equal(at(chartConfig, 'apiVersion'), 'helm.cattle.io/v1');
    assert.equal(at(chartConfig, 'kind'), 'HelmChartConfig');
    assert.deepEqual(at(chartConfig, 'metadata'), { name: 'traefik', namespace: 'kube-system' });
  });

  test('have no key but those looked up in the schema of the chart', () => {
    assert.deepEqual(leaves(values).toSorted(), chartKeys.toSorted());
  });

  test('listen at the NodePorts that the ingress of every example leads to', () => {
    const web = at(values, 'ports', 'web', 'nodePort');
    const websecure = at(values, 'ports', 'websecure', 'nodePort');
    const wanted = { http: web, https: websecure, quic: websecure };
    const examples = ['user-data', 'baked-image'].map((name) => {
      const files = list(at(parse(read(`cloud-init/${name}.yaml`)), 'write_files'));
      return String(
        at(
          files.find((file) => at(file, 'path') === '/etc/mooring/config.yaml'),
          'content',
        ),
      );
    });
    const configs = examples.map((text) => {
      const result = parseConfig([{ path: 'config.yaml', text }]);
      assert.ok(result.ok);
      return result.config;
    });
    for (const config of [...configs, shownConfig()]) {
      assert.deepEqual(
        Object.fromEntries(config.ingress.map(({ name, upstreams }) => [name, upstreams])),
        Object.fromEntries(Object.entries(wanted).map(([name, port]) => [name, [`127.0.0.1:${port}`]])),
      );
    }
  });

  test('believe a PROXY header from the pod network alone, and a forwarded header from nobody', () => {
    for (const port of ['web', 'websecure'])
      assert.deepEqual(at(values, 'ports', port, 'proxyProtocol', 'trustedIPs'), ['10.42.0.0/16']);
    assert.ok(!leaves(values).some((path) => /forwardedHeaders|insecure/.test(path)));
  });

  test('expect the header where the config beside them sends it', () => {
    const told = shownConfig().ingress.map(({ name, proxyProtocol }) => [name, proxyProtocol]);
    assert.deepEqual(told, [
      ['http', 'v1'],
      ['https', 'v1'],
      ['quic', 'none'],
    ]);
  });
});

describe('the workload at the edge', () => {
  const [taintText = ''] = shownConfig().k3s.taints;
  const [, key = '', value = '', effect = ''] = /^([^=]+)=([^:]+):(.+)$/.exec(taintText) ?? [];
  const taint = { key, value, effect };

  test('asks for the label that the config gives its nodes', () => {
    const { labels } = shownConfig().k3s;
    for (const [name, wanted] of Object.entries(at(pod, 'nodeSelector') ?? {}))
      assert.equal(labels[name], wanted);
    assert.deepEqual(at(pod, 'nodeSelector'), { tier: 'edge' });
  });

  test('tolerates the taint, as Traefik does', () => {
    assert.ok(taint.key !== '');
    for (const tolerations of [at(pod, 'tolerations'), at(values, 'tolerations')])
      assert.ok(list(tolerations).some((one) => tolerates(one, taint)));
  });

  test("is away from k3s' service load balancer, which does not tolerate it", () => {
    // What k3s gives the pods of svclb (pkg/cloudprovider/servicelb.go).
    const svclb = [
      { key: 'node-role.kubernetes.io/master', operator: 'Exists', effect: 'NoSchedule' },
      { key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' },
      { key: 'CriticalAddonsOnly', operator: 'Exists' },
    ];
    assert.ok(!svclb.some((one) => tolerates(one, taint)));
    // Traefik keeps k3s' own tolerations, which the list in the values replaces.
    for (const one of svclb)
      assert.ok(list(at(values, 'tolerations')).some((own) => at(own, 'key') === one.key));
  });

  test('stays where it is while home does not hear of its node', () => {
    for (const name of ['unreachable', 'not-ready']) {
      const gone = { key: `node.kubernetes.io/${name}`, value: '', effect: 'NoExecute' };
      assert.ok(list(at(pod, 'tolerations')).some((one) => tolerates(one, gone)));
    }
  });

  test('is what its Service, its budget and its Ingress speak of', () => {
    const labels = at(workload[0], 'spec', 'template', 'metadata', 'labels');
    const [deployment, budget, service, ingress] = workload;
    assert.deepEqual(at(deployment, 'spec', 'selector', 'matchLabels'), labels);
    assert.deepEqual(at(budget, 'spec', 'selector', 'matchLabels'), labels);
    assert.deepEqual(at(service, 'spec', 'selector'), labels);
    const text = JSON.stringify(ingress);
    assert.ok(
      text.includes(`"service":{"name":"${at(service, 'metadata', 'name')}","port":{"name":"http"}}`),
    );
  });
});
