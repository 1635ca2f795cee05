/**
 * systemd-resolved: settings by ifindex, which go with the device. It connects to the bus at its start and never again, so a
 * bus that goes away takes it along until it is restarted.
 */
import { SystemError } from '../../../src/systems/error.ts';
import type { DnsReading, LinkDns, Resolved } from '../../../src/systems/resolved/types.ts';
import { aUnit } from '../../support/world.ts';
import type { BusModel } from './bus.ts';
import type { KernelModel } from './kernel.ts';
import type { DrivenUnit } from './systemd.ts';

export class ResolvedModel implements Resolved {
  isRunning = true;
  /** The bus went away while it ran, and it has not been started anew since. */
  hasLostBus = false;
  /** Settings by ifindex. */
  readonly links = new Map<number, LinkDns>();
  private readonly bus: BusModel;
  private readonly kernel: KernelModel;
  private readonly changed: () => void;

  readonly unit: DrivenUnit = {
    read: () => aUnit({ activeState: this.isRunning ? 'active' : 'inactive' }),
    start: () => this.start(),
    restart: () => this.start(),
    reload: () => undefined,
    stop: () => this.stop(),
    resetFailed: () => undefined,
  };

  /** `changed` is told of what the adapter sets, and of its coming and going. */
  constructor(bus: BusModel, kernel: KernelModel, changed: () => void = () => undefined) {
    this.bus = bus;
    this.kernel = kernel;
    this.changed = changed;
    kernel.onRemoved((ifindex) => this.links.delete(ifindex));
  }

  start(): void {
    this.isRunning = true;
    // Where the bus is away, a new process waits for it.
    this.hasLostBus = false;
    this.changed();
  }

  stop(): void {
    this.isRunning = false;
    this.changed();
  }

  /** The bus goes away. */
  loseBus(): void {
    this.hasLostBus ||= this.isRunning;
  }

  async read(ifindexes: readonly number[]): Promise<DnsReading> {
    if (!this.bus.isUp) return { kind: 'absent', error: 'no bus', isOffBus: false };
    if (!this.isThere()) return { kind: 'absent', error: 'no resolved', isOffBus: true };
    const links: Record<number, LinkDns> = {};
    for (const ifindex of ifindexes) {
      const settings = this.links.get(ifindex);
      if (settings !== undefined) links[ifindex] = settings;
    }
    return { kind: 'present', links, resolvConfMode: 'stub' };
  }

  async set(ifindex: number, want: LinkDns): Promise<'resolved'> {
    this.need();
    if (![...this.kernel.links.values()].some((link) => link.ifindex === ifindex))
      throw new SystemError('no-such-link', 'gone');
    this.links.set(ifindex, want);
    this.changed();
    return 'resolved';
  }

  async revert(ifindex: number): Promise<void> {
    this.need();
    this.links.delete(ifindex);
  }

  private isThere(): boolean {
    return this.isRunning && !this.hasLostBus;
  }

  private need(): void {
    this.bus.need();
    if (!this.isThere()) throw new SystemError('resolved-absent', 'no resolved');
  }
}
