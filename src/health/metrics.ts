/** Prometheus metrics. Names follow Prometheus' conventions; states are one series each with 0 or 1. */
import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Histogram from 'prom-client/lib/histogram.js';
import Registry from 'prom-client/lib/registry.js';
import type { Action, Outcome, StageName } from '../agent/actions.ts';
import type { PassFacts } from '../agent/loop.ts';
import type { Plan } from '../agent/plan.ts';
import { type IngressFigures, ingressMetrics } from './ingress-metrics.ts';
import type { StatusDocument } from './status.ts';

export interface Metrics {
  observePass(document: StatusDocument, result: Plan, pass: PassFacts): void;
  observeAction(stage: StageName, action: Action, outcome: Outcome): void;
  /** A config that was read anew and accepted or refused. */
  observeReload(accepted: boolean): void;
  /** The text format 0.0.4. */
  render(): Promise<string>;
  readonly contentType: string;
}

const statuses = ['true', 'false', 'unknown'] as const;

export function createMetrics(
  version: string,
  busConnections: () => number,
  ingress: IngressFigures,
): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name, help, labelNames: [...labelNames], registers });
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter({ name, help, labelNames: [...labelNames], registers });

  gauge('mooring_build_info', 'Version of mooring and of its runtime.', ['version', 'node']).set(
    { version, node: process.version },
    1,
  );
  const ready = gauge('mooring_ready', 'Whether the node is moored: 1 or 0.');
  const condition = gauge(
    'mooring_condition',
    'Each condition has one series a status, 1 for the status that holds.',
    ['condition', 'status'],
  );
  const since = gauge(
    'mooring_condition_since_timestamp_seconds',
    'Unix time since the condition has its status.',
    ['condition'],
  );
  const passes = counter('mooring_passes_total', 'Passes of the loop.');
  const passSeconds = new Histogram({
    name: 'mooring_pass_duration_seconds',
    help: 'Time of one pass: observing, planning, publishing.',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  });
  const lastPass = gauge('mooring_last_pass_timestamp_seconds', 'Unix time of the newest pass.');
  const actions = counter('mooring_actions_total', 'Actions carried out.', ['stage', 'action', 'result']);
  const reloads = counter('mooring_config_loads_total', 'Configs read at start or SIGHUP.', ['result']);
  const flaps = counter(
    'mooring_link_flaps_total',
    'Times that the link went away or came back changed, since boot.',
    ['network_id'],
  );
  const outages = counter(
    'mooring_link_outages_total',
    'Outages longer than k3s.restart.outage, since boot.',
    ['network_id'],
  );
  const info = gauge('mooring_interface_info', 'The interface of each network.', [
    'network_id',
    'interface',
    'ifindex',
  ]);
  const mtu = gauge('mooring_interface_mtu_bytes', 'MTU of the interface of each network.', ['network_id']);
  const restarts = counter(
    'mooring_unit_restarts_total',
    'Starts and restarts of units that mooring asked for, since boot.',
    ['unit', 'reason'],
  );
  const unasked = counter(
    'mooring_k3s_unasked_starts_total',
    'Runs of the k3s agent that began without mooring asking, since boot: after a crash, or by hand.',
  );
  const budgetLeft = gauge(
    'mooring_restart_budget_left',
    'Restarts that may happen at once, of each budget that was drawn from.',
    ['budget'],
  );
  const withheld = gauge(
    'mooring_restart_withheld_until_timestamp_seconds',
    'Unix time before which no restart happens, since the budget is used up. None while it is not.',
    ['budget'],
  );
  const controllerAge = gauge(
    'mooring_zerotier_controller_last_receive_age_seconds',
    "Time since ZeroTier heard from the network's controller, which it does every 60 s.",
    ['network_id'],
  );
  const server = gauge(
    'mooring_k3s_server_reachable',
    'Whether the k3s server answers through the link, and is the one that the token names: 1 or 0. None while it is not asked.',
  );
  const serverSeconds = gauge(
    'mooring_k3s_server_probe_duration_seconds',
    'Time of the newest answer of the k3s server, from connecting to its last byte.',
  );
  const homeDns = gauge(
    'mooring_home_dns_reachable',
    'Whether a DNS server of the link answers: 1 or 0. None while there is none to ask.',
  );
  const upstream = gauge(
    'mooring_ingress_upstream_info',
    'Upstreams that were found in the cluster, by the entry of the ingress; state is live, last-known or unknown.',
    ['listener', 'service', 'upstream', 'state'],
  );
  const upstreamAsOf = gauge(
    'mooring_ingress_upstream_as_of_timestamp_seconds',
    'Unix time of the newest answer of the cluster about the upstreams of an entry. None where it never told.',
    ['listener', 'service'],
  );
  const node = gauge('mooring_node_info', 'What the cloud tells about the node.', [
    'provider',
    'region',
    'zone',
    'instance_type',
  ]);
  processMetrics(registry, busConnections);
  const updateIngress = ingressMetrics(registry, ingress);

  return {
    contentType: registry.contentType,
    observePass(document, result, pass) {
      ready.set(document.ready ? 1 : 0);
      for (const one of result.conditions) {
        for (const status of statuses)
          condition.set({ condition: one.type, status }, one.status === status ? 1 : 0);
        since.set({ condition: one.type }, one.sinceMs / 1000);
      }
      passes.inc();
      passSeconds.observe(pass.durationMs / 1000);
      lastPass.setToCurrentTime();
      // What the memory counts outlives this process: such a counter is set anew each time.
      for (const series of [flaps, outages, info, mtu, restarts, budgetLeft, withheld, node, controllerAge])
        series.reset();
      for (const series of [upstream, upstreamAsOf]) series.reset();
      for (const network of document.networks) {
        const labels = { network_id: network.id };
        flaps.inc(labels, network.flaps);
        outages.inc(labels, network.outages);
        if (network.controllerHeardSecondsAgo !== undefined)
          controllerAge.set(labels, network.controllerHeardSecondsAgo);
        if (network.ifindex === undefined) continue;
        info.set({ ...labels, interface: network.device, ifindex: String(network.ifindex) }, 1);
        mtu.set(labels, network.mtuBytes ?? 0);
      }
      for (const [key, count] of Object.entries(document.k3s.restarts)) {
        const [unit = '', reason = ''] = key.split(' ');
        restarts.inc({ unit, reason }, count);
      }
      unasked.reset();
      unasked.inc(document.k3s.unaskedStarts);
      for (const { name, left, withheldUntil } of document.budgets) {
        budgetLeft.set({ budget: name }, left);
        if (withheldUntil !== undefined) withheld.set({ budget: name }, Date.parse(withheldUntil) / 1000);
      }
      // A gauge without labels comes back from its reset as 0, which would be an answer.
      const { home } = document;
      setOrDrop(server, home.server === 'unprobed' ? undefined : Number(home.server === 'reachable'));
      setOrDrop(serverSeconds, home.latencyMs === undefined ? undefined : home.latencyMs / 1000);
      setOrDrop(homeDns, home.dns === 'unasked' ? undefined : Number(home.dns === 'answers'));
      for (const { listener, service, upstreams, state, asOf } of document.ingress.found) {
        for (const address of upstreams.length === 0 ? [''] : upstreams)
          upstream.set({ listener, service, upstream: address, state }, 1);
        if (asOf !== undefined) upstreamAsOf.set({ listener, service }, Date.parse(asOf) / 1000);
      }
      const { provider = 'none', region = '', zone = '', instanceType = '' } = document.cloud;
      node.set({ provider, region, zone, instance_type: instanceType }, 1);
    },
    observeAction(stage, action, outcome) {
      actions.inc({ stage, action: action.do, result: outcome.ok ? 'ok' : 'error' });
    },
    observeReload(accepted) {
      reloads.inc({ result: accepted ? 'accepted' : 'refused' });
    },
    async render() {
      await updateIngress();
      return registry.metrics();
    },
  };
}

/** Sets a gauge without labels, or leaves it without a sample. */
function setOrDrop(gauge: Gauge, value: number | undefined): void {
  if (value === undefined) gauge.remove();
  else gauge.set(value);
}

/** The process' own figures, read when they are asked for, so that nothing ticks in between. */
function processMetrics(registry: Registry, busConnections: () => number): void {
  const registers = [registry];
  const started = Date.now() / 1000 - process.uptime();
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'Unix time of the start of the process.',
    registers,
    collect() {
      this.set(started);
    },
  });
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time spent.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Gauge({
    name: 'nodejs_heap_used_bytes',
    help: 'Heap in use.',
    registers,
    collect() {
      this.set(process.memoryUsage().heapUsed);
    },
  });
  new Counter({
    name: 'mooring_dbus_connections_total',
    help: 'Connections made to the system bus.',
    registers,
    collect() {
      this.reset();
      this.inc(busConnections());
    },
  });
}
