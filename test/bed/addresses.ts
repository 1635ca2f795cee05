/**
 * Tests of where a node's doors can be reached: for the internet at its own address, for the network of home only where that is asked for,
 * at an address that comes late, and at the others while one of them is away.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { editConfig, reload, waitForReason } from './ask.ts';
import type { Bed } from './bed.ts';
import { underlay } from './network.ts';
import { waitFor } from './process.ts';
import { homeNetwork } from './zerotier.ts';

const config = '/var/lib/mooring/nginx/nginx.conf';
const ingressUnit = 'mooring-ingress.service';
const late = '10.99.0.77';

const doors = `ingress:
  - {name: http, listen: 80, addresses: [all, zerotier], upstreams: ["127.0.0.1:31693"]}
  - {name: https, listen: 443, addresses: default-route, upstreams: ["127.0.0.1:30484"]}
  - {name: quic, listen: 443, protocol: udp, upstreams: ["127.0.0.1:30484"]}
  - {name: late, listen: 8081, addresses: ${late}, upstreams: ["127.0.0.1:31693"]}
`;

/** The tests, on a node whose doors serve; its config is what it was when they end. */
export function describeAddresses(bedOf: () => Bed): void {
  describe('reached at their addresses', () => tests(bedOf));
}

function tests(bedOf: () => Bed): void {
  let bed: Bed;
  let former: string;

  before(async () => {
    bed = bedOf();
    former = await bed.node.run(['cat', '/etc/mooring/config.yaml']);
  });
  after(async () => {
    await editConfig(bed, () => former);
    await reload(bed);
    await waitForReason(bed, 'IngressRunning', 'Serving', 15_000);
  });

  const curl = (url: string) => ['curl', '-sSk', '--max-time', '3', url];
  /** What somebody in the network of home is answered, or the exit code of curl: 7 is refused, 52 and 56 are closed without a word. */
  async function fromHome(url: string): Promise<string | number> {
    const code = await bed.home.run(['sh', '-c', '"$@" || echo "exit $?"', 'sh', ...curl(url)]);
    const exit = /exit (\d+)\s*$/.exec(code)?.[1];
    return exit === undefined ? code : Number(exit);
  }
  const fromInternet = (url: string) => bed.client.run(curl(url));
  const masterPid = () => bed.node.run(['cat', '/run/mooring-ingress/nginx.pid']);
  const workers = async () => bed.node.run(['pgrep', '-P', await masterPid()]);
  const told = (pattern: RegExp) =>
    waitFor(
      `IngressRunning to tell ${pattern}`,
      async () => {
        const found = (await bed.status())?.conditions.find(({ type }) => type === 'IngressRunning');
        return found?.reason === 'Serving' && pattern.test(found.message);
      },
      { timeoutMs: 15_000, context: () => bed.report() },
    );

  test('are open for the internet, and by default not for the network of home', async () => {
    await waitForReason(bed, 'IngressRunning', 'Serving', 15_000);
    assert.match(await bed.node.run(['cat', config]), /# Addresses of ZeroTier: .*10\.45\.0\./);
    assert.match(await fromInternet(`http://${underlay.node}/`), /traefik/);
    assert.equal(await bed.client.udpEcho(443, 'knock'), 'knock');
    for (const url of [`http://${homeNetwork.node}/`, `https://${homeNetwork.node}/`])
      assert.ok([35, 52, 56].includes(Number(await fromHome(url))), `${url} is closed`);
  });

  test('are those that the config asks for, and one that is not there is waited for', async () => {
    await editConfig(bed, (text) => `${text.slice(0, text.indexOf('ingress:'))}${doors}`);
    await reload(bed);
    await told(new RegExp(`http on 80/tcp, https on 443/tcp, quic on 443/udp; late waits for ${late}`));
    await bed.waitForCondition('Ready', 'true', 5_000);
    assert.match(String(await fromHome(`http://${homeNetwork.node}/`)), /traefik/);
    assert.match(await fromInternet(`https://${underlay.node}/`), /traefik/);
    assert.equal(await fromHome(`https://${homeNetwork.node}/`), 7, 'there is not even a socket');
    assert.equal(await bed.client.udpEcho(443, 'knock'), 'knock');
  });

  test('include one that comes late, and its loss is survived without a reload', async () => {
    await bed.node.run(['ip', 'address', 'add', `${late}/24`, 'dev', 'eth0']);
    await told(/late on 8081\/tcp$/);
    for (const url of [`http://${late}:8081/`, `https://${late}/`, `https://${underlay.node}/`])
      assert.match(await fromInternet(url), /traefik/);
    const before = await workers();
    await bed.node.run(['ip', 'address', 'del', `${late}/24`, 'dev', 'eth0']);
    await told(new RegExp(`late waits for ${late}`));
    await bed.node.run(['ip', 'address', 'add', `${late}/24`, 'dev', 'eth0']);
    assert.match(await fromInternet(`http://${late}:8081/`), /traefik/);
    await told(/late on 8081\/tcp$/);
    assert.equal(await workers(), before, 'the same workers all the time');
  });

  test('that are left open again after a crash while one of them is away', async () => {
    await bed.node.run(['ip', 'address', 'del', `${late}/24`, 'dev', 'eth0']);
    await bed.node.run(['systemctl', 'kill', '--signal=SIGKILL', ingressUnit]);
    await told(new RegExp(`quic on 443/udp; late waits for ${late}`));
    assert.match(await fromInternet(`https://${underlay.node}/`), /traefik/);
    assert.doesNotMatch(await bed.node.run(['cat', config]), /listen 10\.99\.0\.77/);
  });
}
