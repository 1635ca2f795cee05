/**
 * Metrics of the ingress' listeners. Connections and how many are open are live; bytes, results and failures of servers come
 * with the end of a session. Labels are names and servers of the config: no client adds a series.
 */
import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import type Registry from 'prom-client/lib/registry.js';
import type { PublishedListener } from './status.ts';

/** What is read of the ingress when somebody asks for the metrics. */
export interface IngressFigures {
  /** Never rejects. */
  read(): Promise<readonly PublishedListener[]>;
  readonly discardedLines: number;
}

/** Registers them; the function returned brings them up to date. */
export function ingressMetrics(registry: Registry, figures: IngressFigures): () => Promise<void> {
  const registers = [registry];
  const labelNames = ['listener', 'protocol'];
  const counter = (name: string, help: string, more: readonly string[] = []) =>
    new Counter({ name, help, labelNames: [...labelNames, ...more], registers });
  const connections = counter(
    'mooring_ingress_connections_total',
    'Connections accepted from clients; for UDP sessions, each a client address and port. Live.',
  );
  const open = new Gauge({
    name: 'mooring_ingress_open_connections',
    help: 'Connections, or UDP sessions, that are open now. Live; none where they cannot be told.',
    labelNames,
    registers,
  });
  const sessions = counter(
    'mooring_ingress_sessions_total',
    'Connections that ended, by result; unrecorded are those whose end nobody wrote down.',
    ['result'],
  );
  const received = counter(
    'mooring_ingress_received_bytes_total',
    'Bytes that clients sent, of connections that ended.',
  );
  const sent = counter(
    'mooring_ingress_sent_bytes_total',
    'Bytes that were sent to clients, of connections that ended.',
  );
  const failures = counter(
    'mooring_ingress_upstream_failures_total',
    'Tries to reach a server that came to nothing, of connections that ended.',
    ['upstream'],
  );
  const discarded = new Counter({
    name: 'mooring_ingress_discarded_log_lines_total',
    help: "Lines of the log of sessions that are not of a known listener's, or broken, and were not counted.",
    registers,
  });

  return async () => {
    const listeners = await figures.read();
    for (const series of [connections, open, sessions, received, sent, failures, discarded]) series.reset();
    discarded.inc(figures.discardedLines);
    for (const one of listeners) {
      const labels = { listener: one.name, protocol: one.protocol };
      connections.inc(labels, one.connections);
      if (one.open !== undefined) open.set(labels, one.open);
      received.inc(labels, one.receivedBytes);
      sent.inc(labels, one.sentBytes);
      for (const [result, number] of Object.entries(one.sessions))
        sessions.inc({ ...labels, result }, number);
      for (const [upstream, number] of Object.entries(one.upstreamFailures))
        failures.inc({ ...labels, upstream }, number);
    }
  };
}
