/**
 * The k3s agent behind its unit: it takes over interface, address, config and binary when it starts and never looks again,
 * is ready once its server answers through the link, and makes flannel's device then.
 */
import type { Random } from '../../support/random.ts';
import { device } from '../../support/world.ts';
import type { VirtualClock } from '../clock.ts';
import type { K3sFilesModel } from './files.ts';
import type { FlannelModel } from './flannel.ts';
import type { KernelModel } from './kernel.ts';
import { UnitModel, type UnitSettings } from './units.ts';

/** As packaged. */
export const k3sSettings: UnitSettings = {
  restartSecMs: 5_000,
  limit: 3,
  limitPeriodMs: 600_000,
  isForgotten: true,
};

/** What it took over at its start. */
export interface Binding {
  readonly ifindex: number;
  readonly address: string;
  readonly config: string;
  readonly binary: string;
}

/** What it stands on. */
export interface AgentSurroundings {
  readonly kernel: KernelModel;
  readonly files: K3sFilesModel;
  readonly flannel: FlannelModel;
  /** Whether the server answers through the link. */
  readonly isServerThere: () => boolean;
  readonly changed: () => void;
  /** Without ExecCondition=, to see what that is good for. */
  readonly isUnconditional?: boolean | undefined;
  /** It begins; undefined where it does so without its address. */
  readonly begun: (binding: Binding | undefined) => void;
}

export class K3sAgentModel {
  /** `k3s-node.service`. */
  readonly unit: UnitModel;
  bound: Binding | undefined;
  private readonly around: AgentSurroundings;

  constructor(clock: VirtualClock, random: Random, around: AgentSurroundings) {
    this.around = around;
    this.unit = new UnitModel(clock, random, {
      ...k3sSettings,
      execCondition: () => around.isUnconditional === true || this.addressIsThere(),
      begun: () => this.begin(),
      isReady: () => {
        const isReady = around.isServerThere() && this.isBoundToTheLinkOfNow();
        if (isReady && this.bound !== undefined)
          around.flannel.create(this.bound.ifindex, this.bound.address);
        return isReady;
      },
      askMs: 2_000,
      stopMs: [50, 1_500],
    });
    this.unit.changed = around.changed;
  }

  /** Whether what it took over of the link is so still. */
  isBoundToTheLinkOfNow(): boolean {
    const link = this.around.kernel.links.get(device);
    return (
      link?.ifindex === this.bound?.ifindex && link?.addresses.includes(`${this.bound?.address}/24`) === true
    );
  }

  /** ExecCondition=: the address in its config is on the device, whether that is up or not. */
  private addressIsThere(): boolean {
    const address = this.configuredAddress();
    return this.around.kernel.links.get(device)?.addresses.includes(`${address}/24`) === true;
  }

  private configuredAddress(): string | undefined {
    const { config } = this.around.files;
    if (config.kind !== 'present') return undefined;
    return /10\.45\.0\.\d+(?=")/.exec(config.text.slice(config.text.indexOf('node-ip')))?.[0];
  }

  private begin(): void {
    const { kernel, files, begun } = this.around;
    const link = kernel.links.get(device);
    const address = this.configuredAddress();
    if (
      !this.addressIsThere() ||
      link === undefined ||
      address === undefined ||
      files.config.kind !== 'present'
    ) {
      begun(undefined);
      return;
    }
    const { ifindex } = link;
    this.bound = { ifindex, address, config: files.config.text, binary: files.binary };
    begun(this.bound);
  }
}
