/**
 * Reads the kernel's interfaces without starting a process: names, indexes, flags and sizes from sysfs, routes from procfs,
 * addresses from getifaddrs. Node.js shows the addresses of interfaces that are up and running (have a carrier) alone.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { codeOf, SystemError } from '../error.ts';
import { networkOf, readRoutes } from './routes.ts';
import type { Link, LinksReading } from './types.ts';

/** IFF_UP of netdevice(7). */
const flagUp = 0x1;

/** sysfs answers from memory, so these reads never wait for a disk. */
function readNumber(path: string): number {
  return Number(readFileSync(path, 'latin1').trim());
}

/** Addresses by interface name, without link-local ones, sorted. */
function addressesByName(): Map<string, string[]> {
  const byName = new Map<string, string[]>();
  for (const [name, entries] of Object.entries(networkInterfaces())) {
    const cidrs = (entries ?? []).flatMap((entry) => entry.cidr ?? []);
    const kept = cidrs.filter((cidr) => !/^(169\.254\.|fe[89ab])/i.test(cidr));
    byName.set(name, [...new Set(kept)].sort());
  }
  return byName;
}

/**
 * `iflink`, or where the kernel tells none (a vxlan's is its own index, as of Linux 6.18) the one device that sysfs links as lower.
 * A bridge's ports count as lower as well and are no parent.
 */
function readParentIfindex(folder: string, name: string, ifindex: number): number {
  const iflink = readNumber(`${folder}/${name}/iflink`);
  if (iflink !== ifindex || name === 'lo') return iflink;
  const entries = readdirSync(`${folder}/${name}`);
  const lower = entries.filter((entry) => entry.startsWith('lower_'));
  if (lower.length !== 1 || entries.includes('bridge')) return ifindex;
  return readNumber(`${folder}/${name}/${lower[0]}/ifindex`);
}

/** Undefined where the interface has gone meanwhile, or the entry is none (`bonding_masters`). */
function readLink(
  folder: string,
  name: string,
  addresses: readonly string[],
  routed: readonly string[],
): Link | undefined {
  try {
    const read = (attribute: string) => readNumber(`${folder}/${name}/${attribute}`);
    const ifindex = read('ifindex');
    return {
      name,
      ifindex,
      up: (read('flags') & flagUp) !== 0,
      mtuBytes: read('mtu'),
      parentIfindex: readParentIfindex(folder, name, ifindex),
      addresses,
      unrouted: addresses.filter((address) => {
        const network = networkOf(address);
        return network !== undefined && !routed.includes(network);
      }),
    };
  } catch (error) {
    const gone = ['ENOENT', 'ENOTDIR', 'ENODEV', 'EINVAL'].includes(codeOf(error) ?? '');
    if (gone) return undefined;
    throw error;
  }
}

/** All interfaces of this network namespace. Throws SystemError `links-unreadable` where sysfs is not there. */
export function readLinks(folder = '/sys/class/net', proc = '/proc/self/net'): LinksReading {
  const links: Record<string, Link> = {};
  try {
    const addresses = addressesByName();
    const routes = readRoutes(proc).direct;
    for (const name of readdirSync(folder)) {
      const link = readLink(folder, name, addresses.get(name) ?? [], routes.get(name) ?? []);
      if (link) links[name] = link;
    }
  } catch (error) {
    throw new SystemError('links-unreadable', `cannot read ${folder}; is /sys mounted?`, { cause: error });
  }
  return links;
}
