/** The systemd scripts on a booted node, whatever its systemd; and what the packaged units' limits are there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ingressUnit, k3sUnit } from '../../src/agent/world.ts';
import { k3sSettings } from '../simulation/models/k3s-agent.ts';
import { ingressSettings } from '../simulation/models/nginx.ts';
import { ModelNode } from './model-node.ts';
import { playOn } from './play.ts';
import type { RealNode } from './real-node.ts';
import { hurriedScript, ingressScript, k3sScript, startCutsWaitShort, unitParts } from './systemd-script.ts';
import { hurriedUnit, type Knobs, programsFor, untouched } from './systemd-units.ts';

/** Declares the tests; `node` is booted with this systemd and with {@link unitFiles} by the time they run. */
export function unitTests(systemd: 252 | 257, node: () => RealNode): void {
  test(`it is systemd ${systemd}`, async () => {
    assert.match(await node().run('systemctl --version'), new RegExp(`^systemd ${systemd} `));
  });

  for (const { unit, script } of [
    { unit: k3sUnit, script: k3sScript },
    { unit: hurriedUnit, script: hurriedScript },
    { unit: ingressUnit, script: ingressScript },
  ])
    test(`systemd: the life of ${unit}`, () => {
      const knobs: Knobs = { refuses: false, joins: false, lingers: false, configured: false };
      const model = new ModelNode(programsFor(knobs));
      return playOn(node(), script(knobs), { devices: [], units: [unit] }, unitParts, model);
    });

  for (const { unit, settings } of [
    { unit: k3sUnit, settings: k3sSettings },
    { unit: ingressUnit, settings: ingressSettings },
  ] as const)
    test(`systemd: the limits of ${unit} are those of its model`, async () => {
      const asked = ['RestartUSec', 'StartLimitBurst', 'StartLimitIntervalUSec'];
      const told = await node().run(
        `systemctl show --timestamp=us+utc ${untouched[unit]} ${asked.map((property) => `-p ${property}`).join(' ')}`,
      );
      const { restartSecMs, limit, limitPeriodMs } = settings;
      assert.deepEqual(told.split('\n').sort(), [
        `RestartUSec=${restartSecMs / 1_000}s`,
        `StartLimitBurst=${limit}`,
        `StartLimitIntervalUSec=${limitPeriodMs / 60_000}min`,
      ]);
    });

  const cuts = startCutsWaitShort[systemd];
  test(`systemd: a start ${cuts ? 'cuts the wait for RestartSec= short' : 'waits for RestartSec= as well'}`, async () => {
    // Its RestartSec= is the packaged one, long enough for a busy machine to ask within.
    const told = await node().run(
      `touch /run/play/joins; systemctl reset-failed ${hurriedUnit}; systemctl start ${hurriedUnit} || exit 1
      pid=$(systemctl show -P MainPID ${hurriedUnit}); touch /run/play/exit-code
      timeout 5 sh -c "while test -e /proc/$pid; do sleep 0.01; done"; rm /run/play/exit-code
      systemctl show -P SubState -P ExecMainExitTimestampMonotonic ${hurriedUnit}
      timeout 20 systemctl start ${hurriedUnit}
      systemctl show -P ActiveState -P ExecMainStartTimestampMonotonic ${hurriedUnit}
      systemctl stop ${hurriedUnit}`,
    );
    const words = told.split('\n');
    const [endedUs = Number.NaN, startedUs = Number.NaN] = words
      .filter((word) => /^\d+$/.test(word))
      .map(Number);
    assert.deepEqual(
      words.filter((word) => !/^\d+$/.test(word)),
      ['auto-restart', 'active'],
    );
    assert.equal(startedUs - endedUs < 1_000 * k3sSettings.restartSecMs, cuts, told);
  });
}
