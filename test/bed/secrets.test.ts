/**
 * The secrets of a moored node, the k3s token and ZeroTier's API token, are where they belong and nowhere else: looked
 * for in processes, the journal, everything mooring tells, and all files that others may read; also while the config is
 * wrong in the token's place and while the server refuses the token. The search first has to find planted ones.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { editConfig, reload, reloadRefused, waitForReason } from './ask.ts';
import { Bed } from './bed.ts';
import { waitFor } from './process.ts';

/** Where a secret was found, and no secret itself. */
type Traces = readonly string[];

/**
 * Runs inside the node, as root. Reads the secrets from standard input, one a line, and prints where it found one: argv
 * and environment of every process, the whole journal, mooring's status, metrics and page, its memory, every file under
 * /run, /var and /etc that others than its owner may read, and mooring's own files whoever may read them.
 */
const searcher = `
import json, os, stat, subprocess, sys

def reachable(folder):
    # An open file behind a closed door is not open.
    while folder != '/':
        if not os.stat(folder).st_mode & 0o011: return False
        folder = os.path.dirname(folder)
    return True

secrets = [line.strip().encode() for line in sys.stdin if line.strip()]
me = {os.getpid(), os.getppid()}
found = set()

def look(place, data):
    if any(secret in data for secret in secrets):
        found.add(place)

def read(path):
    try:
        with open(path, 'rb') as file: return file.read()
    except OSError: return b''

for pid in filter(str.isdigit, os.listdir('/proc')):
    if int(pid) in me: continue
    for name in ('cmdline', 'environ'): look('%s of a process' % name, read('/proc/%s/%s' % (pid, name)))
look('the journal', subprocess.run(['journalctl', '--no-pager', '-a', '-o', 'json'], capture_output=True).stdout)
for unit in ('mooring', 'k3s-node', 'mooring-ingress'):
    look('systemctl show', subprocess.run(['systemctl', 'show', unit], capture_output=True).stdout)
pages = ['status', 'metrics', '']
for page in pages:
    answer = subprocess.run(['curl', '-sS', '--max-time', '5', 'http://127.0.0.1:9810/' + page], capture_output=True)
    look('/' + page, answer.stdout)
for verb in (['status'], ['status', '--json'], ['plan'], ['check'], ['version']):
    said = subprocess.run(['mooring', *verb], capture_output=True)
    look('mooring ' + verb[0], said.stdout + said.stderr)
own = ('/run/mooring/', '/var/lib/mooring/', '/etc/rancher/', '/var/cache/mooring/')
for top in ('/run', '/var', '/etc', '/tmp'):
    for folder, folders, names in os.walk(top):
        if folder.startswith(('/run/log/journal', '/var/log/journal')): continue
        for name in names:
            path = os.path.join(folder, name)
            try: info = os.lstat(path)
            except OSError: continue
            if not stat.S_ISREG(info.st_mode): continue
            if path == '/run/mooring/k3s-token': continue
            if info.st_mode & 0o044 and reachable(folder) or path.startswith(own): look(path, read(path))
print(json.dumps(sorted(found)))
`;

