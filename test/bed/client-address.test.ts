/**
 * Whom the servers behind the ingress see: a client of the internet comes through mooring's nginx to a real HAProxy at home, and
 * from there to real HTTP/1.1 and TLS servers. With the PROXY protocol all of them see the client's own address; without it,
 * the node's.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Bed } from './bed.ts';
import { type HomeWeb, webName, webPorts } from './home-web.ts';
import { underlay } from './network.ts';
import { waitFor } from './process.ts';
import { homeNetwork } from './zerotier.ts';

/** On the bed's wire beside IPv4, which is all that the rest of the bed has. */
const v6 = { client: 'fd99::9', node: 'fd99::2' } as const;
const ways = [
  { family: 'IPv4', client: underlay.client, node: underlay.node },
  { family: 'IPv6', client: v6.client, node: v6.node },
] as const;

const upstream = (port: number) => `["${homeNetwork.home}:${port}"]`;
/** A door a port of HAProxy, under the same number. */
const dropIn = `ingress:
  - {name: http-told, listen: ${webPorts.httpTold}, upstreams: ${upstream(webPorts.httpTold)}, proxyProtocol: v1}
  - {name: http-bare, listen: ${webPorts.httpBare}, upstreams: ${upstream(webPorts.httpBare)}}
  - {name: tls-told, listen: ${webPorts.tlsTold}, upstreams: ${upstream(webPorts.tlsTold)}, proxyProtocol: v1}
  - {name: tls-bare, listen: ${webPorts.tlsBare}, upstreams: ${upstream(webPorts.tlsBare)}}
  - {name: one-sided, listen: 8005, upstreams: ${upstream(webPorts.httpTold)}}
`;

describe("the client's own address", () => {
  let bed: Bed;
  let web: HomeWeb;

  before(async () => {
    bed = await Bed.start({ boot: false, hurry: 12 });
    await bed.node.prepareFile('/etc/mooring/config.d/50-test.yaml', dropIn);
    [web] = await Promise.all([bed.home.serveWeb(), bed.node.boot()]);
    await bed.authorise();
    await bed.waitForReady();
    await bed.node.run(['ip', 'addr', 'add', `${v6.node}/64`, 'dev', 'eth0', 'nodad']);
    await bed.client.run(['ip', 'addr', 'add', `${v6.client}/64`, 'dev', 'eth0', 'nodad']);
  });
  after(async () => {
    await bed?.stop();
  });

  /** What the server behind a door says, asked by the name that its certificate is for. */
  const ask = async (scheme: 'http' | 'https', node: string, port: number): Promise<string> => {
    const answer = await bed.client.run([
      ...['curl', '-sSf', '--http1.1', '--max-time', '5', '--cacert', web.caFile],
      ...['--resolve', `${webName}:${port}:[${node}]`, `${scheme}://${webName}:${port}/`],
    ]);
    return answer.trim();
  };
  /** Waits for HAProxy's line on a client at one of its ports. */
  const logged = (frontend: keyof typeof webPorts, client: string) =>
    waitFor(
      `HAProxy to have logged ${client} at ${frontend}`,
      async () => (await web.log()).split('\n').includes(`${frontend} ${client}`),
      { timeoutMs: 5_000, context: () => web.log() },
    );

  for (const { family, client, node } of ways) {
    test(`is what HAProxy and an HTTP/1.1 server at home see over ${family}`, async () => {
      assert.equal(await ask('http', node, webPorts.httpTold), `for ${client} over HTTP/1.1`);
      await logged('httpTold', client);
    });

    test(`is what HAProxy and a TLS server at home see over ${family}, with the server's own certificate to the client`, async () => {
      const answer = await ask('https', node, webPorts.tlsTold);
      assert.equal(answer, `for ${client} over TLSv1.3 as ${webName}`);
      await logged('tlsTold', client);
    });

    test(`is the node's in ZeroTier to them without the PROXY protocol over ${family}`, async () => {
      assert.equal(await ask('http', node, webPorts.httpBare), `for ${homeNetwork.node} over HTTP/1.1`);
      const answer = await ask('https', node, webPorts.tlsBare);
      assert.equal(answer, `for ${homeNetwork.node} over TLSv1.3 as ${webName}`);
      await logged('httpBare', homeNetwork.node);
      await logged('tlsBare', homeNetwork.node);
    });
  }

  test('is asked for by an HAProxy that lets nobody in who does not tell it', async () => {
    await assert.rejects(ask('http', underlay.node, 8005), /Empty reply|reset by peer/);
  });
});
