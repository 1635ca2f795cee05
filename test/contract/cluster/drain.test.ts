/** Draining this node, against a TLS server that answers as the Kubernetes API does to a kubelet, and against worse. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { drainNode } from '../../../src/cli/drain-node.ts';
import { createDrain, type Drain } from '../../../src/systems/cluster/drain.ts';
import { SystemError } from '../../../src/systems/error.ts';
import {
  answerWith,
  type BadHttpServer,
  misbehaviours,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { identity } from '../../support/certificates.ts';
import { writeKubeconfig } from '../../support/kubeconfig.ts';

const bounded = { timeout: 15_000 };
const ca = identity('k3s-server-ca');
const serving = identity('k3s', ca, 'IP:127.0.0.1');
const clientCa = identity('k3s-client-ca');
const kubelet = identity('system:node:edge-1', clientCa, 'DNS:edge-1');

const pod = (name: string, more: object = {}, status: object = { phase: 'Running' }) => ({
  metadata: { name, namespace: 'default', ...more },
  status,
});

describe('draining this node', () => {
  let server: BadHttpServer;
  let folder: string;
  let drain: Drain;
  /** The pods that are on the node. */
  let pods: ReturnType<typeof pod>[];
  /** Evictions that are still refused, by name. */
  let budget: Record<string, number>;
  const told: string[] = [];
  const options = { timeoutMs: 1_000, pauseMs: 10, tell: (line: string) => told.push(line) };
  const asked = () => server.seen.map(({ method, path }) => `${method} ${path}`);

  before(async () => {
    const tls = { ...serving, ca: clientCa.cert, requestCert: true };
    server = await startBadHttpServer(answerWith(200, '{}'), tls);
  });
  after(() => server.close());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mooring-drain-'));
    const kubeconfig = writeKubeconfig(folder, 'kubelet', {
      server: server.url,
      ca: ca.cert,
      client: kubelet,
    });
    drain = createDrain({ kubeconfig, deadlineMs: 300 });
    pods = [];
    budget = {};
    told.length = 0;
    server.behave((request, response, socket) => {
      const say = (status: number, body: unknown = {}) =>
        answerWith(status, JSON.stringify(body))(request, response, socket);
      const evicted = /^\/api\/v1\/namespaces\/default\/pods\/([a-z-]+)\/eviction$/.exec(request.path)?.[1];
      if (request.method === 'PATCH' && request.path === '/api/v1/nodes/edge-1') return say(200);
      if (request.path === '/api/v1/pods?limit=250&fieldSelector=spec.nodeName%3Dedge-1')
        return say(200, { metadata: {}, items: pods });
      if (request.method !== 'POST' || evicted === undefined) return say(403);
      const refusals = budget[evicted] ?? 0;
      budget[evicted] = refusals - 1;
      if (refusals > 0) return say(429);
      pods = pods.filter(({ metadata }) => metadata.name !== evicted);
      return say(201);
    });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('cordons it first, then evicts what can live elsewhere, and nothing else', bounded, async () => {
    pods = [
      pod('web'),
      pod('agent', { ownerReferences: [{ kind: 'DaemonSet' }] }),
      pod('static', { annotations: { 'kubernetes.io/config.mirror': 'x' } }),
      pod('job', { ownerReferences: [{ kind: 'Job' }] }, { phase: 'Succeeded' }),
      pod('replica', { ownerReferences: [{ kind: 'ReplicaSet' }] }),
    ];
    const from = server.seen.length;
    assert.equal(await drainNode(drain, options), 2);
    const [cordon, ...rest] = server.seen.slice(from);
    assert.equal(`${cordon?.method} ${cordon?.path}`, 'PATCH /api/v1/nodes/edge-1');
    assert.equal(cordon?.headers['content-type'], 'application/merge-patch+json');
    assert.deepEqual(JSON.parse(cordon?.body ?? ''), { spec: { unschedulable: true } });
    const evictions = rest.filter(({ method }) => method === 'POST');
    assert.deepEqual(
      evictions.map(({ body }) => JSON.parse(body).metadata.name),
      ['web', 'replica'],
    );
    assert.deepEqual(told, ['evicting default/web', 'evicting default/replica']);
  });

  test('waits for disruption budgets', bounded, async () => {
    pods = [pod('web')];
    budget = { web: 3 };
    assert.equal(await drainNode(drain, options), 1);
  });

  test('gives up in time, and names what is still there and why', bounded, async () => {
    pods = [pod('web')];
    budget = { web: 1_000_000 };
    await assert.rejects(drainNode(drain, { ...options, timeoutMs: 100 }), {
      code: 'drain-timeout',
      message: /still here: default\/web; held back by a disruption budget: default\/web/,
    });
  });

  test('waits for an API that is away, and cordons before it evicts', bounded, async () => {
    const done: string[] = [];
    let away = 2;
    const patient: Drain = {
      nodeName: async () => 'edge-1',
      cordon: async () => {
        if (away-- > 0) throw new SystemError('cluster-away', 'refused');
        done.push('cordon');
      },
      pods: async () => {
        done.push('pods');
        return [];
      },
      evict: async () => 'going',
    };
    assert.equal(await drainNode(patient, options), 0);
    assert.deepEqual(done, ['cordon', 'pods']);
  });

  test('does nothing twice on a node that is drained', bounded, async () => {
    assert.equal(await drainNode(drain, options), 0);
    assert.ok(
      !asked()
        .slice(-2)
        .some((line) => line.startsWith('POST')),
    );
  });

  for (const status of [401, 403]) {
    test(`ends at once where it is refused with ${status}`, bounded, async () => {
      server.behave(answerWith(status, '{}'));
      await assert.rejects(drainNode(drain, options), { code: 'cluster-refused' });
    });
  }

  for (const [what, body] of [
    ['no JSON', '<html>'],
    ['no list', '{"items": 7}'],
    ['a pod whose name leads elsewhere', JSON.stringify({ items: [pod('../../nodes/x')] })],
  ] as const) {
    test(`believes no answer that is ${what}`, bounded, async () => {
      server.behave(answerWith(200, body));
      await assert.rejects(drain.pods(), { code: 'cluster-unexpected' });
    });
  }

  // Node.js cannot reset a connection below TLS.
  for (const { name, behave } of misbehaviours.filter((one) => !one.name.startsWith('resets'))) {
    test(`ends in time with an API that ${name}`, bounded, async () => {
      server.behave(behave);
      await assert.rejects(drain.pods(), /API/);
    });
  }

  test('needs the credentials that k3s leaves', bounded, async () => {
    rmSync(join(folder, 'kubelet.kubeconfig'));
    await assert.rejects(drainNode(drain, options), { code: 'cluster-no-credentials' });
  });
});
