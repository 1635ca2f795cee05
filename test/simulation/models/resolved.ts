/**
 * systemd-resolved: settings by ifindex, which go with the device and with nothing else (it keeps them over its own restart). A link
 * that has none reads as empty. It connects to the bus at its start and never again, so a bus that goes away takes it along until it
 * is restarted. `test/conformance` holds it to the real one.
 */
import { SystemError } from '../../../src/systems/error.ts';
import type { DnsReading, LinkDns, Resolved } from '../../../src/systems/resolved/types.ts';
import { aUnit } from '../../support/world.ts';
import type { BusModel } from './bus.ts';
import type { KernelModel } from './kernel.ts';
import type { DrivenUnit } from './systemd.ts';

const empty: LinkDns = { servers: [], domains: [], defaultRoute: false };

export class ResolvedModel implements Resolved {
  isRunning = true;
  /** The bus went away while it ran, and it has not been started anew since. */
  hasLostBus = false;
  /** Settings by ifindex, where somebody set any. */
  readonly links = new Map<number, LinkDns>();
  /** What networkd's own files say for the links that it owns, by ifindex. */
  private readonly owned = new Map<number, LinkDns>();
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
    kernel.onRemoved((ifindex) => {
      this.links.delete(ifindex);
      this.owned.delete(ifindex);
    });
    bus.onTurned((isUp) => {
      if (!isUp) this.hasLostBus ||= this.isRunning;
    });
  }

  /** networkd takes a link into its own hands. */
  own(ifindex: number, settings: LinkDns): void {
    this.owned.set(ifindex, settings);
  }

  /** It forgets what others set on its links. */
  restartNetworkd(): void {
    for (const ifindex of this.owned.keys()) this.links.delete(ifindex);
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

  /** Somebody else sets or, with undefined, reverts what a link has. */
  meddle(ifindex: number, settings: LinkDns | undefined): void {
    if (settings === undefined) this.links.delete(ifindex);
    else this.links.set(ifindex, settings);
    this.changed();
  }

  async read(ifindexes: readonly number[]): Promise<DnsReading> {
    if (!this.bus.isUp) return { kind: 'absent', error: 'no bus', isOffBus: false };
    if (!this.isThere()) return { kind: 'absent', error: 'no resolved', isOffBus: true };
    const links: Record<number, LinkDns> = {};
    for (const ifindex of ifindexes) {
      if (this.kernel.has(ifindex))
        links[ifindex] = this.links.get(ifindex) ?? this.owned.get(ifindex) ?? empty;
    }
    return { kind: 'present', links, resolvConfMode: 'stub' };
  }

  async set(ifindex: number, want: LinkDns): Promise<'resolved' | 'networkd'> {
    this.need();
    if (!this.kernel.has(ifindex)) throw new SystemError('no-such-link', 'gone');
    this.links.set(ifindex, want);
    this.changed();
    return this.owned.has(ifindex) ? 'networkd' : 'resolved';
  }

  async revert(ifindex: number): Promise<void> {
    this.need();
    this.links.delete(ifindex);
  }

  isThere(): boolean {
    return this.bus.isUp && this.isRunning && !this.hasLostBus;
  }

  private need(): void {
    this.bus.need();
    if (!this.isThere()) throw new SystemError('resolved-absent', 'no resolved');
  }
}
