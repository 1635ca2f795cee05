/** The models of kernel, resolved and systemd, held to a booted node: one script for both, compared after each step. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ingressUnit, k3sUnit } from '../../src/agent/world.ts';
import { k3sSettings } from '../simulation/models/k3s-agent.ts';
import { ingressSettings } from '../simulation/models/nginx.ts';
import { device } from '../support/world.ts';
import { kernelParts, kernelScript } from './kernel-script.ts';
import { ModelNode } from './model-node.ts';
import type { Part } from './normal.ts';
import { RealNode } from './real-node.ts';
import { busScript, dnsParts, owned, ownedScript, resolvedScript } from './resolved-script.ts';
import { follow, type Step } from './script.ts';
import type { Scope } from './side.ts';
import { hurriedScript, ingressScript, k3sScript, unitParts } from './systemd-script.ts';
import { enableUnits, hurriedUnit, type Knobs, programsFor, unitFiles, untouched } from './systemd-units.ts';

describe('the simulation is like a real node:', () => {
  let node: RealNode;
  before(async () => {
    node = await RealNode.boot(unitFiles);
    await node.run(enableUnits);
  });
  after(() => node?.end());

  async function play(
    script: readonly Step<ModelNode, RealNode>[],
    scope: Scope,
    parts: readonly Part[],
    model: ModelNode,
  ): Promise<void> {
    const realSide = node.observe(scope);
    const modelSide = model.side(scope);
    try {
      await follow(script, { clock: model.clock, model, modelSide, real: node, realSide, parts });
    } finally {
      realSide.close();
    }
  }

  const onDevice: Scope = { devices: [device], units: [] };

  // They touch different things; what they have in common, the bus, comes last.
  describe('both at once:', { concurrency: true }, () => {
    describe('links:', { concurrency: 1 }, () => {
      test('the kernel: an interface, and what flannel has on it', () =>
        play(kernelScript, onDevice, kernelParts, new ModelNode()));

      test('resolved: the DNS of a link that nobody else manages', () =>
        play(resolvedScript, onDevice, dnsParts, new ModelNode()));

      test('resolved: the DNS of a link that networkd owns', () =>
        play(ownedScript, { devices: [owned], units: [] }, dnsParts, new ModelNode()));
    });

    describe('units:', { concurrency: 1 }, () => {
      for (const { unit, script } of [
        { unit: k3sUnit, script: k3sScript },
        { unit: hurriedUnit, script: hurriedScript },
        { unit: ingressUnit, script: ingressScript },
      ])
        test(`systemd: the life of ${unit}`, () => {
          const knobs: Knobs = { refuses: false, joins: false, lingers: false, configured: false };
          const model = new ModelNode(programsFor(knobs));
          return play(script(knobs), { devices: [], units: [unit] }, unitParts, model);
        });

      for (const { unit, settings } of [
        { unit: k3sUnit, settings: k3sSettings },
        { unit: ingressUnit, settings: ingressSettings },
      ] as const)
        test(`systemd: the limits of ${unit} are those of its model`, async () => {
          const asked = ['RestartUSec', 'StartLimitBurst', 'StartLimitIntervalUSec'];
          const told = await node.run(
            `systemctl show --timestamp=us+utc ${untouched[unit]} ${asked.map((property) => `-p ${property}`).join(' ')}`,
          );
          const { restartSecMs, limit, limitPeriodMs } = settings;
          assert.deepEqual(told.split('\n').sort(), [
            `RestartUSec=${restartSecMs / 1_000}s`,
            `StartLimitBurst=${limit}`,
            `StartLimitIntervalUSec=${limitPeriodMs / 60_000}min`,
          ]);
        });
    });
  });

  test('resolved: the bus goes away and comes back', () =>
    play(busScript, onDevice, dnsParts, new ModelNode()));
});
