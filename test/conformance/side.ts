/**
 * One side of a comparison, the model or reality, as mooring meets it: through its adapters' interfaces and nothing else. What a
 * side does not have (no bus, no ZeroTier) is undefined in every look.
 */
import { codeOf } from '../../src/systems/error.ts';
import type { FlannelReader } from '../../src/systems/netlink/flannel.ts';
import type { FlannelDevice, LinksReading, Netlink } from '../../src/systems/netlink/types.ts';
import type { DnsReading, LinkDns, Resolved } from '../../src/systems/resolved/types.ts';
import type { Systemd, UnitsReading } from '../../src/systems/systemd/types.ts';
import type { ZeroTier, ZeroTierReading } from '../../src/systems/zerotier/types.ts';

/** The adapters, real ones or models. */
export interface Systems {
  readonly netlink: Netlink;
  readonly flannel?: FlannelReader;
  readonly resolved?: Resolved;
  readonly systemd?: Systemd;
  readonly zerotier?: ZeroTier;
}

/** What is looked at; everything else on a real node is of no interest. */
export interface Scope {
  readonly devices: readonly string[];
  readonly units: readonly string[];
}

/** One look, in the adapters' own readings. */
export interface Seen {
  readonly links: LinksReading;
  readonly podNetwork: readonly FlannelDevice[] | undefined;
  /** Of the devices that are there. */
  readonly dns: DnsReading | undefined;
  readonly units: UnitsReading | undefined;
  readonly zerotier: ZeroTierReading | undefined;
}

/** What mooring would do. */
export type Act =
  | { readonly do: 'dns.set'; readonly ifindex: number; readonly want: LinkDns }
  | { readonly do: 'dns.revert'; readonly ifindex: number }
  | {
      readonly do: 'unit';
      readonly verb: 'start' | 'restart' | 'stop' | 'resetFailed';
      readonly unit: string;
    }
  | { readonly do: 'zerotier'; readonly verb: 'join' | 'leave' | 'rejoin'; readonly network: string }
  | { readonly do: 'zerotier.blacklist'; readonly prefixes: readonly string[] };

/** A side that can be looked at and acted upon. */
export interface Side {
  look(): Promise<Seen>;
  /** Gives the code of a failure, undefined where there was none. */
  act(act: Act): Promise<string | undefined>;
}

/** The side behind these adapters. */
export function sideOf(systems: Systems, scope: Scope): Side {
  return {
    async look() {
      const { netlink, flannel, resolved, systemd, zerotier } = systems;
      const all = await netlink.read();
      const links = Object.fromEntries(Object.entries(all).filter(([name]) => scope.devices.includes(name)));
      const [podNetwork, dns, units, networks] = await Promise.all([
        flannel?.read(all),
        resolved?.read(Object.values(links).map(({ ifindex }) => ifindex)),
        systemd?.read(scope.units),
        zerotier?.read(),
      ]);
      return { links, podNetwork, dns, units, zerotier: networks };
    },
    async act(act) {
      try {
        await carryOut(systems, act);
        return undefined;
      } catch (error) {
        return codeOf(error) ?? String(error);
      }
    },
  };
}

async function carryOut({ resolved, systemd, zerotier }: Systems, act: Act): Promise<void> {
  switch (act.do) {
    case 'dns.set':
      await resolved?.set(act.ifindex, act.want);
      return;
    case 'dns.revert':
      await resolved?.revert(act.ifindex);
      return;
    case 'unit':
      await systemd?.[act.verb](act.unit);
      return;
    case 'zerotier':
      await zerotier?.[act.verb](act.network);
      return;
    case 'zerotier.blacklist':
      await zerotier?.setInterfacePrefixBlacklist(act.prefixes);
      return;
    default:
      act satisfies never;
  }
}
