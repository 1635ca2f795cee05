/**
 * One node's life with its config: wrong from the start, mended, wrong again over a reload, a restart, an upgrade and a
 * reboot, and its last good copy damaged. What was accepted last stays in force, and what runs under it stays untouched.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { editConfig, metric, reload, reloadRefused, waitForReason } from './ask.ts';
import { Bed } from './bed.ts';
import { renderExample } from './example.ts';
import { waitFor } from './process.ts';
import { makeTrialPackage } from './trial-package.ts';

const daemon = 'mooring.service';
const agent = 'k3s-node.service';
const lastGood = '/var/lib/mooring/last-good.json';
const generated = '/etc/rancher/k3s/config.yaml.d/50-mooring.yaml';

/** Port 80 as the example has it, and a port that there is not. */
const spoil = (text: string) => text.replace('listen: 80,', 'listen: 80000,');
const mend = (text: string) => text.replace('listen: 80000,', 'listen: 80,');

/** What `mooring check` says of configs that people write, and what in it tells them where and why. */
const badConfigs: Readonly<Record<string, { edit: (text: string) => string; says: RegExp }>> = {
  'a port that there is not': { edit: spoil, says: /ingress\[0\]\.listen.*80000/ },
  'a misspelt key': { edit: (t) => t.replace('ingress:', 'ingres:'), says: /ingres\b.*ingress/s },
  'no server': { edit: (t) => t.replace(/^ *server:.*\n/m, ''), says: /k3s\.server/ },
  tabs: { edit: (t) => t.replace('  server:', '\tserver:'), says: /tab/i },
  'the same door twice': {
    edit: (t) => t.replace('name: https, listen: 443', 'name: https, listen: 80'),
    says: /80/,
  },
  'a network id that is cut short': {
    edit: (t) => t.replace(/id: [0-9a-f]{16}/, 'id: 8056c2'),
    says: /16 hex/,
  },
};

