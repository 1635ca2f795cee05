/** The client of the Kubernetes API against a TLS server that asks for certificates, behaves, and misbehaves. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type ClusterApi, createClusterApi } from '../../../src/systems/cluster/api.ts';
import { getNode, listNodes } from '../../../src/systems/cluster/nodes.ts';
import { SystemError } from '../../../src/systems/error.ts';
import {
  answerWith,
  type BadHttpServer,
  type Behaviour,
  inTurn,
  misbehaviours,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { type Identity, identity } from '../../support/certificates.ts';
import { writeKubeconfig } from '../../support/kubeconfig.ts';

const bounded = { timeout: 15_000 };
const deadlineMs = 400;
const ca = identity('k3s-server-ca');
const serving = identity('k3s', ca, 'IP:127.0.0.1,DNS:localhost');
const clientCa = identity('k3s-client-ca');
const kubelet = identity('system:node:edge-1', clientCa, 'DNS:edge-1');
const controller = identity('system:k3s-controller', clientCa, 'DNS:controller');

const codeIs = (code: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof SystemError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};
/** Who asked, by the common name of its certificate. */
const asker = (socket: Parameters<Behaviour>[2]): string => {
  const subject: unknown = Reflect.get(socket, 'getPeerCertificate').call(socket).subject;
  return JSON.stringify(subject);
};

