/** The models of one node, without mooring and without chance: what takes a random time takes the shortest. */

import { resolvedUnit } from '../../src/agent/world.ts';
import { VirtualClock } from '../simulation/clock.ts';
import { BusModel } from '../simulation/models/bus.ts';
import { FlannelModel } from '../simulation/models/flannel.ts';
import { KernelModel, type SimLink } from '../simulation/models/kernel.ts';
import { ResolvedModel } from '../simulation/models/resolved.ts';
import { SystemdModel } from '../simulation/models/systemd.ts';
import { type Program, UnitModel } from '../simulation/models/units.ts';
import type { Random } from '../support/random.ts';
import { device } from '../support/world.ts';
import { type Scope, type Side, sideOf } from './side.ts';

/** Pod networks of the other nodes. */
export const remotePods: readonly string[] = ['10.42.0.0/24', '10.42.2.0/24'];

/** Every draw gives the lowest. */
export const noChance: Random = {
  next: () => 0,
  between: (low) => low,
  pick: ([first]) => first,
  chance: (probability) => probability > 0,
};

/** Models in place of the usual ones, such as one that is wrong on purpose. */
export interface ModelParts {
  readonly kernel?: KernelModel;
  readonly resolved?: (bus: BusModel, kernel: KernelModel) => ResolvedModel;
}

export class ModelNode {
  readonly clock = new VirtualClock();
  readonly kernel: KernelModel;
  readonly flannel: FlannelModel;
  readonly bus = new BusModel();
  readonly resolved: ResolvedModel;
  readonly units: Readonly<Record<string, UnitModel>>;
  readonly systemd: SystemdModel;

  constructor(programs: Readonly<Record<string, Program>> = {}, parts: ModelParts = {}) {
    this.kernel = parts.kernel ?? new KernelModel();
    this.flannel = new FlannelModel(this.kernel, () => remotePods);
    this.resolved = parts.resolved?.(this.bus, this.kernel) ?? new ResolvedModel(this.bus, this.kernel);
    this.units = Object.fromEntries(
      Object.entries(programs).map(([name, program]) => [name, new UnitModel(this.clock, noChance, program)]),
    );
    this.systemd = new SystemdModel(this.bus, { ...this.units, [resolvedUnit]: this.resolved.unit });
  }

  side(scope: Scope): Side {
    const { kernel, flannel, resolved, systemd } = this;
    return sideOf({ netlink: kernel, flannel, resolved, systemd }, scope);
  }

  /** The device that everything is about. */
  get link(): SimLink {
    return this.linkOf(device);
  }

  linkOf(name: string): SimLink {
    const link = this.kernel.links.get(name);
    if (link === undefined) throw new Error(`the model has no ${name}`);
    return link;
  }

  /** A change of the device, whoever makes it. */
  alter(change: (link: SimLink) => void): void {
    this.kernel.alter(this.link, change);
  }

  unit(name: string): UnitModel {
    const unit = this.units[name];
    if (unit === undefined) throw new Error(`the model has no ${name}`);
    return unit;
  }
}
