import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { check } from '#src/cli/check.ts';

const good = `zerotier: {networks: [{id: 8056c2e21c000001}]}
k3s: {server: "https://k3s.home.example:6443", token: {credential: k3s-token}}
ingress: [{name: http, listen: 80, upstreams: ["127.0.0.1:31693"]}]
`;

describe('mooring check', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mooring-check-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function run() {
    const out: string[] = [];
    const err: string[] = [];
    const code = await check({
      configFile: join(folder, 'config.yaml'),
      flags: {},
      print: (line) => out.push(line),
      complain: (line) => err.push(line),
    });
    return { code, out: out.join('\n'), err: err.join('\n') };
  }

  test('warns of a secret that others can read, and takes the config all the same', async () => {
    const token = join(folder, 'token');
    const file = good.replace('{credential: k3s-token}', `{file: ${token}}`);
    writeFileSync(join(folder, 'config.yaml'), file);
    chmodSync(folder, 0o755);
    writeFileSync(token, 'never-told', { mode: 0o640 });
    const { code, out, err } = await run();
    assert.equal(code, 0);
    assert.equal(
      err,
      `warning: others than its owner can read the secret in ${token} (mode 640): chmod 600 it`,
    );
    assert.doesNotMatch(out + err, /never-told/);
    chmodSync(token, 0o600);
    assert.equal((await run()).err, '');
  });

  test('says that a config is fine, and what it says', async () => {
    writeFileSync(join(folder, 'config.yaml'), good);
    mkdirSync(join(folder, 'config.d'));
    writeFileSync(join(folder, 'config.d/a.yaml'), 'health: {port: 9811}');
    const { code, out, err } = await run();
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /^config is fine: .*config\.yaml and 1 drop-in\n/);
    assert.match(out, /http: tcp 80 -> 127\.0\.0\.1:31693/);
    assert.match(out, /the credential k3s-token/);
    assert.match(out, /port 9811/);
  });

  test('tells every problem with its file and line, and returns 78', async () => {
    writeFileSync(join(folder, 'config.yaml'), good);
    mkdirSync(join(folder, 'config.d'));
    writeFileSync(join(folder, 'config.d/a.yaml'), 'health:\n  prot: 9811\nnode: 1\n');
    const { code, out, err } = await run();
    assert.deepEqual([code, out], [78, '']);
    assert.match(
      err,
      /config\.d\/a\.yaml:2:3: health\.prot: found the unknown key prot\n.*\n {2}do: did you mean port\?/,
    );
    assert.match(err, /config\.d\/a\.yaml:3:7: node: /);
    assert.match(err, /2 problems; mooring would not take this config$/);
  });

  test('says that there is no config, without a stack', async () => {
    const { code, err } = await run();
    assert.equal(code, 78);
    assert.match(err, /there is no .*config\.yaml/);
    assert.doesNotMatch(err, /\n\s+at /);
  });
});
