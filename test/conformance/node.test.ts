/** The models of kernel, resolved and systemd, held to a booted node: one script for both, compared after each step. */
import { after, before, describe, test } from 'node:test';
import { device } from '../support/world.ts';
import { kernelParts, kernelScript } from './kernel-script.ts';
import { ModelNode } from './model-node.ts';
import type { Part } from './normal.ts';
import { playOn } from './play.ts';
import { RealNode } from './real-node.ts';
import { busScript, dnsParts, owned, ownedScript, resolvedScript } from './resolved-script.ts';
import type { Step } from './script.ts';
import type { Scope } from './side.ts';
import { enableUnits, unitFiles } from './systemd-units.ts';
import { unitTests } from './units-on.ts';

describe('the simulation is like a real node:', () => {
  let node: RealNode;
  before(async () => {
    node = await RealNode.boot(unitFiles);
    await node.run(enableUnits);
  });
  after(() => node?.end());

  const play = (
    script: readonly Step<ModelNode, RealNode>[],
    scope: Scope,
    parts: readonly Part[],
    model: ModelNode,
  ) => playOn(node, script, scope, parts, model);

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
      unitTests(257, () => node);
    });
  });

  test('resolved: the bus goes away and comes back', () =>
    play(busScript, onDevice, dnsParts, new ModelNode()));
});
