/** The units as this machine's systemd reads them: no unknown key, no wrong value, and as confined as they are meant to be. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

const systemd = join(import.meta.dirname, '../../../packaging/systemd');
const units = readdirSync(systemd).filter((name) => /\.(service|path|target)$/.test(name));
let folder = '';

/** `systemd-analyze` on the copies; standard output and error together. */
function analyze(args: readonly string[]) {
  const { status, stdout, stderr, error } = spawnSync('systemd-analyze', args, {
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` },
  });
  assert.equal(error, undefined);
  return { status, said: `${stdout}${stderr}` };
}

describe('the units', () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'units-'));
    mkdirSync(folder, { recursive: true });
    for (const unit of units) {
      // Programs of the node that this machine need not have: whether they exist is the installation's question.
      const text = readFileSync(join(systemd, unit), 'utf8').replace(
        /^(Exec\w+=-?)\/(usr\/(lib\/mooring|bin|sbin)|sbin)\/\S+/gm,
        '$1/bin/true',
      );
      writeFileSync(join(folder, unit), text);
    }
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const unit of units) {
    test(`${unit} is understood whole`, () => {
      const { said } = analyze(['verify', '--man=no', '--recursive-errors=no', join(folder, unit)]);
      const own = said.split('\n').filter((line) => line.includes(folder) || line.startsWith(unit));
      assert.deepEqual(own, []);
    });
  }

  test('verify notices a wrong key, so that its silence means something', () => {
    const wrong = join(folder, 'wrong.service');
    cpSync(join(folder, 'mooring.service'), wrong);
    writeFileSync(wrong, '[Service]\nExecStart=/bin/true\nProtectSytem=strict\n');
    const { said } = analyze(['verify', '--man=no', '--recursive-errors=no', wrong]);
    assert.match(said, /ProtectSytem/);
  });

  // In tenths, as `--threshold` wants them. k3s-node.service is not here: the agent runs containers and needs everything.
  const exposure: Readonly<Record<string, number>> = {
    'mooring.service': 25,
    'mooring-ingress.service': 30,
    'mooring-ingress-check.service': 30,
    'mooring-ingress-renew.service': 20,
    'mooring-ingress-limits.service': 20,
    'mooring-wait.service': 25,
    'mooring-zerotier-preseed.service': 25,
    'mooring-zerotier-token.service': 20,
  };
  for (const unit of units.filter((name) => name.endsWith('.service') && name !== 'k3s-node.service')) {
    test(`${unit} is confined`, () => {
      const limit = exposure[unit];
      assert.ok(limit !== undefined, `${unit} has no limit here`);
      const { status, said } = analyze([
        'security',
        '--offline=true',
        '--no-pager',
        `--threshold=${limit}`,
        join(folder, unit),
      ]);
      assert.equal(status, 0, said);
    });
  }

  test('mooring.service has no capability, and never forbids V8 to compile', () => {
    const text = readFileSync(join(systemd, 'mooring.service'), 'utf8');
    assert.match(text, /^CapabilityBoundingSet=$/m);
    assert.doesNotMatch(text, /^MemoryDenyWriteExecute=yes/m);
  });

  test('nothing that stops with mooring.service takes k3s or the ingress with it', () => {
    for (const unit of ['k3s-node.service', 'mooring-ingress.service', 'mooring-wait.service']) {
      const text = readFileSync(join(systemd, unit), 'utf8');
      assert.doesNotMatch(text, /^(Requires|BindsTo|PartOf|Requisite)=.*mooring\.service/m, unit);
    }
  });
});
