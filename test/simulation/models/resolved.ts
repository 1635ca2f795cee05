/** systemd-resolved: settings by ifindex, which go with the device. */
import { SystemError } from '../../../src/systems/error.ts';
import type { DnsReading, LinkDns, Resolved } from '../../../src/systems/resolved/types.ts';
import type { BusModel } from './bus.ts';
import type { KernelModel } from './kernel.ts';

export class ResolvedModel implements Resolved {
  isUp = true;
  /** Settings by ifindex. */
  readonly links = new Map<number, LinkDns>();
  private readonly bus: BusModel;
  private readonly kernel: KernelModel;
  private readonly changed: () => void;

  /** `changed` is told of what the adapter sets. */
  constructor(bus: BusModel, kernel: KernelModel, changed: () => void = () => undefined) {
    this.bus = bus;
    this.kernel = kernel;
    this.changed = changed;
    kernel.onRemoved((ifindex) => this.links.delete(ifindex));
  }

  async read(ifindexes: readonly number[]): Promise<DnsReading> {
    if (!this.bus.isUp || !this.isUp) return { kind: 'absent', error: 'no resolved' };
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

  private need(): void {
    this.bus.need();
    if (!this.isUp) throw new SystemError('resolved-absent', 'no resolved');
  }
}
