/**
 * The kernel's routes, by device. Read without starting a process; these files answer from memory. Formats: Linux,
 * net/ipv4/fib_trie.c (the main table) and net/ipv6/route.c.
 */
import { readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { canonicalAddress, canonicalCidr } from '../ip-text.ts';

/** Networks as `address/prefix` in canonical form, by the name of the device that leads to them. */
export interface Routes {
  readonly direct: ReadonlyMap<string, readonly string[]>;
  readonly viaGateway: ReadonlyMap<string, readonly string[]>;
}

/** All routes but IPv6's link-local and multicast ones. `proc` is replaced by tests. */
export function readRoutes(proc = '/proc/self/net'): Routes {
  const direct = new Map<string, string[]>();
  const viaGateway = new Map<string, string[]>();
  const add = (routes: Map<string, string[]>, name: string, network: string | undefined) => {
    if (network === undefined) return;
    const known = routes.get(name);
    if (known === undefined) routes.set(name, [network]);
    else known.push(network);
  };
  for (const line of linesOf(`${proc}/route`)) {
    const [name = '', target = '', , flags = '0', , , , mask = ''] = line.split(/\s+/);
    const isDirect = (Number.parseInt(flags, 16) & flagGateway) === 0;
    add(isDirect ? direct : viaGateway, name, ipv4Network(target, mask));
  }
  for (const line of linesOf(`${proc}/ipv6_route`)) {
    const words = line.trim().split(/\s+/);
    const [target = '', prefix = '', , , gateway = ''] = words;
    if (/^f(e[89ab]|f)/.test(target)) continue;
    add(/^0+$/.test(gateway) ? direct : viaGateway, words.at(-1) ?? '', ipv6Network(target, prefix));
  }
  return { direct, viaGateway };
}

/** RTF_GATEWAY of route(8). In IPv6 the gateway itself tells. */
const flagGateway = 0x2;

/**
 * The network that an address with its prefix lies in, in canonical form; undefined where the prefix leaves it alone there, for
 * which the kernel makes no route.
 */
export function networkOf(cidr: string): string | undefined {
  const [text = '', digits = ''] = cidr.split('/');
  const address = canonicalAddress(text);
  const prefix = Number(digits);
  if (address === undefined) return undefined;
  const isV4 = isIPv4(address);
  const groups = isV4 ? address.split('.').map(Number) : ipv6Groups(address);
  const width = isV4 ? 8 : 16;
  if (prefix >= groups.length * width) return undefined;
  const masked = groups.map((group, i) => {
    const host = Math.min(width, Math.max(0, (i + 1) * width - prefix));
    return (group >>> host) << host;
  });
  const network = isV4 ? masked.join('.') : masked.map((group) => group.toString(16)).join(':');
  return canonicalCidr(`${network}/${prefix}`);
}

/** The eight groups of an address in canonical form. */
function ipv6Groups(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const groupsOf = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  if (tail === undefined) return groupsOf(head);
  const [before, after] = [groupsOf(head), groupsOf(tail)];
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
}

/** Both words are the four bytes as a number of this machine, in hex; all machines that mooring runs on are little-endian. */
function ipv4Network(target: string, mask: string): string | undefined {
  const bytes =
    target.match(/^[0-9A-F]{8}$/i) && target.match(/../g)?.map((byte) => Number.parseInt(byte, 16));
  const ones = [...Number.parseInt(mask, 16).toString(2)].filter((bit) => bit === '1').length;
  return bytes ? canonicalCidr(`${bytes.reverse().join('.')}/${ones}`) : undefined;
}

function ipv6Network(target: string, prefix: string): string | undefined {
  const address = target.match(/.{4}/g)?.join(':') ?? '';
  return canonicalCidr(`${address}/${Number.parseInt(prefix, 16)}`);
}

/** No such file, as without IPv6, is no line. */
function linesOf(path: string): readonly string[] {
  try {
    return readFileSync(path, 'latin1')
      .split('\n')
      .filter((line) => line !== '');
  } catch {
    return [];
  }
}
