/**
 * A node whose config lists no upstream: mooring finds Traefik's NodePorts in the cluster and follows them, while a client on the
 * internet knocks all the time; what it knows serves on where the cluster refuses, is away, or serves NodePorts elsewhere.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { editConfig, reload, waitForReason } from './ask.ts';
import { Bed } from './bed.ts';
import { exampleDoors, type Knock } from './client.ts';
import { renderExample } from './example.ts';
import { waitFor } from './process.ts';
import { homeNetwork } from './zerotier.ts';

const usual = { http: 31_693, https: 30_484, quic: 30_484 } as const;
const moved = { http: 32_080, https: 32_443, quic: 32_444 } as const;

/** Every knock that had no answer of Traefik's. `least` a door proves that somebody knocked at all. */
function assertNoneLost(knocks: readonly Knock[], least: number): void {
  for (const door of Object.keys(exampleDoors))
    assert.ok(knocks.filter((knock) => knock.door === door).length >= least, `${door} was knocked at`);
  const isAnswer = ({ ok, door, said }: Knock) =>
    ok && (door === 'quic' ? said === 'knock' : said.includes('traefik'));
  assert.deepEqual(
    knocks.filter((knock) => !isAnswer(knock)),
    [],
  );
}

describe('a node that finds its upstreams in the cluster', () => {
  let bed: Bed;

  before(async () => {
    const userData = async (values: Parameters<typeof renderExample>[0]) =>
      (await renderExample(values)).replaceAll(/upstreams: \[[^\]]*\]/g, 'upstreams: auto');
    bed = await Bed.start({ userData });
    await bed.authorise();
    await bed.waitForReady();
  });
  after(async () => {
    await bed?.stop();
  });

  const config = () => bed.node.run(['cat', '/var/lib/mooring/nginx/nginx.conf']);
  /** Waits until nginx is led to these ports, there. */
  const ledTo = (host: string, ports: Readonly<Record<string, number>>, timeoutMs: number) =>
    waitFor(
      `nginx to be led to ${JSON.stringify(ports)}`,
      async () => {
        const text = await config();
        return Object.values(ports).every((port) => text.includes(`server ${host}:${port}`));
      },
      { timeoutMs, everyMs: 200, context: () => bed.report() },
    );

  test('opens its doors without a list', async () => {
    const message = await waitForReason(bed, 'UpstreamsFound', 'Live', 10_000);
    assert.match(
      message,
      /http at 127\.0\.0\.1:31693; https at 127\.0\.0\.1:30484; quic at 127\.0\.0\.1:30484/,
    );
    assert.match((await bed.client.http(80)).body, /traefik/);
    assert.match((await bed.client.http(443, { tls: true })).body, /traefik/);
    assert.equal(await bed.client.udpEcho(443, 'hello'), 'hello');
    assert.match(
      await bed.node.run(['mooring', 'check']),
      /http: tcp 80 -> k3s' own Traefik, found in the cluster/,
    );
  });

  test('loses no knock when the NodePorts change, though kube-proxy follows a second later', async () => {
    const knocking = bed.client.knock(exampleDoors);
    await knocking.more(5);
    await bed.home.k3sNodePorts({ web: moved.http, websecure: moved.https, 'websecure-http3': moved.quic });
    await ledTo('127.0.0.1', moved, 10_000);
    await ledTo('127.0.0.1', usual, 100);
    await waitFor(
      'kube-proxy to follow',
      () => bed.node.run(['curl', '-sSf', '--max-time', '2', `http://127.0.0.1:${moved.http}/`]),
      { timeoutMs: 10_000 },
    );
    await knocking.more(20);
    assertNoneLost(await knocking.stop(), 25);
    await waitForReason(bed, 'IngressRunning', 'Serving', 5_000);
  });

  test('keeps its doors open, and tells, when the API refuses it, and with an expired certificate', async () => {
    const knocking = bed.client.knock(exampleDoors);
    await bed.home.k3sServiceAccess('nobody');
    await bed.home.k3sWatches('cut');
    const message = await waitForReason(bed, 'UpstreamsFound', 'Refused', 10_000);
    assert.match(message, /status 403.*goes on with what was known on 20/);
    await bed.home.revokeK3sCertificates();
    await bed.home.k3sServiceAccess('kubelet');
    await waitFor(
      'the certificate to be refused',
      async () => /status 401/.test(await waitForReason(bed, 'UpstreamsFound', 'Refused', 1_000)),
      { timeoutMs: 10_000 },
    );
    await bed.node.run(['systemctl', 'kill', '--kill-whom=main', '-s', 'USR1', 'k3s-node.service']);
    await waitForReason(bed, 'UpstreamsFound', 'Live', 15_000);
    await knocking.more(5);
    assertNoneLost(await knocking.stop(), 5);
  });

  test('opens its doors without the cluster, also after mooring and nginx have begun anew', async () => {
    await bed.home.stopK3sServer();
    // Not stopped in order, for which it would wait for its UDP sessions.
    await bed.node.run(['systemctl', 'kill', '--signal=SIGKILL', 'mooring-ingress.service']);
    await bed.node.run(['systemctl', 'restart', 'mooring.service']);
    await waitForReason(bed, 'IngressRunning', 'Serving', 10_000);
    const message = await waitForReason(bed, 'UpstreamsFound', 'ApiAway', 15_000);
    assert.match(message, /goes on with what was known on 20/);
    const knocking = bed.client.knock(exampleDoors);
    await knocking.more(5);
    // Another entry's change takes nothing from the others.
    await editConfig(
      bed,
      (text) =>
        `${text.trimEnd()}\n  - {name: more, listen: 8081, upstreams: ["${homeNetwork.node}:${moved.http}"]}\n`,
    );
    await reload(bed);
    await waitFor('the other door', async () => (await bed.client.http(8081)).body.includes('traefik'), {
      timeoutMs: 10_000,
    });
    assertNoneLost(await knocking.stop(), 5);
    const found = JSON.stringify(await bed.status());
    assert.match(found, /"upstreams":\["127\.0\.0\.1:32080".*"state":"last-known","asOf":"20/);
    await bed.home.startK3sServer();
  });

  test("is led to the node's own address where kube-proxy leaves loopback out", async () => {
    await bed.node.writeFile('/etc/k3s-standin.json', JSON.stringify({ kubeProxy: 'nftables' }));
    await bed.node.run(['systemctl', 'restart', 'k3s-node.service']);
    await ledTo(homeNetwork.node, moved, 20_000);
    await waitForReason(bed, 'IngressRunning', 'Serving', 5_000);
    assert.doesNotMatch(await config(), new RegExp(`127\\.0\\.0\\.1:(${moved.http}|${usual.http});`));
    const knocking = bed.client.knock(exampleDoors);
    await knocking.more(5);
    assertNoneLost(await knocking.stop(), 5);
  });
});
