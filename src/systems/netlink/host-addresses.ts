/**
 * This host's addresses, and which of them are on the interface that carries the default route of their family. Read without
 * starting a process. Formats: Linux, net/ipv6/addrconf.c (if_inet6), include/uapi/linux/if_addr.h (its flags).
 */
import { readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { canonicalAddress } from '../ip-text.ts';
import { readRoutes } from './routes.ts';
import type { HostAddress } from './types.ts';

/** A program cannot listen at one whose uniqueness is still being checked, or was refuted; a temporary one is for asking only. */
const unusableFlags = 0x40 | 0x08 | 0x01;

/** In the order of their text. `interfaces` and `proc` are replaced by tests. */
export function readHostAddresses(
  interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces(),
  proc = '/proc/self/net',
): readonly HostAddress[] {
  const { direct, viaGateway } = readRoutes(proc);
  const leads = (device: string, network: string) =>
    device !== 'lo' && [direct, viaGateway].some((routes) => routes.get(device)?.includes(network));
  const flags = readFlags(proc);
  const found = Object.entries(interfaces).flatMap(([name, entries]) => {
    // An address with a label is listed under it: `eth0:1`.
    const device = name.split(':')[0] ?? name;
    const [isDefault4, isDefault6] = [leads(device, '0.0.0.0/0'), leads(device, '::/0')];
    return (entries ?? []).flatMap(({ address: text }) => {
      const address = canonicalAddress(text);
      if (address === undefined) return [];
      const isV4 = isIPv4(address);
      if (!isV4 && ((flags.get(`${address} ${device}`) ?? 0) & unusableFlags) !== 0) return [];
      const isLinkLocal = /^(169\.254\.|fe[89ab])/.test(address);
      return [{ address, device, isLinkLocal, onDefaultRoute: isV4 ? isDefault4 : isDefault6 }];
    });
  });
  return found.sort((left, right) =>
    `${left.address} ${left.device}` < `${right.address} ${right.device}` ? -1 : 1,
  );
}

/** Flags of IPv6 addresses by `address device`; none without IPv6. */
function readFlags(proc: string): ReadonlyMap<string, number> {
  try {
    const lines = readFileSync(`${proc}/if_inet6`, 'latin1').split('\n');
    return new Map(
      lines.flatMap((line) => {
        const [hex = '', , , , flags = '', device = ''] = line.trim().split(/\s+/);
        const address = canonicalAddress(hex.match(/.{4}/g)?.join(':') ?? '');
        return address === undefined ? [] : [[`${address} ${device}`, Number.parseInt(flags, 16)] as const];
      }),
    );
  } catch {
    return new Map();
  }
}
