/** The kernel's interfaces: a device that is gone comes back under another ifindex. `test/conformance` holds it to the real one. */
import type { Link, LinksReading, Netlink } from '../../../src/systems/netlink/types.ts';

export interface SimLink {
  readonly name: string;
  readonly ifindex: number;
  up: boolean;
  mtuBytes: number;
  addresses: string[];
  /** net.ipv4.conf.….promote_secondaries. */
  promotesSecondaries: boolean;
  /** The route to the network on it, which the kernel makes with an address, or when the device comes up with one. */
  hasRoute: boolean;
}

/** Of an IPv4 address with a prefix of 24, as all are here. */
const subnet = (address: string) => address.slice(0, address.lastIndexOf('.'));

export class KernelModel implements Netlink {
  readonly links = new Map<string, SimLink>();
  private readonly changed: (() => void)[] = [];
  private readonly removed: ((ifindex: number) => void)[] = [];
  private nextIfindex = 3;

  /** Called after every change, for good. */
  onChanged(listener: () => void): void {
    this.changed.push(listener);
  }

  /** Called when a device goes, with its ifindex, for good. */
  onRemoved(listener: (ifindex: number) => void): void {
    this.removed.push(listener);
  }

  create(name: string): SimLink {
    const ifindex = this.nextIfindex++;
    const link: SimLink = {
      name,
      ifindex,
      up: false,
      mtuBytes: 1500,
      addresses: [],
      promotesSecondaries: false,
      hasRoute: false,
    };
    this.links.set(name, link);
    this.tell();
    return link;
  }

  remove(name: string): void {
    const link = this.links.get(name);
    if (link === undefined) return;
    this.links.delete(name);
    for (const listener of this.removed) listener(link.ifindex);
    this.tell();
  }

  /** Changes a device if it is still the one that was meant. */
  alter(link: SimLink, change: (link: SimLink) => void): void {
    if (this.links.get(link.name) !== link) return;
    const before = routed(link);
    change(link);
    if (routed(link) !== before) link.hasRoute = routed(link) !== '';
    this.tell();
  }

  has(ifindex: number): boolean {
    return [...this.links.values()].some((link) => link.ifindex === ifindex);
  }

  /** Deletes one address (`address/prefix`), and with the first one of a subnet the others of it, unless they are promoted. */
  deleteAddress(link: SimLink, address: string): void {
    const ofSubnet = (other: string) => subnet(other) === subnet(address);
    const isFirst = link.addresses.find(ofSubnet) === address;
    const takesAll = isFirst && !link.promotesSecondaries;
    this.alter(link, (it) => {
      it.addresses = it.addresses.filter((other) => other !== address && !(takesAll && ofSubnet(other)));
    });
  }

  /** As the adapter reads it: addresses show only while the device is up. */
  async read(): Promise<LinksReading> {
    const reading: Record<string, Link> = {};
    for (const { name, ifindex, up, mtuBytes, addresses, hasRoute } of this.links.values())
      reading[name] = {
        name,
        ifindex,
        up,
        mtuBytes,
        parentIfindex: ifindex,
        addresses: up ? [...addresses].sort() : [],
        unrouted: up && !hasRoute ? [...addresses].sort() : [],
      };
    return reading;
  }

  private tell(): void {
    for (const listener of this.changed) listener();
  }
}

/** Which connected routes there should be. */
function routed({ up, addresses }: SimLink): string {
  return up ? addresses.join(' ') : '';
}
