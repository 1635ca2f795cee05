/** The models' units and the packaged ones on the oldest systemd that mooring runs on: 252, of Debian bookworm. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { packagedFiles, packagedUnits, runnable, wrongUnit } from './packaged-units.ts';
import { RealNode } from './real-node.ts';
import { enableUnits, unitFiles } from './systemd-units.ts';
import { unitTests } from './units-on.ts';

describe('on a node of systemd 252', () => {
  let node: RealNode;
  before(async () => {
    node = await RealNode.boot([...packagedFiles, ...unitFiles], 'bookworm');
    await node.run(enableUnits);
  });
  after(() => node?.end());

  /** What is said of each unit: by `verify`, and by PID 1 in the journal since it loaded them. */
  async function complaints(units: readonly string[]): Promise<readonly string[]> {
    const verified = await node.run(
      `systemd-analyze verify --man=no --recursive-errors=no ${units.join(' ')} 2>&1 || true`,
    );
    await node.run(`systemctl show -p LoadState ${units.join(' ')} && journalctl --sync`);
    const journal = await node.run('journalctl -b -o cat _PID=1');
    return `${verified}\n${journal}`
      .split('\n')
      .filter((line) => units.some((unit) => line.includes(`/${unit}:`) || line.startsWith(`${unit}: `)))
      .filter((line) => /:\d+: |ignoring|[Uu]nknown|not supported|bad/.test(line));
  }

  test('a key that it does not know is noticed', async () => {
    const said = await complaints([wrongUnit]);
    assert.ok(said.length >= 2, said.join('\n'));
    for (const line of said) assert.match(line, /ProtectSytem/);
  });

  test('the packaged units are understood whole', async () => {
    assert.deepEqual(await complaints([...packagedUnits, 'nginx.service.d/50-mooring.conf']), []);
    const states = await node.run(
      `systemctl show -p LoadState --value ${packagedUnits.join(' ')} nginx.service`,
    );
    assert.deepEqual([...new Set(states.split('\n').filter((line) => line !== ''))], ['loaded']);
  });

  test('the packaged units run, as confined as they are', async () => {
    for (const unit of runnable) {
      await node.run(
        `timeout 15 systemctl start ${unit} || { journalctl -n 20 --no-pager -u ${unit}; exit 1; }`,
      );
      assert.equal(await node.run(`systemctl show -P Result ${unit}`), 'success', unit);
    }
    assert.equal(await node.run('systemctl is-active mooring.service'), 'active');
    await node.run('systemctl stop mooring-wait.service mooring-zerotier-token.path mooring.service');
  });

  unitTests(252, () => node);
});
