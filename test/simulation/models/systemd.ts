/** PID 1 over the bus: units by name, driven by the adapter's verbs. */
import { SystemError } from '../../../src/systems/error.ts';
import type { Systemd, UnitReading, UnitsReading } from '../../../src/systems/systemd/types.ts';
import type { BusModel } from './bus.ts';

/** A unit as PID 1 drives it. */
export interface DrivenUnit {
  read(): UnitReading;
  start(): void;
  restart(): void;
  reload(): void;
  stop(): void;
  resetFailed(): void;
}

export class SystemdModel implements Systemd {
  private readonly bus: BusModel;
  private readonly units: Readonly<Record<string, DrivenUnit>>;

  constructor(bus: BusModel, units: Readonly<Record<string, DrivenUnit>>) {
    this.bus = bus;
    this.units = units;
  }

  async read(names: readonly string[]): Promise<UnitsReading> {
    if (!this.bus.isUp) return { kind: 'unreachable', error: 'no bus' };
    const units: Record<string, UnitReading> = {};
    for (const name of names) {
      const unit = this.units[name];
      if (unit !== undefined) units[name] = unit.read();
    }
    return { kind: 'answered', units };
  }

  async start(name: string): Promise<void> {
    this.unit(name).start();
  }

  async restart(name: string): Promise<void> {
    this.unit(name).restart();
  }

  async reload(name: string): Promise<void> {
    this.unit(name).reload();
  }

  async stop(name: string): Promise<void> {
    this.unit(name).stop();
  }

  async resetFailed(name: string): Promise<void> {
    this.unit(name).resetFailed();
  }

  /** The oneshot units are part of what they serve (`NginxModel`). */
  async run(name: string): Promise<string> {
    this.unit(name).start();
    return 'done';
  }

  private unit(name: string): DrivenUnit {
    this.bus.need();
    const unit = this.units[name];
    if (unit === undefined) throw new SystemError('no-such-unit', `there is no ${name}`);
    return unit;
  }
}
