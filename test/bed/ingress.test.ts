/**
 * The node's doors: a client on the internet knocks all the time, always with new connections, while nginx' package is
 * installed and reinstalled, the config changes, ports are taken and configs are refused. No knock may be lost.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { forgetRules, portmapRules } from '../support/portmap.ts';
import { describeAddresses } from './addresses.ts';
import { editConfig, reload, waitForReason } from './ask.ts';
import { Bed } from './bed.ts';
import { exampleDoors, type Knock, type Knocking } from './client.ts';
import {
  answerBytes,
  come,
  countedListeners,
  hold,
  requestBytes,
  startCountedServers,
  waitForCounts,
} from './counted.ts';
import { underlay } from './network.ts';
import { waitFor } from './process.ts';

const ingressUnit = 'mooring-ingress.service';
const defaultPage = /Welcome to nginx/;

/** What no client of these doors may ever see. */
const lost = (knocks: readonly Knock[]) =>
  knocks.filter(
    ({ ok, said, door }) => !ok || !(door === 'quic' ? said === 'knock' : said.includes('traefik')),
  );

/** How many knocks each door had. */
const counts = (knocks: readonly Knock[]) => Object.groupBy(knocks, ({ door }) => door);

/** Fails with the knocks that were lost; `least` a door proves that somebody knocked at all. */
function assertNoneLost(knocks: readonly Knock[], least: number): void {
  for (const door of Object.keys(exampleDoors)) {
    const count = counts(knocks)[door]?.length ?? 0;
    assert.ok(count >= least, `${door} was knocked at ${count} times only`);
  }
  assert.deepEqual(lost(knocks), []);
}

const addDoor = (name: string, port: number) => (text: string) =>
  `${text.trimEnd()}\n  - {name: ${name}, listen: ${port}, upstreams: ["127.0.0.1:31693"]}\n`;

