/**
 * The way from bare to moored as a user goes it, the moored node looked at from all sides, and what must not happen to
 * it when mooring is restarted, stopped, killed, hung or upgraded. One booted node; the tests follow each other.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { conditionTypes } from '#src/agent/conditions.ts';
import { Bed } from './bed.ts';
import { DnsSampler } from './dns-sampler.ts';
import { k3sStarts, type Lifelines, lifelines } from './lifelines.ts';
import { waitFor } from './process.ts';
import { makeTrialPackage } from './trial-package.ts';
import { homeNetwork } from './zerotier.ts';

const socket = ['--unix-socket', '/run/mooring/mooring.sock', 'http://mooring'];
const blacklisted = ['flannel', 'cni', 'veth', 'docker', 'cali', 'cilium', 'lxc', 'kube', 'nodelocaldns'];
/** What the admin of the image had written. */
const localConf = {
  physical: { '10.98.0.0/16': { blacklist: true } },
  settings: { portMappingEnabled: false, interfacePrefixBlacklist: ['mine'] },
};

describe('a node with the example as its user data', () => {
  let bed: Bed;
  /** Name of the ZeroTier interface. */
  let device = '';

  before(async () => {
    bed = await Bed.start({ boot: false });
    await bed.node.prepareFile('/var/lib/zerotier-one/local.conf', JSON.stringify(localConf));
    await bed.node.boot();
    await bed.waitForCondition('NetworkAuthorized', 'false', 120_000);
    await bed.authorise();
    await bed.waitForReady();
    await bed.waitForCondition('ServerReachable', 'true', 30_000);
    device = (await bed.status())?.networks[0]?.device ?? '';
  });
  after(async () => {
    await bed?.stop();
  });

  test('was set up by cloud-init without a complaint', async () => {
    assert.match(await bed.node.waitForCloudInit(), /extended_status: done$/m);
    assert.match(await bed.node.run(['dpkg', '-s', 'mooring']), /^Status: install ok installed$/m);
    assert.equal(await bed.node.run('systemctl list-units --failed --plain --no-legend'), '');
  });

  test("never ran Debian's nginx, which would have shown its default page", async () => {
    assert.equal(await bed.node.unitProperty('nginx.service', 'ActiveEnterTimestampMonotonic'), '0');
    assert.notEqual(
      await bed.node.unitProperty('mooring-ingress.service', 'ActiveEnterTimestampMonotonic'),
      '0',
    );
  });

  test('has every condition true', async () => {
    const { conditions = [] } = (await bed.status()) ?? {};
    const notTrue = conditions.filter(({ status }) => status !== 'true');
    assert.equal(conditions.length, conditionTypes.length);
    assert.deepEqual(
      notTrue.map(({ type, status, reason }) => `${type} ${status} ${reason}`),
      [],
    );
    const podNetwork = conditions.find(({ type }) => type === 'PodNetworkReady');
    assert.equal(podNetwork?.reason, 'Present');
  });

  test('tells people and programs that it is moored', async () => {
    const forPeople = await bed.node.run(['mooring', 'status']);
    assert.match(forPeople, /^node1: Moored: 10\.45\.0\.17;/);
    assert.match(forPeople, /^ {2}ok {2}LinkReady /m);
    assert.doesNotMatch(forPeople, /^ {2}!! /m);
    const asJson = await bed.node.run(['mooring', 'status', '--json']);
    assert.match(asJson, /"ready": true/);
    assert.match(await bed.node.run(['mooring', 'check']), /./);
    assert.match(await bed.node.run(['mooring', 'plan']), /^nothing to do$/m);
    await bed.node.run(['mooring', 'wait', '--timeout', '5s'], { timeoutMs: 10_000 });
  });

  test('reaches mooring-online.target', async () => {
    assert.equal(await bed.node.unitProperty('mooring-online.target', 'ActiveState'), 'inactive');
    await bed.node.run(['systemctl', 'start', 'mooring-online.target'], { timeoutMs: 20_000 });
    assert.equal(await bed.node.unitProperty('mooring-online.target', 'ActiveState'), 'active');
  });

  test('resolves names and addresses of home, and no others, through the link', async () => {
    const name = await bed.node.run(['resolvectl', 'query', 'nas.home.example']);
    assert.match(name, new RegExp(`10\\.45\\.0\\.20 +-- link: ${device}`));
    const reverse = await bed.node.run(['resolvectl', 'query', '10.45.0.20']);
    assert.match(reverse, new RegExp(`nas\\.home\\.example +-- link: ${device}`));
    assert.match(await bed.node.run(['resolvectl', 'default-route', device]), /: no$/m);
    const elsewhere = await bed.node.tryRun(['resolvectl', 'query', 'www.elsewhere.example']);
    assert.notEqual(elsewhere.exitCode, 0);
  });

  test('serves the cluster to the internet on 80, 443 and 443/udp', async () => {
    const http = await bed.client.http(80, { path: '/hello' });
    assert.equal(http.status, 200);
    assert.match(http.body, /"path": ?"\/hello"/);
    const https = await bed.client.http(443, { path: '/hello', tls: true });
    assert.equal(https.status, 200);
    assert.match(https.body, /"entry": ?"https"|"entry": ?"websecure"/);
    assert.equal(await bed.client.udpEcho(443, 'ahoy'), 'ahoy');
  });

  test('joined the cluster with its link address', async () => {
    const nodes = JSON.stringify(await bed.home.k3sNodes());
    assert.match(nodes, /"node1"/);
    assert.match(nodes, /"internalIPs": ?\["10\.45\.0\.17"\]/);
  });

  test('is scraped by Prometheus at home, with metrics that promtool has nothing against', async () => {
    await waitFor(
      'Prometheus to scrape mooring_ready 1',
      async () => (await bed.home.prometheusQuery('mooring_ready == 1')).length === 1,
      { timeoutMs: 15_000, everyMs: 500 },
    );
    const metrics = await bed.node.run(['curl', '-sSf', 'http://127.0.0.1:9810/metrics']);
    assert.match(metrics, /^mooring_condition\{condition="Ready",status="true"\} 1$/m);
    await assert.rejects(bed.home.checkMetrics(`${metrics}\nbadName 1\n`), /badName/);
    await bed.home.checkMetrics(`${metrics}\n`);
  });

  test('answers on its socket, on loopback and on its ZeroTier address, and not in public', async () => {
    const pages = {
      '/healthz': /^ok$/,
      '/readyz': /^ready$/,
      '/status': /"ready": true/,
      '/metrics': /^mooring_ready 1$/m,
      '/': /<html/i,
    };
    for (const [path, expected] of Object.entries(pages)) {
      const [base = '', ...rest] = [...socket].reverse();
      assert.match(await bed.node.run(['curl', '-sSf', ...rest.reverse(), `${base}${path}`]), expected);
      for (const host of ['127.0.0.1', '[::1]']) {
        assert.match(await bed.node.run(['curl', '-sSf', `http://${host}:9810${path}`]), expected);
      }
      assert.match(await bed.home.run(['curl', '-sSf', `http://${homeNetwork.node}:9810${path}`]), expected);
    }
    const inPublic = await bed.client.tryRun([
      'curl',
      '-sS',
      '--max-time',
      '3',
      'http://10.99.0.2:9810/healthz',
    ]);
    assert.match(inPublic.stderr, /refused|Couldn't connect/);
    const listening = await bed.node.run("ss -Hltn 'sport = 9810'");
    assert.deepEqual(
      listening
        .split('\n')
        .map((line) => line.trim().split(/\s+/)[3])
        .sort(),
      ['10.45.0.17:9810', '127.0.0.1:9810', '[::1]:9810'],
    );
  });

  test('tells systemd that it is ready, what it does, and that it lives', async () => {
    assert.equal(await bed.node.unitProperty('mooring.service', 'Type'), 'notify');
    assert.equal(await bed.node.unitProperty('mooring.service', 'ActiveState'), 'active');
    assert.match(await bed.node.unitProperty('mooring.service', 'StatusText'), /^Moored: 10\.45\.0\.17;/);
    assert.equal(await bed.node.unitProperty('mooring.service', 'WatchdogUSec'), '1min');
    assert.equal(await bed.node.unitProperty('mooring.service', 'NRestarts'), '0');
  });

  test("had the interface blacklist in ZeroTier's local.conf before its first start, beside the admin's own keys", async () => {
    const text = await bed.node.run(['cat', '/var/lib/zerotier-one/local.conf']);
    assert.deepEqual(JSON.parse(text), {
      physical: localConf.physical,
      settings: { ...localConf.settings, interfacePrefixBlacklist: ['mine', ...blacklisted] },
    });
    const written = Number(await bed.node.run(['stat', '-c', '%.9Y', '/var/lib/zerotier-one/local.conf']));
    const identity = Number(
      await bed.node.run(['stat', '-c', '%.9Y', '/var/lib/zerotier-one/identity.secret']),
    );
    assert.ok(written < identity, `${written} is not before ${identity}`);
    const metrics = await bed.node.run(['curl', '-sSf', 'http://127.0.0.1:9810/metrics']);
    assert.doesNotMatch(metrics, /action="zerotier\.blacklist"/, 'nothing was left to ask the API for');
    const status = await bed.node.run(
      'curl -sSf -H "X-ZT1-Auth: $(cat /var/lib/zerotier-one/authtoken.secret)" http://127.0.0.1:9993/status',
    );
    const settings = /"interfacePrefixBlacklist":\s*\[([^\]]*)\]/.exec(status)?.[1] ?? '';
    assert.deepEqual(
      settings.split(',').map((item) => item.trim().replaceAll('"', '')),
      ['mine', ...blacklisted],
    );
  });

  describe('while mooring comes and goes', () => {
    let untouched: Lifelines;
    let dns: DnsSampler;

    /** Everything that must not have noticed. */
    const unharmed = async () => {
      await bed.waitForReady(60_000);
      await dns.more(3);
      assert.deepEqual(await dns.lapses(), []);
      assert.deepEqual(await lifelines(bed), untouched);
    };
    const mainPid = () => bed.node.unitProperty('mooring.service', 'MainPID');

    before(async () => {
      untouched = await lifelines(bed);
      dns = await DnsSampler.start(bed.node, device, homeNetwork.home, 'nas.home.example');
    });

    test('a restart of it changes nothing', async () => {
      const pid = await mainPid();
      await bed.node.run(['systemctl', 'restart', 'mooring.service']);
      assert.notEqual(await mainPid(), pid);
      await unharmed();
    });

    test('nothing goes while it is stopped', async () => {
      await bed.node.run(['systemctl', 'stop', 'mooring.service']);
      assert.equal(await bed.node.unitProperty('mooring.service', 'ActiveState'), 'inactive');
      assert.equal(await bed.node.unitProperty('mooring.service', 'Result'), 'success');
      await dns.more(10);
      assert.deepEqual(await dns.lapses(), []);
      assert.deepEqual(await lifelines(bed), untouched);
      await bed.node.run(['systemctl', 'start', 'mooring.service']);
      await unharmed();
    });

    test('killed, it is started again and changes nothing', async () => {
      const pid = await mainPid();
      await bed.node.run(['systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', 'mooring.service']);
      await waitFor('another mooring', async () => !['0', pid].includes(await mainPid()), {
        timeoutMs: 20_000,
      });
      assert.equal(await bed.node.unitProperty('mooring.service', 'NRestarts'), '1');
      await unharmed();
    });

    test('hung, it is ended by the watchdog and started again', async () => {
      const dropIn = '/run/systemd/system/mooring.service.d/hasty.conf';
      await bed.node.writeFile(dropIn, '[Service]\nWatchdogSec=3s\nTimeoutAbortSec=1s\n');
      await bed.node.run('systemctl daemon-reload && systemctl restart mooring.service');
      const pid = await mainPid();
      const startedUsec = Number(
        await bed.node.unitProperty('mooring.service', 'ActiveEnterTimestampMonotonic'),
      );
      const beatUsec = async () =>
        Number(await bed.node.unitProperty('mooring.service', 'WatchdogTimestampMonotonic'));
      await waitFor('a sign of life', async () => (await beatUsec()) > startedUsec + 3_000_000, {
        timeoutMs: 20_000,
      });
      assert.equal(await mainPid(), pid);
      await bed.node.run(['kill', '-STOP', pid]);
      await waitFor('another mooring', async () => !['0', pid].includes(await mainPid()), {
        timeoutMs: 30_000,
      });
      assert.match(await bed.node.journal({ unit: 'mooring.service', lines: 50 }), /Watchdog timeout/);
      await bed.node.run(`rm ${dropIn} && systemctl daemon-reload && systemctl restart mooring.service`);
      await unharmed();
    });

    test('an upgrade of the package restarts mooring and nothing else', async () => {
      const version = (await bed.status())?.version ?? '';
      const trial = await makeTrialPackage(await downloaded(bed), `${version}+trial`, bed.dir);
      await bed.node.push(trial, '/var/cache/trial.deb');
      await bed.node.run('DEBIAN_FRONTEND=noninteractive apt-get install -y /var/cache/trial.deb', {
        timeoutMs: 120_000,
      });
      await waitFor('the new version', async () => (await bed.status())?.version === `${version}+trial`, {
        timeoutMs: 30_000,
      });
      await unharmed();
    });

    test('the sampler would have noticed, and what others take away is put back', async () => {
      await bed.node.run(['systemctl', 'stop', 'mooring.service']);
      await bed.node.run(['resolvectl', 'revert', device]);
      await dns.more(3);
      const lapses = await dns.lapses();
      assert.ok(lapses.length > 0);
      assert.match(lapses[0] ?? '', /servers of zt/);
      await bed.node.run(['systemctl', 'start', 'mooring.service']);
      await bed.waitForReady(30_000);
      const noticed = (await dns.lapses()).length;
      await dns.more(5);
      assert.equal((await dns.lapses()).length, noticed);
      assert.deepEqual(await lifelines(bed), untouched);
      assert.deepEqual(await k3sStarts(bed), { start: 1 });
      await dns.stop();
    });
  });
});

/** The package as the node downloaded it. */
async function downloaded(bed: Bed): Promise<string> {
  const file = join(bed.dir, 'www/mooring.deb');
  assert.ok((await readFile(file)).length > 0);
  return file;
}
