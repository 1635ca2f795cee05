/** nginx behind its unit, and its files: a start or reload that cannot bind serves nothing new. */
import { SystemError } from '../../../src/systems/error.ts';
import type { FileReading } from '../../../src/systems/files/types.ts';
import type { IngressReading, Nginx } from '../../../src/systems/nginx/types.ts';
import type { Random } from '../../support/random.ts';
import { aMachine } from '../../support/world.ts';
import type { VirtualClock } from '../clock.ts';
import type { DiskModel } from './files.ts';
import { UnitModel, type UnitSettings } from './units.ts';

/** As packaged. */
export const ingressSettings: UnitSettings = {
  restartSecMs: 2_000,
  limit: 5,
  limitPeriodMs: 600_000,
  forks: true,
};

export class NginxModel implements Nginx {
  /** `mooring-ingress.service`. */
  readonly unit: UnitModel;
  config: FileReading = { kind: 'absent' };
  /** The program as installed, and as it runs. */
  program = '1';
  runs = '1';
  /** The text that was kept because it was served. */
  kept: string | undefined;
  /** The generation that the workers answer with. */
  served: string | undefined;
  /** Somebody else holds port 443. */
  isPortTaken = false;
  private readonly disk: DiskModel;

  constructor(clock: VirtualClock, random: Random, disk: DiskModel, changed: () => void = () => undefined) {
    this.disk = disk;
    this.unit = new UnitModel(clock, random, {
      ...ingressSettings,
      condition: () => this.config.kind === 'present',
      begun: () => {
        this.served = undefined;
        this.runs = this.program;
        if (!this.canBind()) clock.after(20, () => this.unit.crash());
      },
      isReady: () => {
        if (this.config.kind === 'present') this.served = generationOf(this.config.text);
        return true;
      },
      reloaded: () => {
        if (this.canBind() && this.config.kind === 'present') this.served = generationOf(this.config.text);
      },
      askMs: 100,
      stopMs: [50, 500],
    });
    this.unit.changed = () => {
      if (this.unit.active !== 'active') this.served = undefined;
      changed();
    };
  }

  async read(): Promise<IngressReading> {
    return {
      installed: true,
      program: this.program,
      ipv6: true,
      machine: aMachine,
      config: this.config,
      keptGeneration: this.kept === undefined ? undefined : generationOf(this.kept),
      servingGeneration: this.served,
    };
  }

  async replace(text: string): Promise<void> {
    this.config = this.disk.written(text);
  }

  async renew(): Promise<void> {
    if (this.unit.active === 'active') this.runs = this.program;
  }

  async keep(): Promise<void> {
    if (this.config.kind !== 'present') return;
    this.disk.written('');
    this.kept = this.config.text;
  }

  async restore(): Promise<void> {
    if (this.kept === undefined) throw new SystemError('ingress-nothing-kept', 'nothing is kept');
    this.config = this.disk.written(this.kept);
  }

  private canBind(): boolean {
    return !this.isPortTaken || this.config.kind !== 'present' || !this.config.text.includes('listen 443');
  }
}

/** What workers with this config answer with. */
export function generationOf(text: string): string | undefined {
  return /return ([0-9a-f]{16});/.exec(text)?.[1];
}
