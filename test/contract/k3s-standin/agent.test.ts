/** The k3s stand-in keeps the promises that the bed builds on, in network namespaces of its own. Needs root. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { after, afterEach, before, describe, test } from 'node:test';
import { kubeletNodeName, readKubeconfig } from '../../../src/systems/cluster/kubeconfig.ts';
import { Cluster } from './cluster.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root for network namespaces';

describe('the k3s stand-in', { skip, timeout: 60_000 }, () => {
  let cluster: Cluster;
  const base = () => [
    '--server',
    'https://10.45.0.1:6443',
    '--flannel-iface',
    'ztk3s',
    '--node-name',
    'edge',
  ];
  const joined = async () => [...base(), '--node-ip', '10.45.0.2', '--token', await cluster.token()];

  before(async () => {
    cluster = await Cluster.open();
  });
  afterEach(async () => {
    await cluster.wipeNode();
  });
  after(async () => {
    await cluster.close();
  });

  test('an agent ends at once where the interface is missing, bare, or without the node-ip', async () => {
    const cases: [args: string[], message: RegExp][] = [
      [
        ['--flannel-iface', 'ztgone', '--node-ip', '10.45.0.2'],
        /level=fatal .*unable to find interface ztgone/,
      ],
      [['--flannel-iface', 'ztgone'], /level=fatal .*unable to find interface ztgone/],
      [['--flannel-iface', 'lo'], /level=fatal .*can't find ip for interface lo/],
      [['--node-ip', ''], /level=fatal .*invalid node-ip: invalid ip format ''/],
      [['--node-ip', '10.45.0.77'], /level=fatal .*10\.45\.0\.77.* not found/],
    ];
    for (const [args, message] of cases) {
      const agent = cluster.agent([...base(), '--token', 'x', ...args]);
      assert.equal(await agent.ends(), 1, agent.text);
      assert.match(agent.text, message);
    }
  });

  test('an agent ends at once on an unknown option, a file that is not YAML, and a label the kubelet refuses', async () => {
    const unknown = cluster.agent([...(await joined()), '--flannel-ifcae', 'x']);
    assert.equal(await unknown.ends(), 1);
    assert.match(unknown.text, /flag provided but not defined: -flannel-ifcae/);
    await cluster.writeConfig('broken.yaml', 'server: "https://10.45.0.1:6443\n');
    const broken = cluster.agent(['--config', cluster.path('etc/rancher/k3s/broken.yaml')]);
    assert.equal(await broken.ends(), 1);
    assert.match(broken.text, /level=fatal msg="yaml: line 1/);
    const refused = cluster.agent([...(await joined()), '--node-label', 'node-role.kubernetes.io/edge=true']);
    assert.equal(await refused.ends(), 1);
    assert.match(refused.text, /kubelet exited: .*node-role\.kubernetes\.io\/edge/);
  });

  test('an agent with a wrong CA, a bad token or no server keeps trying and is never ready', async () => {
    const notify = await cluster.notifySocket('never.sock');
    const foreign = (await cluster.token()).replace(/^K10.{64}/, `K10${'0'.repeat(64)}`);
    const wrongCa = cluster.agent([...base(), '--node-ip', '10.45.0.2', '--token', foreign], notify.path);
    await wrongCa.says(
      /Failed to validate connection to cluster at https:\/\/10\.45\.0\.1:6443: token CA hash/,
      2,
    );
    await wrongCa.end();
    const badToken = cluster.agent([...base(), '--node-ip', '10.45.0.2', '--token', 'nope'], notify.path);
    await badToken.says(/Waiting to retrieve agent configuration; server is not ready: .*401 Unauthorized/);
    assert.ok(badToken.running);
    await badToken.end();
    await cluster.mode('refuse');
    const patient = cluster.agent(await joined(), notify.path);
    await patient.says(/failed to get CA certs: .*connection refused/, 2);
    assert.equal(notify.said.text, 'listening\n');
    await cluster.mode('ok');
    await notify.said.says(/READY=1/);
    assert.equal(await patient.end(), 0);
  });

  test('a joined agent is ready with flannel.1 on its interface and a route to the pods at home', async () => {
    const notify = await cluster.notifySocket('joined.sock');
    const agent = cluster.agent(await joined(), notify.path);
    await notify.said.says(/READY=1/);
    const [vxlan] = JSON.parse(await cluster.onNode('ip', '-j', '-d', 'link', 'show', 'flannel.1'));
    assert.equal(vxlan.linkinfo.info_data.link, 'ztk3s');
    assert.equal(vxlan.mtu, 2750);
    assert.equal(vxlan.linkinfo.info_data.local, '10.45.0.2');
    assert.match(
      await cluster.onNode('ip', 'route'),
      /10\.42\.0\.0\/24 via 10\.42\.0\.0 dev flannel\.1 onlink/,
    );
    assert.ok(existsSync(cluster.path('run/flannel/subnet.env')));
    assert.equal((await stat(cluster.path('etc/rancher/node/password'))).mode & 0o777, 0o600);
    const [node] = await cluster.nodes();
    assert.ok(node?.ready);
    assert.deepEqual(node.internalIPs, ['10.45.0.2']);
    await agent.end();
    const again = cluster.agent(await joined());
    await again.says(/up and running/);
    const [kept] = JSON.parse(await cluster.onNode('ip', '-j', 'link', 'show', 'flannel.1'));
    assert.equal(kept.ifindex, vxlan.ifindex, 'a flannel.1 that fits is kept');
    await again.end();
  });

  test('pods keep their process over restarts, crashes and absence of the agent, and answer through the NodePorts', async () => {
    for (const nodePorts of ['nft', 'userland']) {
      await writeFile(cluster.path('etc/k3s-standin.json'), JSON.stringify({ nodePorts }));
      const first = cluster.agent(await joined());
      await first.says(/up and running/);
      const before = await cluster.ask('http://127.0.0.1:31693/');
      assert.match(before.peer, /^10\.42\.\d+\.1:/, 'the pod sees a masqueraded source');
      first.child.kill('SIGKILL');
      await first.ends();
      assert.equal((await cluster.ask('http://10.45.0.2:31693/')).pid, before.pid);
      const second = cluster.agent(await joined());
      await second.says(/up and running/);
      assert.equal((await cluster.ask('https://127.0.0.1:30484/')).pid, before.pid);
      await assert.rejects(cluster.ask('http://[::1]:31693/'));
      await second.end();
      await cluster.wipeNode();
      await assert.rejects(cluster.ask('http://127.0.0.1:31693/'));
    }
  });

  test('drop-ins replace keys and append to `key+`, and what k3s does not know is skipped', async () => {
    await cluster.writeConfig(
      'config.yaml',
      'node-name: mine # kept\nnode-label:\n- a=user\n- "b=user"\ntoken: replaced\n',
    );
    const dropIn = `server: https://10.45.0.1:6443\ntoken: '${await cluster.token()}'\nflannel-iface: ztk3s\nnode-ip: 10.45.0.2\nno-such-option: 1\n`;
    await cluster.writeConfig('config.yaml.d/50-mooring.yaml', `${dropIn}"node-label+":\n  - c=mooring\n`);
    await cluster.writeConfig('config.yaml.d/60-last.yaml', 'node-label+: [a=last]\n');
    const agent = cluster.agent();
    await agent.says(/up and running/);
    assert.match(agent.text, /Unknown flag --no-such-option found in config.yaml, skipping/);
    const node = (await cluster.nodes()).find((one) => one.name === 'mine');
    assert.ok(node);
    const { a, b, c } = node.labels;
    assert.deepEqual({ a, b, c }, { a: 'last', b: 'user', c: 'mooring' });
    await agent.end();
  });

  test('a lost flannel.1 stays lost until the next start, unless it is told to crash', async () => {
    await writeFile(cluster.path('etc/k3s-standin.json'), '{}');
    const agent = cluster.agent(await joined());
    await agent.says(/up and running/);
    await cluster.onNode('ip', 'link', 'del', 'flannel.1');
    await agent.says(/network is down/);
    await assert.rejects(cluster.onNode('ip', 'link', 'show', 'flannel.1'));
    await agent.end();
    await writeFile(cluster.path('etc/k3s-standin.json'), '{"flannelLoss":"panic"}');
    const again = cluster.agent(await joined());
    await again.says(/up and running/);
    await cluster.onNode('ip', 'link', 'del', 'flannel.1');
    assert.equal(await again.ends(), 2);
  });

  test('leaves kubeconfigs for the API behind its balancer, and who may see the nodes is as in Kubernetes', async () => {
    await cluster.tellHome('peers', 'edge-9');
    const agent = cluster.agent(await joined());
    await agent.says(/k3s agent is up and running/);
    const folder = cluster.path('var/lib/rancher/k3s/agent');
    const get = async (client: string, path: string) => {
      const identity = [
        '--cert',
        `${folder}/client-${client}.crt`,
        '--key',
        `${folder}/client-${client}.key`,
      ];
      const url = `https://127.0.0.1:6444/api/v1/nodes${path}`;
      const command = [
        'curl',
        '-sS',
        '--max-time',
        '5',
        '--cacert',
        `${folder}/server-ca.crt`,
        ...identity,
        url,
      ];
      return JSON.parse(await cluster.onNode(...command));
    };
    for (const name of ['kubelet', 'k3scontroller']) {
      const { server, identity } = await readKubeconfig(`${folder}/${name}.kubeconfig`);
      assert.equal(server, 'https://127.0.0.1:6444');
      assert.equal(kubeletNodeName(identity.cert), name === 'kubelet' ? 'edge' : undefined);
    }
    assert.equal((await get('kubelet', '')).code, 403);
    assert.equal((await get('kubelet', '/edge-9')).code, 403);
    assert.equal((await get('kubelet', '/edge')).metadata.name, 'edge');
    const first = await get('k3s-controller', '?limit=2');
    assert.equal(first.items.length, 2);
    const rest = await get(
      'k3s-controller',
      `?limit=2&continue=${encodeURIComponent(first.metadata.continue)}`,
    );
    const nodes: { metadata: { name: string }; spec: { podCIDR: string } }[] = [
      ...first.items,
      ...rest.items,
    ];
    const names = nodes.map((node) => node.metadata.name);
    assert.deepEqual(new Set(names).size, names.length);
    assert.deepEqual(
      ['server', 'edge', 'edge-9'].filter((name) => !names.includes(name)),
      [],
    );
    const network = nodes.find((node) => node.metadata.name === 'edge-9')?.spec.podCIDR ?? '';
    assert.equal((await get('k3s-controller', '/nobody')).code, 404);
    const routes = await cluster.onNode('ip', 'route', 'show', 'dev', 'flannel.1');
    assert.ok(routes.includes(`${network} via`), `${network} is not in ${routes}`);
    await cluster.tellHome('access', 'kubelet');
    assert.equal((await get('kubelet', '')).items.length, names.length);
    await cluster.tellHome('access', 'nobody');
    assert.equal((await get('k3s-controller', '')).code, 403);
    await cluster.tellHome('access', 'controller');
    await agent.end();
  });
});
