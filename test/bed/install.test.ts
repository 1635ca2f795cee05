/**
 * A node whose image has no k3s: it gets the one that its config pins from a web server, its images as well, on a disk that is
 * full at first; then another one, and its token by systemd credentials of every kind, real ones. What a wrong pin or another
 * token must not touch stays untouched.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { editConfig, reload, waitForReason } from './ask.ts';
import { Bed } from './bed.ts';
import { renderExample } from './example.ts';
import { downloads } from './home.ts';
import { waitFor } from './process.ts';

const agent = 'k3s-node.service';
const binary = '/usr/local/bin/k3s';
const dropIn = '/etc/systemd/system/mooring.service.d/k3s-token.conf';
const tarball = '/var/lib/rancher/k3s/agent/images/images.tar.zst';
const images = Buffer.from('stands for images');
const sha256Of = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const pinnedImages = `images: {sha256: {amd64: "${sha256Of(images)}"}, url: "${downloads}/images.tar.zst"}`;
const pin = (version: string, sha256: string) =>
  `  install: {version: ${version}, sha256: {amd64: "${sha256}"}, url: "${downloads}/k3s-{version}", ${pinnedImages}}`;
/** A disk of its own for the binary, with less room than it takes. */
const smallDisk = 'tmpfs /usr/local/bin tmpfs mode=755,size=32k 0 0\n';