describe('the doors of a node', () => {
  let bed: Bed;
  let whileInstalling: readonly Knock[];

  before(async () => {
    bed = await Bed.start({ boot: false });
    const knocking = bed.client.knock({ http: 'http:80' });
    await bed.node.boot();
    await bed.authorise();
    await bed.waitForReady();
    await bed.node.waitForCloudInit();
    await knocking.more(5);
    whileInstalling = await knocking.stop();
  });
  after(async () => {
    await bed?.stop();
  });

  const nginxTime = async (property: string) =>
    Number(await bed.node.unitProperty('nginx.service', property));
  const workers = async () => (await bed.node.run(['pgrep', '-P', await masterPid()])).split('\n');
  /** The master that serves now; to systemd the former one is the main process until its last connection has ended. */
  const masterPid = () => bed.node.run(['cat', '/run/mooring-ingress/nginx.pid']);

  test("never show nginx' default page while cloud-init installs everything", async () => {
    const first = whileInstalling.findIndex(({ ok }) => ok);
    assert.ok(first > 5, 'somebody knocked before the door was there');
    assert.ok(whileInstalling.length - first >= 5, 'and after');
    const answers = whileInstalling.filter(({ ok }) => ok);
    assert.deepEqual(
      answers.filter(({ said }) => !said.includes('traefik')),
      [],
    );
    assert.ok((await nginxTime('ConditionTimestampMonotonic')) > 0, "nginx' package tried to start it");
    assert.equal(await bed.node.unitProperty('nginx.service', 'ConditionResult'), 'no');
    assert.equal(await nginxTime('ActiveEnterTimestampMonotonic'), 0);
  });

  describeAddresses(() => bed);

  describe('under traffic', () => {
    let knocking: Knocking;

    beforeEach(async () => {
      knocking = bed.client.knock(exampleDoors);
      await knocking.more(5);
    });
    afterEach(async () => {
      await knocking.stop();
    });

    test('are opened again when somebody shuts them, and whoever knocks has noticed', async () => {
      await bed.node.run(['systemctl', 'stop', ingressUnit]);
      await waitForReason(bed, 'IngressRunning', 'Serving', 15_000);
      await knocking.more(5);
      const knocks = await knocking.stop();
      assert.notDeepEqual(lost(knocks), []);
      assert.deepEqual(lost(knocks.slice(-6)), []);
    });

    test("stay open while nginx' package is installed again, and while the running one is renewed to it", async () => {
      const [master, tried] = [await masterPid(), await nginxTime('ConditionTimestampMonotonic')];
      const packages = await bed.node.run("dpkg -l '*nginx*' | awk '/^ii/ { print $2 }'");
      assert.match(packages, /libnginx-mod-stream/);
      await bed.node.run(['apt-get', 'install', '-y', '-q', '--reinstall', ...packages.trim().split(/\s+/)], {
        timeoutMs: 120_000,
        env: { DEBIAN_FRONTEND: 'noninteractive' },
      });
      const program = await bed.node.run(['readlink', `/proc/${master}/exe`]);
      assert.match(program, /\(deleted\)$/, 'the program was replaced under the running nginx');
      assert.ok(
        (await nginxTime('ConditionTimestampMonotonic')) > tried,
        'the package tried to start its own',
      );
      assert.equal(await nginxTime('ActiveEnterTimestampMonotonic'), 0);
      await waitFor(
        'another master to have taken over, as the new program',
        async () => {
          const now = await masterPid();
          if (now === master) return false;
          return (await bed.node.run(['readlink', `/proc/${now}/exe`])) === '/usr/sbin/nginx';
        },
        { timeoutMs: 60_000, context: () => bed.report() },
      );
      await waitForReason(bed, 'IngressRunning', 'Serving', 10_000);
      await knocking.more(10);
      assertNoneLost(await knocking.stop(), 20);
    });

    test('stay open through a reload that adds one, and an open connection lives on', async () => {
      const held = holdConnection(bed);
      await held.open();
      const before = await workers();
      await editConfig(bed, addDoor('more', 8081));
      await reload(bed);
      await waitForReason(bed, 'IngressRunning', 'Serving', 15_000);
      const after = await workers();
      assert.ok(
        after.some((pid) => !before.includes(pid)),
        'new workers serve',
      );
      assert.ok(
        after.some((pid) => before.includes(pid)),
        'a former one still has the open connection',
      );
      assert.match((await bed.client.http(8081)).body, /traefik/);
      assert.match(await held.finish(), /200 OK.*traefik/s);
      await knocking.more(10);
      assertNoneLost(await knocking.stop(), 15);
    });

    test('stay open while another program holds a port that the config asks for, which is opened once it is free', async () => {
      const listener =
        "import socket, signal; s = socket.socket(); s.bind(('0.0.0.0', 8082)); s.listen(); signal.pause()";
      await bed.node.run([
        'systemd-run',
        '--unit=squatter',
        '--service-type=exec',
        '--uid=games',
        'python3',
        '-c',
        listener,
      ]);
      await waitFor(
        'the other program to listen',
        async () => (await bed.node.run('cat /proc/net/tcp')).includes(':1F92 00000000:0000 0A'),
        { timeoutMs: 10_000 },
      );
      await editConfig(bed, addDoor('taken', 8082));
      await reload(bed);
      const message = await waitForReason(bed, 'IngressRunning', 'PortTaken', 30_000);
      assert.match(message, /^8082\/tcp is taken by another program \(socket 0\.0\.0\.0:8082 of games\)/);
      assert.match(message, /former config/);
      const advice = /ss -ltnp 'sport = :8082'/.exec(message)?.[0] ?? '';
      assert.match(await bed.node.run(advice), /users:\(\("python3"/, 'the advice leads to the program');
      await bed.waitForCondition('ConfigAccepted', 'true', 5_000);
      await bed.waitForCondition('Ready', 'false', 5_000);
      assert.match(await bed.node.journal({ unit: ingressUnit }), /bind\(\) to 0\.0\.0\.0:8082 failed/);
      await knocking.more(10);
      assertNoneLost(await knocking.stop(), 10);

      // The config that cannot be taken over must not be what the next nginx starts from.
      const config = '/var/lib/mooring/nginx/nginx.conf';
      await waitFor(
        'the config that works to be back in place',
        async () => !(await bed.node.run(['cat', config])).includes('8082'),
        { timeoutMs: 30_000 },
      );
      await bed.node.run(['systemctl', 'kill', '--signal=SIGKILL', ingressUnit]);
      await waitFor(
        'the doors to open again',
        async () => (await bed.client.http(80).catch(() => undefined))?.body.includes('traefik'),
        { timeoutMs: 20_000 },
      );
      await waitForReason(bed, 'IngressRunning', 'PortTaken', 10_000);

      knocking = bed.client.knock(exampleDoors);
      await bed.node.run(['systemctl', 'stop', 'squatter.service']);
      await waitForReason(bed, 'IngressRunning', 'Serving', 75_000);
      assert.match((await bed.client.http(8082)).body, /traefik/);
      await knocking.more(5);
      assertNoneLost(await knocking.stop(), 5);
    });

    test('are called shut where a rule in the kernel leads one away, and are left alone', async () => {
      const run = await bed.node.unitProperty(ingressUnit, 'InvocationID');
      const pod = await startPod(bed);
      const iptables = 'iptables-nft';
      const mapping = { iptables, podNetwork: '10.42.77.0/24', pod: pod.address, podPort: 8000 };
      for (const rule of portmapRules({ ...mapping, hostPort: 8084 })) await bed.node.runInNetwork(rule);
      await editConfig(bed, addDoor('balanced', 8084));
      await reload(bed);
      await waitForReason(bed, 'IngressRunning', 'Serving', 15_000);
      assert.equal((await bed.client.http(8084)).body, 'the pod');
      const message = await waitForReason(bed, 'IngressRunning', 'PortRedirected', 40_000);
      assert.match(message, /^8084\/tcp: nginx listens, and connections to 10\.99\.0\.2 end elsewhere/);
      await bed.waitForCondition('Ready', 'false', 5_000);
      await bed.node.runInNetwork(forgetRules(iptables));
      await waitForReason(bed, 'IngressRunning', 'Serving', 30_000);
      assert.match((await bed.client.http(8084)).body, /traefik/);
      assert.equal(await bed.node.unitProperty(ingressUnit, 'InvocationID'), run);
      await pod.end();
      await knocking.more(5);
      assertNoneLost(await knocking.stop(), 20);
    });

    test('stay open while nginx refuses a config, which never takes the place of the good one', async () => {
      const module = '/usr/share/nginx/modules-available/mod-stream.conf';
      const good = '/var/lib/mooring/nginx/nginx.conf';
      const before = await bed.node.run(['sha256sum', good]);
      await bed.node.run(`cp ${module} /root/mod-stream.conf && echo 'no_such_directive on;' >> ${module}`);
      const refused = await bed.node.tryRun(['nginx', '-t', '-c', good]);
      assert.notEqual(refused.exitCode, 0);
      await editConfig(bed, addDoor('refused', 8083));
      await reload(bed);
      const message = await waitForReason(bed, 'IngressRunning', 'ConfigRefused', 30_000);
      assert.match(message, /no_such_directive/);
      assert.match(message, /former config stays in force/);
      await bed.node.run(['systemctl', 'restart', 'mooring.service']);
      await waitForReason(bed, 'IngressRunning', 'ConfigRefused', 30_000);
      assert.equal(await bed.node.run(['sha256sum', good]), before);
      await knocking.more(10);
      await bed.node.run(`cp /root/mod-stream.conf ${module}`);
      // A person who mended it does not wait for the next try.
      await reload(bed);
      await waitForReason(bed, 'IngressRunning', 'Serving', 10_000);
      assert.notEqual(await bed.node.run(['sha256sum', good]), before);
      assert.match((await bed.client.http(8083)).body, /traefik/);
      await knocking.more(5);
      assertNoneLost(await knocking.stop(), 15);
    });

    test('stay open beside an nginx.service that the admin asks for', async () => {
      await bed.node.run(
        "sed -i 's/listen 80 /listen 8090 /; /listen \\[::\\]:80 /d' /etc/nginx/sites-available/default",
      );
      await bed.node.run(['systemctl', 'start', 'nginx.service']);
      assert.equal(await bed.node.unitProperty('nginx.service', 'ActiveState'), 'inactive');
      await bed.node.run('touch /etc/mooring/allow-nginx-service && systemctl start nginx');
      assert.equal(await bed.node.unitProperty('nginx.service', 'ActiveState'), 'active');
      assert.match((await bed.client.http(8090)).body, defaultPage);
      await knocking.more(10);
      const knocks = await knocking.stop();
      assertNoneLost(knocks, 10);
      assert.deepEqual(
        knocks.filter(({ said }) => defaultPage.test(said)),
        [],
      );
    });
  });

  describe('are counted', () => {
    const each = { received_bytes_total: requestBytes, sent_bytes_total: answerBytes };
    const times = (number: number) =>
      Object.fromEntries(Object.entries(each).map(([name, bytes]) => [name, bytes * number]));

    before(async () => {
      await startCountedServers(bed);
      await editConfig(bed, (text) => `${text.trimEnd()}\n  ${countedListeners}\n`);
      await reload(bed);
      await waitForReason(bed, 'IngressRunning', 'Serving', 15_000);
    });

    test('connection by connection and byte by byte, by how they ended', async () => {
      const answers = await Promise.all([
        come(bed, 8101, 7),
        come(bed, 8102, 2),
        come(bed, 8103, 3),
        come(bed, 8104, 4),
        come(bed, 8106, 5, 'udp'),
      ]);
      assert.deepEqual(
        answers,
        [7, 2, 0, 0, 5].map((times) => times * answerBytes),
      );
      const held = await hold(bed, 8105, 1);
      assert.equal(await come(bed, 8105, 2), 0);
      assert.equal(await held.finish(), answerBytes);
      await waitForCounts(bed, 'counted', {
        ...times(7),
        connections_total: 7,
        open_connections: 0,
        'sessions_total ok': 7,
        'upstream_failures_total 127.0.0.1:9301': 0,
      });
      await waitForCounts(bed, 'retried', {
        ...times(2),
        'sessions_total ok': 2,
        'upstream_failures_total 127.0.0.1:9': 2,
        'upstream_failures_total 127.0.0.1:9301': 0,
      });
      await waitForCounts(bed, 'unreachable', {
        connections_total: 3,
        sent_bytes_total: 0,
        'sessions_total upstream_failed': 3,
        'upstream_failures_total 127.0.0.1:9': 3,
      });
      await waitForCounts(bed, 'denied', { connections_total: 4, 'sessions_total denied': 4 });
      await waitForCounts(bed, 'limited', {
        connections_total: 3,
        sent_bytes_total: answerBytes,
        'sessions_total ok': 1,
        'sessions_total limited': 2,
      });
      await waitForCounts(bed, 'datagrams', {
        ...times(5),
        connections_total: 5,
        open_connections: 0,
        'sessions_total ok': 5,
      });
    });

    test('while they are open, and with all their bytes after a reload that they outlived', async () => {
      const held = await hold(bed, 8101, 6);
      await waitForCounts(bed, 'counted', { connections_total: 13, open_connections: 6 });
      await come(bed, 8106, 2, 'udp');
      await bed.node.run(['systemctl', 'reload', ingressUnit]);
      await come(bed, 8101, 1);
      assert.equal(await held.finish(), 6 * answerBytes);
      await waitForCounts(bed, 'counted', {
        ...times(14),
        connections_total: 14,
        open_connections: 0,
        'sessions_total ok': 14,
        'sessions_total unrecorded': 0,
      });
      await waitForCounts(bed, 'datagrams', {
        connections_total: 7,
        open_connections: 0,
        'sessions_total ok': 7,
      });
    });

    test('once each, also while mooring is killed', async () => {
      const held = await hold(bed, 8101, 2);
      await waitForCounts(bed, 'counted', { connections_total: 16, open_connections: 2 });
      await come(bed, 8101, 2);
      await bed.node.run(['systemctl', 'kill', '--signal=SIGKILL', 'mooring.service']);
      await come(bed, 8101, 2);
      assert.equal(await held.finish(), 2 * answerBytes);
      // Without waiting for RestartSec=.
      await bed.node.run(['systemctl', 'start', 'mooring.service']);
      await waitForCounts(bed, 'counted', {
        ...times(6),
        connections_total: 4,
        open_connections: 0,
        'sessions_total ok': 6,
      });
    });

    test('without a word about who came, and stay open while there is no room to write them down', async () => {
      const log = '/run/mooring-ingress/sessions.log';
      const master = await masterPid();
      const limit = /Max file size +(\d+)/.exec(await bed.node.run(['cat', `/proc/${master}/limits`]))?.[1];
      const before = await workers();
      const { stdout: status } = await bed.node.tryRun(['mooring', 'status', '--json']);
      const metrics = await bed.node.run(['curl', '-sSf', 'http://127.0.0.1:9810/metrics']);
      await bed.node.run(['systemctl', 'stop', 'mooring.service']);
      await come(bed, 8101, 3);
      const lines = await waitFor(
        'the lines in the log',
        async () => {
          const text = await bed.node.run(['cat', log]);
          return text.trim().split('\n').length === 3 ? text : undefined;
        },
        { timeoutMs: 5_000 },
      );
      assert.match(lines, /^(counted\/tcp\/200\/100\/1000\/127\.0\.0\.1:9301\n?)*$/);
      assert.match(status, /"counted"/);
      assert.match(metrics, /"counted"/);
      for (const text of [status, metrics, lines]) assert.ok(!text.includes(underlay.client), text);

      await bed.node.run(['truncate', `--size=${limit}`, log]);
      assert.equal(await come(bed, 8101, 3), 3 * answerBytes);
      await waitFor(
        'nginx to find no room',
        async () => (await bed.node.journal({ unit: ingressUnit })).includes('File too large'),
        { timeoutMs: 10_000 },
      );
      assert.equal(await come(bed, 8102, 1), answerBytes);
      assert.deepEqual(await workers(), before);
      await bed.node.run(['systemctl', 'start', 'mooring.service']);
      await waitForCounts(bed, 'counted', { open_connections: 0, 'sessions_total ok': 3 });
      await come(bed, 8101, 4);
      await waitForCounts(bed, 'counted', { ...times(7), connections_total: 7, 'sessions_total ok': 7 });
    });
  });

  test('turn a client away that opens connections too fast, as long as the config says so', async () => {
    const limitsUnit = 'mooring-ingress-limits.service';
    const rules = async () =>
      (await bed.node.tryRun(['nft', 'list', 'table', 'inet', 'mooring_ingress'])).stdout;
    const served = async () => Number(await bed.client.run(['sh', '-c', servedOf8(8085)]));
    // As Debian's own rules begin, with the removal of everybody's; the NodePorts are rules as well.
    await bed.node.run(
      "nft add table inet theirs && { echo 'flush ruleset'; nft list ruleset; } >/root/rules.nft && mv /root/rules.nft /etc/nftables.conf && systemctl start nftables.service",
    );
    const others = async () =>
      (await bed.node.run('nft list tables')).split('\n').filter((table) => !table.includes('mooring'));
    const before = await others();
    assert.ok(before.includes('table inet theirs') && before.length > 1);
    const limit = 'newConnectionsPerClient: {rate: 5/1h, burst: 5}';
    await editConfig(
      bed,
      (text) =>
        `${text.trimEnd()}\n  - {name: throttled, listen: 8085, upstreams: ["127.0.0.1:31693"], ${limit}}\n`,
    );
    await reload(bed);
    await waitForReason(bed, 'IngressRunning', 'Serving', 15_000);
    await waitForReason(bed, 'IngressLimited', 'InForce', 15_000);
    assert.equal(await served(), 5);
    assert.equal((await bed.home.run(['sh', '-c', servedOf8(8085)])).trim(), '5', 'another client');
    assert.match((await bed.client.http(80)).body, /traefik/, 'another door');

    await bed.node.run(['systemctl', 'reload', 'nftables.service']);
    await waitFor('the rules to be back', async () => (await rules()).includes('dport 8085'), {
      timeoutMs: 10_000,
    });
    // As at a boot, without mooring.
    await bed.node.run(`systemctl stop mooring.service ${ingressUnit} ${limitsUnit}`);
    assert.equal(await rules(), '');
    await bed.node.run(['systemctl', 'start', ingressUnit]);
    assert.match(await rules(), /dport 8085/);
    assert.equal(await served(), 5);
    await bed.node.run(['systemctl', 'start', 'mooring.service']);
    await waitForReason(bed, 'IngressLimited', 'InForce', 15_000);

    await editConfig(bed, (text) => text.replace(`, ${limit}`, ''));
    await reload(bed);
    await waitForReason(bed, 'IngressLimited', 'NotWanted', 15_000);
    await waitFor('the rules to be gone', async () => (await rules()) === '', { timeoutMs: 10_000 });
    assert.deepEqual(await others(), before);
    assert.equal(await served(), 8);
  });
});

/** How many of eight clients in a row are served; those that are dropped give up before their kernel tries again. */
const servedOf8 = (port: number) =>
  `n=0; for i in 1 2 3 4 5 6 7 8; do curl -s -o /dev/null --max-time 0.4 http://10.99.0.2:${port}/ && n=$((n+1)); done; echo $n`;

/** A pod beside the node's own network, with a web server at port 8000. */
async function startPod(bed: Bed): Promise<{ readonly address: string; end(): Promise<void> }> {
  const script = `
import http.server, socketserver
class Pod(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'the pod')
socketserver.TCPServer(('0.0.0.0', 8000), Pod).serve_forever()
`;
  const service = ['systemd-run', '--unit=pod', '--service-type=exec', '-p', 'PrivateNetwork=yes'];
  await bed.node.run([...service, 'python3', '-c', script]);
  const pid = await bed.node.unitProperty('pod.service', 'MainPID');
  const inside = `nsenter -t ${pid.trim()} -n ip`;
  await bed.node.run(
    `ip link add pod0 type veth peer name eth0 netns ${pid.trim()} && ip addr add 10.42.77.1/24 dev pod0 && ip link set pod0 up && ${inside} addr add 10.42.77.5/24 dev eth0 && ${inside} link set eth0 up && ${inside} route add default via 10.42.77.1 && sysctl -qw net.ipv4.ip_forward=1`,
  );
  return {
    address: '10.42.77.5',
    end: async () => {
      await bed.node.run(['systemctl', 'stop', 'pod.service']);
    },
  };
}

/** A connection through port 80 that is opened, left alone with half a request, and finished when the test says so. */
function holdConnection(bed: Bed): { open(): Promise<void>; finish(): Promise<string> } {
  const [opened, go] = [join(bed.dir, 'held-open'), join(bed.dir, 'held-go')];
  const script = `
import os, socket, sys, time
s = socket.create_connection(('10.99.0.2', 80), 5)
s.sendall(b'GET /held HTTP/1.1\\r\\nHost: held\\r\\n')
open(sys.argv[1], 'w').close()
end = time.monotonic() + 60
while not os.path.exists(sys.argv[2]):
    if time.monotonic() > end: sys.exit('nobody let go')
    time.sleep(0.05)
s.settimeout(5)
s.sendall(b'Connection: close\\r\\n\\r\\n')
answer = b''
while chunk := s.recv(4096): answer += chunk
print(answer.decode())
`;
  const answer = bed.client.tryRun(['python3', '-c', script, opened, go], 70_000);
  return {
    open: async () => {
      await waitFor('the connection to be open', async () => bed.client.run(['ls', opened]), {
        timeoutMs: 10_000,
      });
    },
    finish: async () => {
      await writeFile(go, '');
      const { stdout, stderr, exitCode } = await answer;
      assert.equal(exitCode, 0, stderr);
      return stdout;
    },
  };
}