describe('the secrets of a node', () => {
  let bed: Bed;
  /** The whole k3s token, its password alone, ZeroTier's API token, and that of the controller. */
  let secrets: string[];
  let good: string;

  before(async () => {
    bed = await Bed.start({ authorizesItself: true });
    await bed.waitForReady();
    await bed.node.waitForCloudInit();
    const token = bed.values.k3sToken;
    const api = await bed.node.run(['cat', '/var/lib/zerotier-one/authtoken.secret']);
    const { token: controller } = bed.home.zerotier.controllerApi;
    secrets = [token, token.slice(token.lastIndexOf(':') + 1), api.trim(), controller];
    for (const secret of secrets) assert.match(secret, /^\S{16,}$/);
    good = await bed.node.run(['cat', '/etc/mooring/config.yaml']);
  });
  after(async () => {
    await bed?.stop();
  });

  async function traces(more: readonly string[] = []): Promise<Traces> {
    await bed.node.writeFile('/root/search.py', searcher);
    const input = [...secrets, ...more].join('\n');
    const found: unknown = JSON.parse(
      await bed.node.run(['python3', '/root/search.py'], { input, timeoutMs: 60_000 }),
    );
    assert.ok(Array.isArray(found));
    return found.map(String);
  }

  test('are found by the search wherever somebody planted one', async () => {
    const planted = 'planted-1f0e9d8c7b6a5948';
    const script = [
      `systemd-run --unit=in-argv --service-type=exec sh -c 'sleep 600; : ${planted}'`,
      `systemd-run --unit=in-environment --service-type=exec -E LEAK=${planted} sleep 600`,
      `echo ${planted} | systemd-cat`,
      `echo ${planted} > /var/leak && chmod 644 /var/leak`,
      `echo ${planted} > /var/lib/mooring/leak && chmod 600 /var/lib/mooring/leak`,
      `install -d -m 700 /var/closed && echo ${planted} > /var/closed/file && chmod 644 /var/closed/file`,
    ].join('\n');
    await bed.node.run(script);
    await bed.node.run(['journalctl', '--sync']);
    const found = (await traces([planted])).filter((place) => !/^\/run\/systemd\/transient/.test(place));
    assert.deepEqual(found, [
      '/var/leak',
      '/var/lib/mooring/leak',
      'cmdline of a process',
      'environ of a process',
      'the journal',
    ]);
    await bed.node.run(
      'systemctl stop in-argv in-environment; rm -r /var/leak /var/closed /var/lib/mooring/leak',
    );
  });

  test('would be found in everything that mooring tells', async () => {
    const told = new Set(await traces(['IngressRunning', 'ServerReachable', 'k3s.home.example']));
    for (const place of ['/status', '/metrics', '/', 'mooring status', 'mooring plan', 'mooring check']) {
      assert.ok(told.has(place), place);
    }
    assert.ok(told.has('/run/mooring/memory.json'));
    assert.ok(told.has('/var/lib/mooring/last-good.json'));
  });

  test('are nowhere but in their files while the node is moored', async () => {
    assert.deepEqual(await traces(), []);
    const modes = await bed.node.run(
      'cd /run/mooring && stat -c "%n %a %U" k3s-token memory.json /var/lib/mooring/last-good.json /etc/rancher/k3s/config.yaml.d/50-mooring.yaml',
    );
    assert.deepEqual(modes.split('\n'), [
      'k3s-token 600 root',
      'memory.json 600 root',
      '/var/lib/mooring/last-good.json 600 root',
      '/etc/rancher/k3s/config.yaml.d/50-mooring.yaml 600 root',
    ]);
    assert.equal(await bed.node.run(['cat', '/run/mooring/k3s-token']), bed.values.k3sToken);
  });

  test('are not told again where a person wrote one into the config', async () => {
    const token = bed.values.k3sToken;
    const password = token.slice(token.lastIndexOf(':') + 1);
    const api = secrets.at(-1) ?? '';
    const ref = '{file: /etc/mooring/k3s-token}';
    const mistakes: Readonly<Record<string, string>> = {
      'instead of where it is': good.replace(ref, token),
      'in quotes': good.replace(ref, `"${token}"`),
      'as the file': good.replace(ref, `{file: ${token}}`),
      'as the credential': good.replace(ref, `{credential: "${token}"}`),
      'under a key of its own': good.replace(ref, `{value: ${token}}`),
      'as the password alone': good.replace(ref, password),
      'in the pass-through options': good.replace(ref, `${ref}\n  config: {token: ${token}}`),
      'in a pass-through option of another name': good.replace(
        ref,
        `${ref}\n  config: {agent-token: ${password}}`,
      ),
      'in the URL': good.replace('https://k3s', `https://node:${password}@k3s`),
      'for ZeroTier': good.replace(
        'zerotier:',
        `zerotier:\n  authorize: {controller: central, token: ${api}}`,
      ),
      'in broken YAML': good.replace(ref, `{file: "${token}`),
    };
    for (const [name, text] of Object.entries(mistakes)) {
      assert.notEqual(text, good, name);
      await bed.node.writeFile('/etc/mooring/config.yaml', text, 0o600);
      assert.equal((await bed.node.tryRun(['mooring', 'check'])).exitCode, 78, name);
      await reloadRefused(bed);
      await waitForReason(bed, 'ConfigAccepted', 'Refused', 10_000);
      assert.deepEqual(await traces(), [], name);
    }
    await bed.node.writeFile('/etc/mooring/config.yaml', good);
    await reload(bed);
    await bed.waitForCondition('ConfigAccepted', 'true', 10_000);
  });

  test('are not told again where the server refuses the token', async () => {
    const other = bed.values.k3sToken.replace(/.{12}$/, 'c0ffee5ec2e7');
    assert.notEqual(other, bed.values.k3sToken);
    secrets.push(other, other.slice(other.lastIndexOf(':') + 1));
    await bed.node.writeFile('/etc/mooring/k3s-token', `${other}\n`, 0o600);
    await waitFor('the copy', async () => (await bed.node.run(['cat', '/run/mooring/k3s-token'])) === other, {
      timeoutMs: 40_000,
    });
    await bed.node.run(['systemctl', '--no-block', 'restart', 'k3s-node.service']);
    await waitFor(
      'the server to refuse it',
      async () =>
        /401|Unauthorized|not authorized/i.test(
          await bed.node.journal({ unit: 'k3s-node.service', lines: 20 }),
        ),
      { timeoutMs: 30_000, context: () => bed.report() },
    );
    await bed.waitForCondition('K3sRunning', 'false', 10_000);
    assert.deepEqual(await traces(), []);
  });

  test('are not told again where the token file holds more than a token', async () => {
    await bed.node.writeFile('/etc/mooring/k3s-token', `${bed.values.k3sToken}\nsecond line\n`, 0o600);
    await bed.node.run(['systemctl', 'restart', 'mooring.service']);
    const message = await waitForReason(bed, 'K3sRunning', 'TokenMissing', 20_000);
    assert.match(message, /more than one line/);
    assert.deepEqual(await traces(), []);
    await editConfig(bed, (text) => text.replace('/etc/mooring/k3s-token', '/etc/mooring/no-such-file'));
    await reload(bed);
    assert.deepEqual(await traces(), []);
  });
});