describe('a node and its config', () => {
  let bed: Bed;

  before(async () => {
    bed = await Bed.start({ boot: false, userData: async (values) => spoil(await renderExample(values)) });
    // The admin's own options for k3s, as an image or cloud-init brings them.
    const own = 'node-label:\n  - owner=me\nnode-taint:\n  - own=yes:PreferNoSchedule\n';
    await bed.node.prepareFile('/etc/rancher/k3s/config.yaml', own);
    const dropIn = 'k3s:\n  labels: {tier: edge}\n  config: {kubelet-arg: [max-pods=50]}\n';
    await bed.node.prepareFile('/etc/mooring/config.d/50-labels.yaml', dropIn);
    await bed.node.boot();
    await bed.node.waitForCloudInit();
  });
  after(async () => {
    await bed?.stop();
  });

  const property = (unit: string, name: string) => bed.node.unitProperty(unit, name);
  const agentRun = async () =>
    `${await property(agent, 'MainPID')} ${await property(agent, 'InvocationID')} ${await property('mooring-ingress.service', 'MainPID')}`;
  const refusals = () => metric(bed, 'mooring_config_loads_total{result="refused"}');

  /** The last good config rules: doors and labels as before, nothing restarted, and the condition says what to mend. */
  async function assertLastGoodRules(runs: string): Promise<void> {
    const message = await waitForReason(bed, 'ConfigAccepted', 'Refused', 20_000);
    assert.match(message, /config\.yaml:\d+/);
    assert.match(message, /ingress\[0\]\.listen/);
    assert.match(message, /80000/);
    await bed.waitForReady(30_000);
    assert.equal((await bed.client.http(80)).status, 200);
    assert.match(await bed.node.run(['cat', generated]), /tier=edge/);
    assert.equal(await agentRun(), runs);
    const { stdout } = await bed.node.tryRun(['mooring', 'plan']);
    assert.match(stdout, /ConfigAccepted=false \(Refused\)/);
  }

  test('says what is wrong and stays down where there has never been a good one', async () => {
    assert.equal(await property(daemon, 'ActiveState'), 'failed');
    assert.equal(await property(daemon, 'ExecMainStatus'), '78');
    assert.equal(await property(daemon, 'NRestarts'), '0');
    const journal = await bed.node.journal({ unit: daemon });
    assert.match(journal, /config\.yaml:\d+.*ingress\[0\]\.listen.*80000/s);
    assert.equal((await bed.node.tryRun(['mooring', 'status'])).exitCode, 1);
  });

  test('has ZeroTier keep off the pod network from its first start, whatever the config is like', async () => {
    const local = await bed.node.run(['cat', '/var/lib/zerotier-one/local.conf']);
    assert.match(local, /"flannel"/);
    const written = await bed.node.run(['stat', '-c', '%W', '/var/lib/zerotier-one/local.conf']);
    const identity = await bed.node.run(['stat', '-c', '%W', '/var/lib/zerotier-one/identity.secret']);
    assert.ok(Number(written) > 0 && Number(written) <= Number(identity));
    const order = await bed.node.run(
      'journalctl --no-pager -o cat -u mooring-zerotier-preseed -u zerotier-one',
    );
    assert.match(order, /local\.conf: .*Started zerotier-one/s);
  });

  test('is checked by `mooring check`, which ends with 78 and tells where the mistake is', async () => {
    const good = mend(await bed.node.run(['cat', '/etc/mooring/config.yaml']));
    const file = '/root/check/config.yaml';
    await bed.node.writeFile(file, good);
    const fine = await bed.node.tryRun(['mooring', 'check', '--config', file]);
    assert.equal(fine.exitCode, 0, fine.stderr);
    for (const [name, { edit, says }] of Object.entries(badConfigs)) {
      const bad = edit(good);
      assert.notEqual(bad, good, name);
      await bed.node.writeFile(file, bad);
      const checked = await bed.node.tryRun(['mooring', 'check', '--config', file]);
      assert.equal(checked.exitCode, 78, `${name}: ${checked.stdout}${checked.stderr}`);
      assert.match(checked.stderr, says, name);
      assert.match(checked.stderr, /config\.yaml:\d+|config\.yaml: k3s/, name);
    }
  });

  test('moors once it is mended', async () => {
    await editConfig(bed, mend);
    await bed.node.run(['systemctl', 'start', daemon]);
    await bed.authorise();
    await bed.waitForReady();
    await bed.waitForCondition('ConfigAccepted', 'true', 5_000);
    assert.match(await bed.node.run(['stat', '-c', '%a', lastGood]), /^600$/);
  });

  test("adds to the admin's own options for k3s and takes none away", async () => {
    const nodes = JSON.stringify(await bed.home.k3sNodes());
    assert.match(nodes, /"owner": ?"me"/);
    assert.match(nodes, /"tier": ?"edge"/);
    assert.match(nodes, /own=yes:PreferNoSchedule|"key": ?"own"/);
    assert.match(
      await bed.node.run(['cat', '/etc/rancher/k3s/config.yaml']),
      /^node-label:\n {2}- owner=me\n/,
    );
  });

  test('copies a k3s token whose content changed, and restarts nothing', async () => {
    const runs = await agentRun();
    const source = '/etc/mooring/k3s-token';
    const copy = '/run/mooring/k3s-token';
    const former = (await bed.node.run(['cat', source])).trim();
    const next = former.replace(/[0-9a-f]{8}$/, 'deadbeef');
    assert.notEqual(next, former);
    for (const token of [next, former]) {
      await bed.node.writeFile(source, `${token}\n`, 0o600);
      await waitFor('the copy', async () => (await bed.node.run(['cat', copy])).trim() === token, {
        timeoutMs: 40_000,
        context: () => bed.report(),
      });
    }
    assert.equal(await bed.node.run(['stat', '-c', '%a %U', copy]), '600 root');
    await bed.waitForReady(10_000);
    assert.equal(await agentRun(), runs);
  });

  test('stays in force when a reload brings a bad one', async () => {
    const runs = await agentRun();
    const before = await refusals();
    await editConfig(bed, spoil);
    await reloadRefused(bed);
    assert.equal(await property(daemon, 'ActiveState'), 'active');
    assert.equal(await refusals(), before + 1);
    assert.equal(await metric(bed, 'mooring_condition{condition="ConfigAccepted",status="false"}'), 1);
    assert.match(await bed.node.journal({ unit: daemon }), /config refused, the former one stays in force/);
    await assertLastGoodRules(runs);
  });

  test('stays in force when mooring restarts with a bad one', async () => {
    const runs = await agentRun();
    await bed.node.run(['systemctl', 'restart', daemon]);
    await assertLastGoodRules(runs);
    assert.equal(await refusals(), 1);
  });

  test('stays in force when mooring is upgraded with a bad one', async () => {
    const runs = await agentRun();
    const deb = await makeTrialPackage(bed.deb, '99.0.0', bed.dir);
    await bed.node.push(deb, '/root/trial.deb');
    await bed.node.run(['apt-get', 'install', '-y', '-q', '/root/trial.deb'], { timeoutMs: 120_000 });
    assert.match(await bed.node.run(['mooring', 'version']), /99\.0\.0/);
    await waitFor('the new mooring', async () => (await bed.status())?.version === '99.0.0', {
      timeoutMs: 20_000,
    });
    await assertLastGoodRules(runs);
  });

  test('stays in force when the node boots with a bad one', async () => {
    await bed.node.reboot();
    await bed.waitForReady(90_000);
    await assertLastGoodRules(await agentRun());
  });

  test('gives way to a mended one at the next reload', async () => {
    const runs = await agentRun();
    await editConfig(bed, mend);
    await reload(bed);
    await bed.waitForCondition('ConfigAccepted', 'true', 10_000);
    assert.equal(await metric(bed, 'mooring_config_loads_total{result="accepted"}'), 1);
    await bed.waitForReady(10_000);
    assert.equal(await agentRun(), runs);
  });

  test('stays in force when its file is gone', async () => {
    const runs = await agentRun();
    await bed.node.run(['mv', '/etc/mooring/config.yaml', '/root/config.yaml']);
    await bed.node.run(['systemctl', 'restart', daemon]);
    const message = await waitForReason(bed, 'ConfigAccepted', 'Refused', 20_000);
    assert.match(message, /there is no \/etc\/mooring\/config\.yaml/);
    await bed.waitForReady(30_000);
    await bed.node.run(['mv', '/root/config.yaml', '/etc/mooring/config.yaml']);
    assert.equal(await agentRun(), runs);
  });

  test('needs no last good copy while it is good, and makes a damaged one anew', async () => {
    const runs = await agentRun();
    await bed.node.run(['truncate', '-s', '200', lastGood]);
    await bed.node.run(['systemctl', 'restart', daemon]);
    await bed.waitForCondition('ConfigAccepted', 'true', 20_000);
    await bed.waitForReady(30_000);
    assert.ok(Number(await bed.node.run(['stat', '-c', '%s', lastGood])) > 200);
    assert.equal(await agentRun(), runs);
  });

  test('is missed, and both mistakes are told, where it is bad and its last good copy is damaged', async () => {
    const runs = await agentRun();
    await editConfig(bed, spoil);
    await bed.node.run(['systemctl', 'stop', daemon]);
    await bed.node.run(['truncate', '-s', '200', lastGood]);
    const started = await bed.node.tryRun(['systemctl', 'start', daemon]);
    assert.notEqual(started.exitCode, 0);
    assert.equal(await property(daemon, 'ExecMainStatus'), '78');
    assert.equal(await property(daemon, 'ActiveState'), 'failed');
    const journal = await bed.node.journal({ unit: daemon, lines: 20 });
    assert.match(journal, /ingress\[0\]\.listen.*80000/s);
    assert.match(journal, /last good config is not complete JSON/);
    assert.equal((await bed.client.http(80)).status, 200);
    assert.equal(await agentRun(), runs);
    await editConfig(bed, mend);
    await bed.node.run(['systemctl', 'start', daemon]);
    await bed.waitForReady(30_000);
    assert.equal(await agentRun(), runs);
  });
});