describe('the Kubernetes API', () => {
  let server: BadHttpServer;
  let folder: string;
  let api: ClusterApi;

  const leave = (name: string, client: Identity, url = server.url) =>
    writeKubeconfig(folder, name, { server: url, ca: ca.cert, client });
  const open = (): ClusterApi =>
    createClusterApi({
      kubeconfigs: [join(folder, 'kubelet.kubeconfig'), join(folder, 'k3scontroller.kubeconfig')],
      deadlineMs,
    });

  before(async () => {
    const tls = { ...serving, ca: clientCa.cert, requestCert: true };
    server = await startBadHttpServer(answerWith(200, '{}'), tls);
  });
  after(() => server.close());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mooring-cluster-'));
    leave('kubelet', kubelet);
    leave('k3scontroller', controller);
    api = open();
    server.behave(answerWith(200, '{}'));
  });
  afterEach(async () => {
    await api.close();
    rmSync(folder, { recursive: true });
  });

  test('is asked with the certificate of the kubelet, over TLS that both sides check', bounded, async () => {
    let who = '';
    server.behave((request, response, socket) => {
      who = asker(socket);
      answerWith(200, '{"a":1}')(request, response, socket);
    });
    assert.equal(await api.get('/api/v1/nodes', 1_000), '{"a":1}');
    assert.match(who, /system:node:edge-1/);
    assert.equal(server.seen.at(-1)?.method, 'GET');
  });

  test(
    'that forbids it to the kubelet is asked as the controller, which comes first then',
    bounded,
    async () => {
      const asked: string[] = [];
      server.behave((request, response, socket) => {
        const who = asker(socket);
        asked.push(who.includes('controller') ? 'controller' : 'kubelet');
        answerWith(who.includes('controller') ? 200 : 403, '{}')(request, response, socket);
      });
      await api.get('/api/v1/nodes', 1_000);
      await api.get('/api/v1/nodes', 1_000);
      assert.deepEqual(asked, ['kubelet', 'controller', 'controller']);
    },
  );

  test('that forbids it to all tells so, also where a second identity is not there', bounded, async () => {
    server.behave(answerWith(403, '{}'));
    await assert.rejects(
      api.get('/api/v1/nodes', 1_000),
      codeIs('cluster-forbidden', /status 403.*may not see/),
    );
    rmSync(join(folder, 'k3scontroller.kubeconfig'));
    await assert.rejects(api.get('/api/v1/nodes', 1_000), codeIs('cluster-forbidden', /status 403/));
  });

  for (const [status, code] of [
    [401, 'cluster-unauthorized'],
    [404, 'cluster-not-found'],
    [410, 'cluster-gone'],
    [429, 'cluster-busy'],
    [500, 'cluster-busy'],
    [503, 'cluster-busy'],
    [302, 'cluster-unexpected'],
  ] as const) {
    test(`answering with status ${status} is ${code}`, bounded, async () => {
      server.behave(answerWith(status, '{"kind":"Status"}', { Location: 'https://127.0.0.2/' }));
      await assert.rejects(api.get('/api/v1/nodes', 1_000), codeIs(code, new RegExp(`status ${status}`)));
    });
  }

  for (const { name, behave, error } of misbehaviours.filter(
    ({ error }) => !/status|reset/.test(error.source),
  )) {
    test(`that ${name} is away, within the deadline`, bounded, async () => {
      server.behave(behave);
      const startedMs = performance.now();
      await assert.rejects(api.get('/api/v1/nodes', 100_000), codeIs('cluster-away', error));
      assert.ok(performance.now() - startedMs < deadlineMs + 2_000);
    });
  }

  test('that compresses its answer is understood, up to what it unfolds to', bounded, async () => {
    const zipped =
      (body: Buffer): Behaviour =>
      (_request, response) => {
        response.writeHead(200, { 'Content-Encoding': 'gzip', 'Content-Length': body.length }).end(body);
      };
    server.behave(zipped(gzipSync('{"a":2}')));
    assert.equal(await api.get('/x', 1_000), '{"a":2}');
    server.behave(zipped(gzipSync(Buffer.alloc(50_000_000))));
    await assert.rejects(api.get('/x', 100_000), codeIs('cluster-away', /larger than 100000 bytes/));
    server.behave(zipped(gzipSync('x'.repeat(10_000)).subarray(0, 30)));
    await assert.rejects(api.get('/x', 100_000), codeIs('cluster-away', /cut short|damaged/));
    server.behave(zipped(Buffer.from('no gzip at all')));
    await assert.rejects(api.get('/x', 100_000), codeIs('cluster-away', /damaged/));
  });

  test('with a certificate of another CA is not believed', bounded, async () => {
    writeFileSync(join(folder, 'server-ca.crt'), identity('another-ca').cert);
    const asked = server.seen.length;
    await assert.rejects(api.get('/x', 1_000), codeIs('cluster-away', /certificate|issuer|signature/));
    assert.equal(server.seen.length, asked);
  });

  test('under a name that its certificate does not carry is not believed', bounded, async () => {
    leave('kubelet', kubelet, server.url.replace('127.0.0.1', '127.0.0.2'));
    await assert.rejects(api.get('/x', 1_000), codeIs('cluster-away', /127\.0\.0\.2|refused/));
  });

  test('is asked with the certificates of now: k3s renews them', bounded, async () => {
    const stranger = identity('system:node:edge-1', identity('another-ca'), 'DNS:edge-1');
    leave('kubelet', stranger);
    rmSync(join(folder, 'k3scontroller.kubeconfig'));
    await assert.rejects(api.get('/x', 1_000), codeIs('cluster-away', /refuses|reset|ended/));
    leave('kubelet', kubelet);
    assert.equal(await api.get('/x', 1_000), '{}');
  });

  test('whose port nobody listens on is away', bounded, async () => {
    leave('kubelet', kubelet, 'https://127.0.0.1:1');
    await assert.rejects(api.get('/x', 1_000), codeIs('cluster-away', /connection refused/));
  });

  test('that takes the connection and says nothing is away, within the deadline', bounded, async () => {
    const silent = createServer((socket) => socket.resume());
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const address = silent.address();
    assert.ok(typeof address === 'object' && address !== null);
    leave('kubelet', kubelet, `https://127.0.0.1:${address.port}`);
    await assert.rejects(api.get('/x', 1_000), codeIs('cluster-away', /no answer within/));
    silent.close();
  });

  test('is left as soon as mooring ends', bounded, async () => {
    server.behave(() => undefined);
    const asking = assert.rejects(api.get('/x', 1_000), codeIs('cluster-away', /mooring/));
    await new Promise((resolve) => setImmediate(resolve));
    await api.close();
    await asking;
  });

  describe('is not asked without credentials:', () => {
    const noCredentials = (message: RegExp) =>
      assert.rejects(api.get('/x', 1_000), codeIs('cluster-no-credentials', message));
    const write = (name: string, text: string) => writeFileSync(join(folder, name), text);

    test('no file', bounded, async () => {
      rmSync(join(folder, 'kubelet.kubeconfig'));
      await noCredentials(/there is no .*kubelet\.kubeconfig/);
    });
    for (const [what, text, message] of [
      ['an empty file', '', /no kubeconfig/],
      ['no YAML', '{[', /no YAML/],
      ['an alias bomb', 'a: &a [1]\nb: [*a, *a]\n', /no YAML/],
      ['a list', '- 1\n', /no kubeconfig/],
      ['another document', 'kind: Config\n', /current-context is missing/],
      [
        'a server of a wrong type',
        'current-context: a\nclusters: [{name: a, cluster: {server: 7}}]\n',
        /server/,
      ],
      [
        'an unknown context',
        'current-context: a\nclusters: []\ncontexts: []\nusers: []\n',
        /current context/,
      ],
      ['a huge file', '#'.repeat(300_000), /larger than/],
    ] as const) {
      test(what, bounded, async () => {
        write('kubelet.kubeconfig', text);
        await noCredentials(message);
      });
    }
    test('a server without TLS', bounded, async () => {
      leave('kubelet', kubelet, 'http://127.0.0.1:6444');
      await noCredentials(/no https URL/);
    });
    test('a key that is gone', bounded, async () => {
      rmSync(join(folder, 'client-kubelet.key'));
      await noCredentials(/there is no .*client-kubelet\.key/);
    });
    test('a key that is none, whose text nobody is told', bounded, async () => {
      write('client-kubelet.key', 'hunter2');
      await assert.rejects(api.get('/x', 1_000), (error: unknown) => !String(error).includes('hunter2'));
    });
    test('a certificate of nobody: the node’s name is not known', bounded, async () => {
      assert.equal(await api.nodeName(), 'edge-1');
      write('client-kubelet.crt', controller.cert);
      await assert.rejects(api.nodeName(), codeIs('cluster-no-credentials', /no kubelet's/));
      write('client-kubelet.crt', 'garbage');
      await assert.rejects(api.nodeName(), codeIs('cluster-no-credentials', /no kubelet's/));
    });
  });

  describe('tells nodes:', () => {
    const flannel = (entries: Readonly<Record<string, string>>) =>
      Object.fromEntries(
        Object.entries(entries).map(([key, value]) => [`flannel.alpha.coreos.com/${key}`, value]),
      );
    const node = (name: string, network: string) => ({
      metadata: {
        name,
        uid: 'x',
        annotations: flannel({
          'kube-subnet-manager': 'true',
          'backend-type': 'vxlan',
          'public-ip': '10.45.0.7',
        }),
      },
      spec: { podCIDR: network, podCIDRs: [network] },
      status: { images: [{ names: ['x'] }] },
    });
    const list = (items: readonly unknown[], next = '') =>
      answerWith(200, JSON.stringify({ kind: 'NodeList', metadata: { continue: next }, items }));

    test('page by page', bounded, async () => {
      server.behave(inTurn(list([node('a', '10.42.0.0/24')], 'to+ken=='), list([node('b', '10.42.1.0/24')])));
      const from = server.seen.length;
      const nodes = await listNodes(api, 77);
      assert.deepEqual(
        nodes.map(({ name }) => name),
        ['a', 'b'],
      );
      assert.deepEqual(nodes[1], {
        name: 'b',
        podNetworks: ['10.42.1.0/24'],
        flannel: { backend: 'vxlan', ipv4: true, ipv6: false },
        atMs: 77,
      });
      const paths = server.seen.slice(from).map(({ path }) => path);
      assert.deepEqual(paths, ['/api/v1/nodes?limit=250', '/api/v1/nodes?limit=250&continue=to%2Bken%3D%3D']);
    });

    test('also those without pod network or flannel, in canonical form', bounded, async () => {
      const bare = { metadata: { name: 'bare' } };
      const both = {
        metadata: {
          name: 'both',
          annotations: flannel({
            'kube-subnet-manager': 'true',
            'backend-type': 'vxlan',
            'public-ip': '10.45.0.9',
            'public-ipv6': 'fd00::9',
          }),
        },
        spec: { podCIDRs: ['10.42.9.0/24', '2001:DB8:42:9::/64'] },
      };
      server.behave(list([bare, both]));
      const [first, second] = await listNodes(api, 0);
      assert.deepEqual([first?.podNetworks, first?.flannel], [[], undefined]);
      assert.deepEqual(second?.podNetworks, ['10.42.9.0/24', '2001:db8:42:9::/64']);
      assert.deepEqual(second?.flannel, { backend: 'vxlan', ipv4: true, ipv6: true });
    });

    for (const [what, text, message] of [
      ['no JSON', '<html>', /no JSON/],
      ['no object', '[]', /it has not|items|metadata/],
      ['items of a wrong type', '{"metadata":{},"items":7}', /items/],
      ['a node without a name', '{"metadata":{},"items":[{"metadata":{}}]}', /items\.0\.metadata\.name/],
      [
        'a hostile name',
        '{"metadata":{},"items":[{"metadata":{"name":"../a\\n"}}]}',
        /items\.0\.metadata\.name/,
      ],
      [
        'a pod network that is none',
        '{"metadata":{},"items":[{"metadata":{"name":"a"},"spec":{"podCIDRs":["x"]}}]}',
        /pod network of node a/,
      ],
      ['a list without end', '{"metadata":{"continue":"x"},"items":[]}', /without end/],
    ] as const) {
      test(`${what} is none`, bounded, async () => {
        server.behave(answerWith(200, text));
        await assert.rejects(listNodes(api, 0), codeIs('cluster-unexpected', message));
      });
    }

    test('more than there can be are none', bounded, async () => {
      const many = Array.from({ length: 6_000 }, (_, n) => ({ metadata: { name: `n${n}` } }));
      server.behave(list(many, 'more'));
      await assert.rejects(listNodes(api, 0), codeIs('cluster-unexpected', /more than 10000/));
    });

    test('one by one, of which some have left', bounded, async () => {
      server.behave(answerWith(200, JSON.stringify(node('a', '10.42.0.0/24'))));
      assert.equal((await getNode(api, 'a', 5))?.podNetworks[0], '10.42.0.0/24');
      assert.equal(server.seen.at(-1)?.path, '/api/v1/nodes/a');
      server.behave(answerWith(404, '{}'));
      assert.equal(await getNode(api, 'a', 5), undefined);
    });
  });
});
