/** The k3s stand-in lets a kubelet drain its own node as Kubernetes does, and nothing more. Needs root. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cluster, type HomeNode, type Said } from './cluster.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root for network namespaces';
const merge = 'application/merge-patch+json';
const cordon = { spec: { unschedulable: true } };

describe('draining by the k3s stand-in', { skip, timeout: 60_000 }, () => {
  let cluster: Cluster;
  let agent: Said;

  const joined = async (name: string) => {
    const options = [
      '--server',
      'https://10.45.0.1:6443',
      '--flannel-iface',
      'ztk3s',
      '--node-ip',
      '10.45.0.2',
    ];
    const started = cluster.agent([...options, '--node-name', name, '--token', await cluster.token()]);
    await started.says(/k3s agent is up and running/);
    return started;
  };
  const node = async (name: string): Promise<HomeNode> => {
    const found = (await cluster.nodes()).find((one) => one.name === name);
    assert.ok(found);
    return found;
  };
  const patch = (name: string, body: unknown, client = 'kubelet', type = merge) =>
    cluster.api(client, `/api/v1/nodes/${name}`, { verb: 'PATCH', type, body });
  const evict = (pod: string, client = 'kubelet') => {
    const [namespace, name] = pod.split('/');
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/eviction`;
    return cluster.api(client, path, { verb: 'POST', type: 'application/json', body });
  };

  before(async () => {
    cluster = await Cluster.open();
    // A node whose objects are another's for the one that is drained.
    await (await joined('other')).end();
    await cluster.wipeNode();
    agent = await joined('edge');
  });
  after(() => cluster.close());

  test('a kubelet lists the pods of its own node alone', async () => {
    const list = (selector: string, client = 'kubelet') =>
      cluster.api(client, `/api/v1/pods${selector && `?fieldSelector=${encodeURIComponent(selector)}`}`);
    const { code, text } = await list('spec.nodeName=edge');
    assert.equal(code, 200);
    const names = JSON.parse(text).items.map(
      ({ metadata }: { metadata: { namespace: string; name: string } }) =>
        `${metadata.namespace}/${metadata.name}`,
    );
    assert.deepEqual(names, (await node('edge')).pods);
    assert.equal(names.length, 2);
    for (const selector of ['', 'spec.nodeName=other']) {
      const refused = await list(selector);
      assert.equal(refused.code, 403);
      assert.match(refused.text, /can only list\/watch pods with spec\.nodeName field selector/);
    }
    assert.equal((await list('status.phase=Running')).code, 400);
    assert.equal((await list('', 'k3s-controller')).code, 200);
  });

  test('a kubelet cordons its own node, and touches neither its taints nor another one', async () => {
    assert.equal((await patch('other', cordon)).code, 403);
    assert.equal((await patch('edge', cordon, 'k3s-controller')).code, 403);
    assert.equal((await patch('edge', { spec: { unschedulable: true, taints: [] } })).code, 403);
    assert.equal((await patch('edge', cordon, 'kubelet', 'application/json')).code, 415);
    for (const body of [[], {}, { spec: 1 }]) assert.equal((await patch('edge', body)).code, 400);
    assert.equal((await node('edge')).unschedulable, false);
    assert.equal((await patch('edge', cordon)).code, 200);
    assert.equal((await node('edge')).unschedulable, true);
    assert.equal((await node('other')).unschedulable, false);
    const told = await cluster.api('kubelet', '/api/v1/nodes/edge');
    assert.equal(JSON.parse(told.text).spec.unschedulable, true);
  });

  test('an evicted pod of a cordoned node ends for good, once its budget lets it go', async () => {
    const [pod = ''] = (await node('edge')).pods;
    const [foreign = ''] = (await node('other')).pods;
    const { pid } = await cluster.ask('http://127.0.0.1:31693/');
    assert.equal((await evict(foreign)).code, 403);
    assert.equal((await evict(pod, 'k3s-controller')).code, 403);
    assert.equal((await evict('kube-system/nobody')).code, 404);
    await cluster.tellHome('budget', 'spent');
    assert.equal((await evict(pod)).code, 429);
    await cluster.tellHome('budget', 'free');
    assert.equal((await evict(pod)).code, 201);
    await agent.says(/Stopping container traefik/);
    const deadline = AbortSignal.timeout(10_000);
    while ((await node('edge')).pods.includes(pod)) assert.ok(!deadline.aborted, 'the pod does not go');
    assert.equal((await evict(pod)).code, 404);
    assert.throws(() => process.kill(pid, 0), /ESRCH/);
    await assert.rejects(cluster.ask('http://127.0.0.1:31693/'));
    assert.equal((await node('edge')).pods.length, 1);
  });

  test('a node that is no longer cordoned gets a pod again', async () => {
    assert.equal((await patch('edge', { spec: { unschedulable: null } })).code, 200);
    await agent.says(/Started container traefik/, 2);
    assert.equal((await node('edge')).pods.length, 2);
  });
});
