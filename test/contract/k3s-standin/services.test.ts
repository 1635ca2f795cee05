/** The k3s stand-in tells Services as Kubernetes does, and serves their NodePorts as kube-proxy does. Needs root. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, type Said } from './cluster.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root for network namespaces';
const services = '/api/v1/namespaces/kube-system/services';
const traefik = `${services}?fieldSelector=metadata.name%3Dtraefik`;

describe('Services of the k3s stand-in', { skip, timeout: 60_000 }, () => {
  let cluster: Cluster;
  let agent: Said;

  const join = async () => {
    const options = [
      '--server',
      'https://10.45.0.1:6443',
      '--flannel-iface',
      'ztk3s',
      '--node-ip',
      '10.45.0.2',
    ];
    agent = cluster.agent([...options, '--node-name', 'edge', '--token', await cluster.token()]);
    await agent.says(/k3s agent is up and running/);
  };
  const knobs = (values: Readonly<Record<string, unknown>>) =>
    writeFile(cluster.path('etc/k3s-standin.json'), JSON.stringify(values));
  const list = async (path = traefik) => {
    const { code, text } = await cluster.api('kubelet', path);
    assert.equal(code, 200, text);
    return JSON.parse(text);
  };
  const version = async (): Promise<string> => (await list()).metadata.resourceVersion;
  /** A watch with a kubelet's certificate, as long as it is left open. */
  const watch = async (from: string, seconds = 20) => {
    const folder = cluster.path('var/lib/rancher/k3s/agent');
    const identity = ['--cert', `${folder}/client-kubelet.crt`, '--key', `${folder}/client-kubelet.key`];
    const query = `&watch=true&allowWatchBookmarks=true&timeoutSeconds=${seconds}&resourceVersion=${from}`;
    const options = ['-sSN', '--max-time', '20', '--cacert', `${folder}/server-ca.crt`];
    return cluster.start(cluster.node, 'curl', [
      ...options,
      ...identity,
      `https://127.0.0.1:6444${traefik}${query}`,
    ]);
  };
  const answers = (host: string, port: number) =>
    cluster.ask(`http://${host}:${port}/`).then(
      () => true,
      () => false,
    );
  const until = async (what: string, holds: () => Promise<boolean>) => {
    const endMs = performance.now() + 8_000;
    while (!(await holds())) {
      assert.ok(performance.now() < endMs, what);
      await sleep(100);
    }
  };

  before(async () => {
    cluster = await Cluster.open();
    await join();
  });
  after(() => cluster.close());

  test('are listed by a field selector, and by name', async () => {
    const { items, metadata } = await list();
    const ports = items[0].spec.ports.map((one: Record<string, unknown>) => [
      one['name'],
      one['protocol'],
      one['nodePort'],
    ]);
    assert.deepEqual(ports, [
      ['web', 'TCP', 31693],
      ['websecure', 'TCP', 30484],
      ['websecure-http3', 'UDP', 30484],
    ]);
    assert.match(metadata.resourceVersion, /^\d+$/);
    assert.equal((await list(`${services}?fieldSelector=metadata.name%3Dother`)).items.length, 0);
    assert.equal((await list(`${services}/traefik`)).metadata.name, 'traefik');
    assert.equal((await cluster.api('kubelet', `${services}/other`)).code, 404);
    assert.equal((await cluster.api('kubelet', `${services}?fieldSelector=spec.type%3Dx`)).code, 400);
  });

  test('are for a kubelet to see, unless somebody took that away', async () => {
    assert.equal((await cluster.api('k3s-controller', traefik)).code, 403);
    await cluster.tellHome('service-access', 'nobody');
    assert.equal((await cluster.api('kubelet', traefik)).code, 403);
    await cluster.tellHome('service-access', 'kubelet');
    await list();
  });

  test('are watched from a version on, with bookmarks, to an end in order', async () => {
    const from = await version();
    await cluster.tellHome('nodeports', '{"web": 31700}');
    const late = await watch(from, 7);
    await late.says(/"MODIFIED".*31700/);
    await cluster.tellHome('services/kube-system/other', '{"ports": []}');
    await cluster.tellHome('nodeports', '{"web": 31693}');
    await late.says(/"MODIFIED".*31693/);
    assert.doesNotMatch(late.text, /other/);
    await late.says(/"BOOKMARK"/);
    assert.equal(await late.ends(), 0);
    assert.match(
      late.text.trim().split('\n').at(-1) ?? '',
      new RegExp(`"resourceVersion": "${await version()}"`),
    );
  });

  test('lose their watches by a cut, and by versions that are forgotten', async () => {
    const from = await version();
    const open = await watch(from);
    await until('a watch', async () => (await cluster.homeState()).watches === 1);
    await cluster.tellHome('watches', 'cut');
    assert.notEqual(await open.ends(), 0);
    await cluster.tellHome('watches', 'forget');
    const gone = await watch(from);
    await gone.says(/"ERROR".*410/);
    assert.equal(await gone.ends(), 0);
  });

  test('are not shown to a certificate that has expired; the agent replaces it when it is told to', async () => {
    await cluster.tellHome('certificates', 'revoke');
    assert.equal((await cluster.api('kubelet', traefik)).code, 401);
    agent.child.kill('SIGUSR1');
    await agent.says(/Renewed the client certificates/);
    await list();
  });

  test('are served under a changed NodePort a moment later, at loopback and the address of the node', async () => {
    assert.ok(await answers('127.0.0.1', 31693));
    await knobs({ nodePortDelayS: 2 });
    await cluster.tellHome('nodeports', '{"web": 31701}');
    const changedMs = performance.now();
    assert.ok(!(await answers('127.0.0.1', 31701)), 'not at once');
    await until('the new port', () => answers('127.0.0.1', 31701));
    assert.ok(performance.now() - changedMs > 1_900);
    assert.ok(!(await answers('127.0.0.1', 31693)), 'the former one is gone with that');
    assert.ok(await answers('10.45.0.2', 31701));
  });

  test("are at the node's address alone where kube-proxy is in nftables mode", async () => {
    await knobs({ kubeProxy: 'nftables' });
    await agent.end();
    await join();
    assert.ok(await answers('10.45.0.2', 31701));
    assert.ok(!(await answers('127.0.0.1', 31701)));
  });
});
