/** The metrics as Prometheus reads them: the text format 0.0.4 and its naming conventions. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Plan } from '#src/agent/plan.ts';
import type { World } from '#src/agent/world.ts';
import { createMetrics, type Metrics } from '#src/health/metrics.ts';
import { type PublishedListener, statusDocument } from '#src/health/status.ts';
import { look } from '../../support/moored.ts';
import { networkId, someFacts } from '../../support/world.ts';

interface Family {
  help?: string;
  type?: string;
  readonly samples: { readonly series: string; readonly labels: string; readonly value: number }[];
}

const sampleLine =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$/;

/** Reads the text, and fails where a line is not of the format. */
function parse(text: string): Map<string, Family> {
  assert.ok(text.endsWith('\n'), 'the last line ends with a newline');
  const families = new Map<string, Family>();
  const familyOf = (name: string): Family => {
    const family = families.get(name) ?? { samples: [] };
    families.set(name, family);
    return family;
  };
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const meta = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (meta?.[2] !== undefined) {
      const family = familyOf(meta[2]);
      const kind = meta[1] === 'HELP' ? 'help' : 'type';
      assert.equal(family[kind], undefined, `${line} comes once`);
      assert.equal(family.samples.length, 0, `${line} comes before its samples`);
      family[kind] = meta[3] ?? '';
      continue;
    }
    const sample = sampleLine.exec(line);
    assert.ok(sample?.[1] !== undefined, `not a sample: ${line}`);
    const base = sample[1].replace(/_(bucket|sum|count)$/, '');
    const family = families.get(sample[1]) ?? families.get(base);
    assert.ok(family !== undefined, `${sample[1]} has a HELP and a TYPE before it`);
    const value = Number(sample[3]?.replace('+Inf', 'Infinity'));
    assert.ok(!Number.isNaN(value), line);
    family.samples.push({ series: `${sample[1]}{${sample[2] ?? ''}}`, labels: sample[2] ?? '', value });
  }
  return families;
}

/** One entry that is followed, just while its NodePort changes, and one of which nothing is known. */
const foundUpstreams: Plan['upstreams'] = [
  {
    listener: 'https',
    service: 'kube-system/traefik',
    port: '443/tcp',
    upstreams: ['127.0.0.1:32000', '127.0.0.1:30484'],
    isLive: true,
    asOfMs: 1_790_000_000_000,
    missing: undefined,
    isAbsent: false,
  },
  {
    listener: 'quic',
    service: 'kube-system/traefik',
    port: '443/udp',
    upstreams: [],
    isLive: false,
    asOfMs: undefined,
    missing: 'nothing is known of it yet',
    isAbsent: false,
  },
];

function observed(metrics: Metrics, overrides: Partial<World> = {}, restarts: Record<string, number> = {}) {
  const { result, world } = look(overrides);
  const known: Plan = {
    ...result,
    memory: { ...result.memory, restarts, unaskedStarts: 2 },
    upstreams: foundUpstreams,
    allowances: [
      { name: 'k3s-node.service', left: 0, of: 5, withheldUntilMs: 1_790_000_060_000 },
      { name: 'mooring-ingress.service', left: 4, of: 5, withheldUntilMs: undefined },
    ],
  };
  const document = statusDocument(known, world, '1.2.3', { k3s: 'k3s', ingress: 'ingress' });
  metrics.observePass(document, known, { number: 1, durationMs: 12, reasons: ['start'] });
}

const https: PublishedListener = {
  name: 'https',
  protocol: 'tcp',
  connections: 30,
  open: 7,
  receivedBytes: 1000,
  sentBytes: 20_000,
  sessions: { ok: 20, denied: 3, upstream_failed: 0 },
  upstreamFailures: { '127.0.0.1:30484': 2 },
};
const ingress = {
  read: async () => [https, { ...https, protocol: 'udp', open: undefined, connections: 5 }],
  discardedLines: 4,
};

async function rendered(...passes: readonly Partial<World>[]): Promise<Map<string, Family>> {
  const metrics = createMetrics('1.2.3', () => 2, ingress);
  metrics.observeReload(true);
  metrics.observeReload(false);
  metrics.observeAction('zerotier', { do: 'zerotier.join', network: networkId }, { ok: true });
  metrics.observeAction('dns', { do: 'k3s.copy-token' }, { ok: false, code: 'x', message: 'y' });
  for (const pass of passes) observed(metrics, pass, { 'k3s-node.service ifindex': 3 });
  return parse(await metrics.render());
}

