/**
 * The comparison itself can fail: the right models stand in for reality, and each wrong one is caught, at the step that shows what
 * is wrong with it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { k3sUnit } from '../../src/agent/world.ts';
import type { LinksReading } from '../../src/systems/netlink/types.ts';
import type { DnsReading, LinkDns } from '../../src/systems/resolved/types.ts';
import { KernelModel } from '../simulation/models/kernel.ts';
import { ResolvedModel } from '../simulation/models/resolved.ts';
import type { UnitSettings } from '../simulation/models/units.ts';
import { device } from '../support/world.ts';
import { kernelParts, kernelScript } from './kernel-script.ts';
import { ModelNode } from './model-node.ts';
import type { Part } from './normal.ts';
import type { RealNode } from './real-node.ts';
import { dnsParts, resolvedScript } from './resolved-script.ts';
import { follow, type Step } from './script.ts';
import type { Scope, Side } from './side.ts';
import { k3sScript, unitParts } from './systemd-script.ts';
import { type Knobs, programsFor } from './systemd-units.ts';

/** A device that comes back as if it had never been away. */
class SameIfindex extends KernelModel {
  override async read(): Promise<LinksReading> {
    const links = Object.entries(await super.read());
    return Object.fromEntries(links.map(([name, link]) => [name, { ...link, ifindex: 3, parentIfindex: 3 }]));
  }
}

/** Addresses that a device shows even while it is down. */
class AlwaysAddressed extends KernelModel {
  override async read(): Promise<LinksReading> {
    const links = Object.entries(await super.read());
    const addresses = (name: string) => [...(this.links.get(name)?.addresses ?? [])].sort();
    return Object.fromEntries(links.map(([name, link]) => [name, { ...link, addresses: addresses(name) }]));
  }
}

/** Settings that belong to no link in particular. */
class KeptSettings extends ResolvedModel {
  private last: LinkDns | undefined;

  override async read(ifindexes: readonly number[]): Promise<DnsReading> {
    const reading = await super.read(ifindexes);
    if (reading.kind === 'absent' || this.last === undefined) return reading;
    const { last } = this;
    return { ...reading, links: Object.fromEntries(ifindexes.map((ifindex) => [ifindex, last])) };
  }

  override async set(ifindex: number, want: LinkDns): Promise<'resolved' | 'networkd'> {
    const taker = await super.set(ifindex, want);
    this.last = want;
    return taker;
  }

  override async revert(ifindex: number): Promise<void> {
    await super.revert(ifindex);
    this.last = undefined;
  }
}

type NodeStep = Step<ModelNode, RealNode>;

/** `right` in place of reality: what a step does to its model is what happens there. */
function mirrored(script: readonly NodeStep[], right: readonly NodeStep[]): Step<ModelNode, ModelNode>[] {
  return script.map((step, index) => {
    if ('act' in step) return step;
    const twin = right[index];
    if (twin === undefined || 'act' in twin) throw new Error('two different scripts');
    return { ...step, real: async (node) => twin.model(node) };
  });
}

/** Reality's time goes on by itself. */
function living(node: ModelNode, side: Side): Side {
  return {
    ...side,
    look: async () => {
      await node.clock.runUntil(node.clock.nowMs + 500, () => true);
      return side.look();
    },
  };
}

/** Nobody has to be waited for. */
const pace = { boundMs: 200, betweenLooksMs: 1 };

function compare(
  scripts: readonly [readonly NodeStep[], readonly NodeStep[]],
  model: ModelNode,
  real: ModelNode,
  scope: Scope,
  parts: readonly Part[],
): Promise<void> {
  const sides = { modelSide: model.side(scope), realSide: living(real, real.side(scope)) };
  return follow(mirrored(...scripts), { clock: model.clock, model, real, ...sides, parts, pace });
}

const onDevice: Scope = { devices: [device], units: [] };

/** The scripts for kernel and resolved, with this model. */
const kernelWith = (model: ModelNode) =>
  compare([kernelScript, kernelScript], model, new ModelNode(), onDevice, kernelParts);
const resolvedWith = (model: ModelNode) =>
  compare([resolvedScript, resolvedScript], model, new ModelNode(), onDevice, dnsParts);

/** The script for k3s' unit, whose model says something else than the unit file. */
function unitWith(wrong: Partial<UnitSettings>): Promise<void> {
  const sides = [wrong, {}].map((settings) => {
    const knobs: Knobs = { refuses: false, joins: false, lingers: false, configured: false };
    const programs = Object.entries(programsFor(knobs)).map(([name, program]) => [
      name,
      // A getter has to stay one.
      Object.create(program, Object.getOwnPropertyDescriptors(settings)),
    ]);
    return { script: k3sScript(knobs), node: new ModelNode(Object.fromEntries(programs)) };
  });
  const [model, real] = sides;
  if (model === undefined || real === undefined) throw new Error('there are two sides');
  const scope = { devices: [], units: [k3sUnit] };
  return compare([model.script, real.script], model.node, real.node, scope, unitParts);
}

describe('a comparison of model and reality', () => {
  test('holds where both are the same', async () => {
    await kernelWith(new ModelNode());
    await resolvedWith(new ModelNode());
    await unitWith({});
  });

  for (const { wrong, run, step } of [
    {
      wrong: 'keeps the ifindex of an interface that is made anew',
      run: () => kernelWith(new ModelNode({}, { kernel: new SameIfindex() })),
      step: 'the interface is made anew under its name',
    },
    {
      wrong: 'shows the addresses of an interface that is down',
      run: () => kernelWith(new ModelNode({}, { kernel: new AlwaysAddressed() })),
      step: 'it gets 10.45.0.7',
    },
    {
      wrong: 'keeps the DNS of a link that is gone',
      run: () =>
        resolvedWith(new ModelNode({}, { resolved: (bus, kernel) => new KeptSettings(bus, kernel) })),
      step: 'somebody else sets the DNS of the link',
    },
    {
      wrong: 'remembers the last run of a unit that systemd forgets',
      run: () => unitWith({ isForgotten: false }),
      step: 'stop: it is forgotten',
    },
    {
      wrong: 'lets a unit start once more than its limit',
      run: () => unitWith({ limit: 4 }),
      step: 'the limit is reached, and what it ended with is told',
    },
  ])
    test(`notices a model that ${wrong}`, async () => {
      await assert.rejects(run(), (error: Error) => {
        assert.match(error.message, new RegExp(`"${step}" reality`));
        return true;
      });
    });
});
