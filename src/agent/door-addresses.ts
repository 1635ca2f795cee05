/** Which of the node's addresses the words of an ingress entry's `addresses` stand for: from config, world and memory. */
import type { Config } from '../config/schema.ts';
import type { Memory } from './memory.ts';
import type { World } from './world.ts';

export interface DoorAddresses {
  /** Those that the kernel has now and a program can listen at. */
  readonly here: readonly string[];
  /** Of these, the ones on the interface that carries the default route of their family. */
  readonly defaultRoute: readonly string[];
  /** ZeroTier's, link-local ones too, and those of a link that is away. */
  readonly zerotier: readonly string[];
}

/** Of a node about whose addresses nothing is known. */
export const noAddresses: DoorAddresses = { here: [], defaultRoute: [], zerotier: [] };

/** All in the order of their text. */
export function doorAddresses(
  { zerotier: { networks } }: Pick<Config, 'zerotier'>,
  { addresses }: Pick<World, 'addresses'>,
  memory: Pick<Memory, 'networks'>,
): DoorAddresses {
  const remembered = networks.flatMap(({ id }) => memory.networks[id] ?? []);
  const devices = new Set(remembered.map(({ device }) => device));
  const isZeroTiers = (device: string) => device.startsWith('zt') || devices.has(device);
  const onLinks = addresses.filter(({ device }) => isZeroTiers(device)).map(({ address }) => address);
  const assigned = remembered.flatMap(({ assignedAddresses }) => assignedAddresses.map(bare));
  const usable = addresses.filter(({ isLinkLocal }) => !isLinkLocal);
  return {
    here: sorted(usable.map(({ address }) => address)),
    defaultRoute: sorted(
      usable
        .filter(({ onDefaultRoute, device }) => onDefaultRoute && !isZeroTiers(device))
        .map(({ address }) => address),
    ),
    zerotier: sorted([...onLinks, ...assigned]),
  };
}

/** `address/prefix` without the prefix. */
const bare = (cidr: string) => cidr.split('/')[0] ?? '';

const sorted = (addresses: readonly string[]) => [...new Set(addresses)].sort();