const sampleOf = (families: Map<string, Family>, name: string, ...labels: readonly string[]) =>
  families.get(name)?.samples.find((sample) => labels.every((label) => sample.labels.includes(label)))?.value;

describe('the metrics', () => {
  test('are of the text format before the first pass and after many', async () => {
    for (const passes of [[], [{}], [{}, { links: {} }, {}]]) {
      const families = await rendered(...passes);
      assert.ok(families.size > 15);
      for (const [name, { help, type }] of families) {
        assert.ok(help !== undefined && help.length > 5, `${name} has a HELP`);
        assert.match(type ?? '', /^(counter|gauge|histogram)$/, name);
      }
    }
  });

  test('have each series once', async () => {
    const families = await rendered({}, {}, { links: {} }, {});
    const all = [...families.values()].flatMap((family) => family.samples.map((sample) => sample.series));
    assert.deepEqual(
      all.filter((series, index) => all.indexOf(series) !== index),
      [],
    );
  });

  test('are named by the conventions: prefix, unit at the end, _total for counters and for nothing else', async () => {
    for (const [name, { type, samples }] of await rendered({})) {
      assert.match(name, /^(mooring|process|nodejs)_[a-z0-9]+(_[a-z0-9]+)*$/);
      assert.equal(name.endsWith('_total'), type === 'counter', `${name} is a ${type}`);
      assert.doesNotMatch(name, /_(ms|millis|kb|mb|percent)(_|$)/);
      if (name.endsWith('_info')) assert.ok(samples.every((sample) => sample.value === 1));
    }
  });

  test('have exactly one status of each condition', async () => {
    const families = await rendered({ links: {} });
    const conditions = new Map<string, number>();
    for (const { labels, value } of families.get('mooring_condition')?.samples ?? []) {
      const condition = /condition="(\w+)"/.exec(labels)?.[1] ?? '';
      conditions.set(condition, (conditions.get(condition) ?? 0) + value);
    }
    assert.equal(conditions.size, 17);
    assert.ok([...conditions.values()].every((sum) => sum === 1));
    assert.equal(sampleOf(families, 'mooring_condition', 'condition="LinkReady"', 'status="false"'), 1);
    assert.equal(sampleOf(families, 'mooring_ready'), 0);
  });

  test('tell what the node is like', async () => {
    const families = await rendered({});
    assert.equal(sampleOf(families, 'mooring_ready'), 1);
    assert.equal(sampleOf(families, 'mooring_interface_info', `network_id="${networkId}"`, 'ifindex="7"'), 1);
    assert.equal(sampleOf(families, 'mooring_interface_mtu_bytes'), 2800);
    assert.equal(sampleOf(families, 'mooring_config_loads_total', 'result="refused"'), 1);
    assert.equal(sampleOf(families, 'mooring_actions_total', 'result="error"'), 1);
    assert.equal(sampleOf(families, 'mooring_dbus_connections_total'), 2);
    assert.equal(sampleOf(families, 'mooring_pass_duration_seconds', 'le="0.025"'), 1);
  });

  test('count what memory counted once, however many passes tell it', async () => {
    const families = await rendered({}, {}, {});
    assert.equal(
      sampleOf(families, 'mooring_unit_restarts_total', 'unit="k3s-node.service"', 'reason="ifindex"'),
      3,
    );
    assert.equal(sampleOf(families, 'mooring_passes_total'), 3);
  });

  test('tell what is left of the budgets, and until when a restart is withheld', async () => {
    const families = await rendered({}, {});
    assert.equal(sampleOf(families, 'mooring_restart_budget_left', 'budget="mooring-ingress.service"'), 4);
    const withheld = families.get('mooring_restart_withheld_until_timestamp_seconds')?.samples;
    assert.deepEqual(
      withheld?.map(({ labels, value }) => [labels, value]),
      [['budget="k3s-node.service"', 1_790_000_060]],
    );
    assert.equal(sampleOf(families, 'mooring_k3s_unasked_starts_total'), 2);
  });

  test('tell what answers beyond the link, and nothing where nobody was asked', async () => {
    const fine = await rendered({});
    assert.equal(sampleOf(fine, 'mooring_k3s_server_reachable'), 1);
    assert.equal(sampleOf(fine, 'mooring_k3s_server_probe_duration_seconds'), 0.031);
    assert.equal(sampleOf(fine, 'mooring_home_dns_reachable'), 1);
    const age = 'mooring_zerotier_controller_last_receive_age_seconds';
    assert.equal(sampleOf(fine, age, `network_id="${networkId}"`), 23);
    const away = { kind: 'unreachable', stage: 'connect', error: '', heard: false, sinceMs: 0 } as const;
    const cut = await rendered({}, { home: { server: away, dns: { kind: 'silent', sinceMs: 0 } } });
    assert.equal(sampleOf(cut, 'mooring_k3s_server_reachable'), 0);
    assert.equal(sampleOf(cut, 'mooring_home_dns_reachable'), 0);
    assert.deepEqual(cut.get('mooring_k3s_server_probe_duration_seconds')?.samples, []);
    const unasked = await rendered({}, { home: { server: { kind: 'unprobed' }, dns: { kind: 'unasked' } } });
    for (const name of ['mooring_k3s_server_reachable', 'mooring_home_dns_reachable'])
      assert.deepEqual(unasked.get(name)?.samples, [], name);
  });

  test('tell which upstreams were found in the cluster, and as of when', async () => {
    const families = await rendered({});
    const labels = (name: string) => families.get(name)?.samples.map((sample) => sample.labels);
    const https = 'listener="https",service="kube-system/traefik"';
    assert.deepEqual(labels('mooring_ingress_upstream_info'), [
      `${https},upstream="127.0.0.1:32000",state="live"`,
      `${https},upstream="127.0.0.1:30484",state="live"`,
      'listener="quic",service="kube-system/traefik",upstream="",state="unknown"',
    ]);
    assert.deepEqual(labels('mooring_ingress_upstream_as_of_timestamp_seconds'), [https]);
    assert.equal(
      sampleOf(families, 'mooring_ingress_upstream_as_of_timestamp_seconds', https),
      1_790_000_000,
    );
  });

  test('drop the series of what is gone', async () => {
    const families = await rendered({}, { links: {} });
    assert.deepEqual(families.get('mooring_interface_info')?.samples, []);
    assert.deepEqual(families.get('mooring_interface_mtu_bytes')?.samples, []);
  });

  test('keep the facts of the cloud as labels, and hold no more than one set of them', async () => {
    const facts = someFacts();
    const families = await rendered({}, { cloud: { kind: 'known', facts, stale: undefined } });
    assert.deepEqual(
      families.get('mooring_node_info')?.samples.map((sample) => sample.labels),
      ['provider="aws",region="eu-central-1",zone="eu-central-1a",instance_type="t4g.small"'],
    );
  });

  test('tell what passes each listener of the ingress, and no number of open connections where nobody knows', async () => {
    const families = await rendered({});
    const tcp = ['listener="https"', 'protocol="tcp"'];
    const of = (name: string, ...labels: readonly string[]) =>
      sampleOf(families, `mooring_ingress_${name}`, ...labels);
    assert.equal(of('connections_total', ...tcp), 30);
    assert.equal(of('open_connections', ...tcp), 7);
    assert.equal(of('received_bytes_total', ...tcp), 1000);
    assert.equal(of('sent_bytes_total', ...tcp), 20_000);
    assert.equal(of('sessions_total', ...tcp, 'result="ok"'), 20);
    assert.equal(of('sessions_total', ...tcp, 'result="upstream_failed"'), 0);
    assert.equal(of('upstream_failures_total', ...tcp, 'upstream="127.0.0.1:30484"'), 2);
    assert.equal(of('discarded_log_lines_total'), 4);
    assert.equal(of('connections_total', 'protocol="udp"'), 5);
    assert.equal(of('open_connections', 'protocol="udp"'), undefined);
  });

  test('are of now each time, and never added to what was told before', async () => {
    const metrics = createMetrics('1.2.3', () => 2, ingress);
    await metrics.render();
    const families = parse(await metrics.render());
    assert.equal(sampleOf(families, 'mooring_ingress_connections_total', 'protocol="tcp"'), 30);
    assert.equal(sampleOf(families, 'mooring_ingress_discarded_log_lines_total'), 4);
  });
});