describe('a node without k3s in its image', () => {
  let bed: Bed;
  let first: string;
  let second: string;

  before(async () => {
    bed = await Bed.start({
      boot: false,
      userData: async (values) => {
        const text = await renderExample(values);
        return text
          .replace('token: {file: /etc/mooring/k3s-token}', 'token: {credential: k3s-token}')
          .replace(/^ {8}install:.*\n(?: {10}.*\n)+/m, `      ${pin('v1.36.3+k3s1', values.k3sSha256)}\n`);
      },
    });
    first = bed.values.k3sSha256;
    const program = await readFile(join(bed.dir, 'www/k3s'));
    // The same program under another hash, as the next release would be.
    const end = program.indexOf('\n');
    const next = Buffer.concat([program.subarray(0, end), Buffer.from(' -s'), program.subarray(end)]);
    second = sha256Of(next);
    await writeFile(join(bed.dir, 'www/k3s-v1.36.3+k3s1'), program);
    await writeFile(join(bed.dir, 'www/k3s-v1.36.4+k3s1'), next);
    await writeFile(join(bed.dir, 'www/images.tar.zst'), images);
    await bed.node.prepareFile(dropIn, '[Service]\nLoadCredential=k3s-token:/etc/mooring/k3s-token\n');
    await bed.node.prepareFile('/etc/fstab', smallDisk);
    await bed.node.boot();
  });
  after(async () => {
    await bed?.stop();
  });

  const installed = async () => (await bed.node.run(['sha256sum', binary])).slice(0, 64);
  const runs = async () =>
    Promise.all(
      [agent, 'mooring-ingress.service'].map((unit) => bed.node.unitProperty(unit, 'InvocationID')),
    );
  /** Starts and restarts of the agent that mooring asked for, by their reason. */
  const starts = async () =>
    Object.fromEntries(
      Object.entries((await bed.status())?.k3s.restarts ?? {}).filter(([key]) => key.startsWith(agent)),
    );
  const copy = () => bed.node.run(['cat', '/run/mooring/k3s-token']);

  test('tells of a full disk, and leaves nothing of the file on it', async () => {
    const message = await waitForReason(bed, 'K3sInstalled', 'NotWritable', 120_000);
    assert.match(message, /^cannot write \/usr\/local\/bin\/\S+: the disk is full.*; next try at 20/);
    const left = await bed.node.run('ls -A /usr/local/bin; df --output=used /usr/local/bin');
    assert.match(left, /^ *Used\n *0$/);
  });

  test('gets the pinned one by itself once there is room, executable and whole, and is Ready', async () => {
    await bed.node.run('mount -o remount,size=1m /usr/local/bin');
    await bed.authorise();
    await bed.waitForReady();
    assert.equal(await installed(), first);
    assert.equal(await bed.node.run(['stat', '-c', '%a %U', binary]), '755 root');
    await waitForReason(bed, 'K3sUpToDate', 'InPlace', 10_000);
    assert.equal(await bed.node.run('ls -A /usr/local/bin'), 'k3s');
    const journal = await bed.node.journal({ unit: 'mooring.service' });
    assert.match(journal, /download k3s v1\.36\.3\+k3s1/);
    assert.match(journal, /\/usr\/local\/bin\/k3s is the one of v1\.36\.3\+k3s1 now/);
    assert.deepEqual(await starts(), { [`${agent} start`]: 1 });
  });

  test('has the images where k3s looks for them, since before it started', async () => {
    assert.equal(await bed.node.run(['cat', tarball]), images.toString());
    assert.equal(await bed.node.run(['stat', '-c', '%U', tarball]), 'root');
    assert.equal(await bed.node.run(`ls -A ${dirname(tarball)}`), basename(tarball));
    const placed = Number(await bed.node.run(['stat', '-c', '%Z', tarball]));
    const started = await bed.node.run([
      'systemctl',
      'show',
      agent,
      '-P',
      'ExecMainStartTimestamp',
      '--timestamp=unix',
    ]);
    assert.ok(placed <= Number(started.slice(1)), `${placed} is after ${started}`);
  });

  test('keeps what it has where the next one has another hash than the config says', async () => {
    const before = await runs();
    await editConfig(bed, (text) => text.replace(/^ *install:.*$/m, pin('v1.36.4+k3s1', 'f'.repeat(64))));
    await reload(bed);
    const message = await waitForReason(bed, 'K3sUpToDate', 'WrongHash', 20_000);
    assert.match(message, new RegExp(`${second}.*wanted is f{64}.*nothing was replaced.*next try at 20`));
    assert.equal(await installed(), first);
    assert.deepEqual(await runs(), before);
    await bed.waitForCondition('Ready', 'true', 5_000);
  });

  test('takes the next one where the hash is right, and restarts k3s once', async () => {
    const [former, ingress] = await runs();
    await editConfig(bed, (text) => text.replace(/^ *install:.*$/m, pin('v1.36.4+k3s1', second)));
    await reload(bed);
    await waitForReason(bed, 'K3sUpToDate', 'InPlace', 20_000);
    assert.equal(await installed(), second);
    await waitFor('k3s to be restarted', async () => (await runs())[0] !== former, {
      timeoutMs: 20_000,
      context: () => bed.report(),
    });
    await bed.waitForReady(30_000);
    assert.deepEqual(await starts(), { [`${agent} start`]: 1, [`${agent} binary`]: 1 });
    assert.equal((await runs())[1], ingress);
    assert.equal(await bed.node.run('ls -A /usr/local/bin'), 'k3s');
  });

  test('knows after a restart of mooring that it is in place, and downloads nothing', async () => {
    const before = await runs();
    await bed.node.run(['systemctl', 'restart', 'mooring.service']);
    await waitForReason(bed, 'K3sUpToDate', 'InPlace', 20_000);
    await bed.waitForReady(20_000);
    const run = await bed.node.unitProperty('mooring.service', 'InvocationID');
    const journal = await bed.node.run(['journalctl', '--no-pager', `_SYSTEMD_INVOCATION_ID=${run}`]);
    assert.match(journal, /mooring \S+ starts$/m);
    assert.doesNotMatch(journal, /download/);
    assert.deepEqual(await runs(), before);
  });

  const encrypted = '/etc/credstore.encrypted/k3s-token';
  const encrypt = 'systemd-creds encrypt --with-key=host --name=k3s-token';
  const ways: Readonly<Record<string, { readonly token: string; readonly make: string }>> = {
    'LoadCredential= and a new file': {
      token: 'K10aa::node:rotated-1',
      make: 'echo "$TOKEN" >/etc/mooring/k3s-token',
    },
    'LoadCredentialEncrypted=': {
      token: 'K10aa::node:rotated-2',
      make: `mkdir -p /etc/credstore.encrypted && echo "$TOKEN" | ${encrypt} - ${encrypted} && printf '[Service]\\nLoadCredentialEncrypted=k3s-token:${encrypted}\\n' >${dropIn}`,
    },
    'SetCredentialEncrypted=': {
      token: 'K10aa::node:rotated-3',
      make: `{ echo '[Service]'; echo "$TOKEN" | ${encrypt} --pretty - -; } >${dropIn}`,
    },
    'ImportCredential=': {
      token: 'K10aa::node:rotated-4',
      make: `echo "$TOKEN" | ${encrypt} - ${encrypted} && printf '[Service]\\nImportCredential=k3s-token\\n' >${dropIn}`,
    },
  };
  for (const [way, { token, make }] of Object.entries(ways)) {
    test(`takes another token by ${way} at a restart of mooring, which restarts nothing else`, async () => {
      const before = await runs();
      const former = await copy();
      await bed.node.run(['sh', '-c', `set -e; read -r TOKEN; ${make}; systemctl daemon-reload`], {
        input: `${token}\n`,
      });
      assert.equal(await copy(), former);
      await bed.node.run(['systemctl', 'restart', 'mooring.service']);
      await waitFor('the new copy', async () => (await copy()) === token, {
        timeoutMs: 20_000,
        context: () => bed.report(),
      });
      assert.equal(await bed.node.run(['stat', '-c', '%a %U', '/run/mooring/k3s-token']), '600 root');
      assert.deepEqual(await runs(), before);
    });
  }

  test('says so where the credential does not come', async () => {
    await bed.node.run(`rm ${encrypted} && systemctl restart mooring.service`);
    await waitFor('mooring to be back', async () => (await bed.status()) !== undefined, {
      timeoutMs: 20_000,
    });
    const { stdout } = await bed.node.tryRun(['mooring', 'status']);
    assert.match(stdout, /K3sRunning {9}Running/);
    assert.equal(await copy(), ways['ImportCredential=']?.token);
  });

  test('is warned of a secret that others can read', async () => {
    await bed.node.run(`printf '[Service]\\nLoadCredential=k3s-token:/etc/mooring/k3s-token\\n' >${dropIn}`);
    await editConfig(bed, (text) =>
      text.replace('{credential: k3s-token}', '{file: /etc/mooring/k3s-token}'),
    );
    await bed.node.run('chmod 644 /etc/mooring/k3s-token && systemctl daemon-reload');
    await reload(bed);
    const message = await waitForReason(bed, 'SecretsProtected', 'Exposed', 20_000);
    assert.match(message, /chmod 600 \/etc\/mooring\/k3s-token/);
    const checked = await bed.node.tryRun(['mooring', 'check']);
    assert.equal(checked.exitCode, 0);
    assert.match(checked.stderr, /^warning: .*k3s-token/m);
  });
});
