/** The kernel's interfaces: a device that is gone comes back under another ifindex. */
import type { Link, LinksReading } from '../../src/systems/netlink/types.ts';

export interface SimLink {
  readonly name: string;
  readonly ifindex: number;
  up: boolean;
  mtuBytes: number;
  addresses: string[];
}

export class Kernel {
  readonly links = new Map<string, SimLink>();
  /** Called after every change. */
  changed: () => void = () => undefined;
  /** Called when a device goes, with its ifindex. */
  removed: (ifindex: number) => void = () => undefined;
  private nextIfindex = 3;

  create(name: string): SimLink {
    const link: SimLink = { name, ifindex: this.nextIfindex++, up: false, mtuBytes: 1500, addresses: [] };
    this.links.set(name, link);
    this.changed();
    return link;
  }

  remove(name: string): void {
    const link = this.links.get(name);
    if (link === undefined) return;
    this.links.delete(name);
    this.removed(link.ifindex);
    this.changed();
  }

  /** Changes a device if it is still the one that was meant. */
  alter(link: SimLink, change: (link: SimLink) => void): void {
    if (this.links.get(link.name) !== link) return;
    change(link);
    this.changed();
  }

  /** As the adapter reads it: addresses show only while the device is up. */
  read(): LinksReading {
    return Object.fromEntries(
      [...this.links.values()].map((link): [string, Link] => [
        link.name,
        {
          name: link.name,
          ifindex: link.ifindex,
          up: link.up,
          mtuBytes: link.mtuBytes,
          parentIfindex: link.ifindex,
          addresses: link.up ? [...link.addresses].sort() : [],
        },
      ]),
    );
  }
}
