/**
 * flannel's vxlan devices and the routes through them. Read without starting a process, but for the device's own tunnel
 * address, which sysfs does not show: `ip` is asked for it once a device (it is fixed at the device's creation).
 */
import { readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { canonicalCidr } from '../ip-text.ts';
import type { FlannelDevice, LinksReading } from './types.ts';

/** flannel names its devices `flannel.<VNI>` and, for IPv6, `flannel-v6.<VNI>` (flannel, pkg/backend/vxlan). */
const flannelName = /^flannel(-v6)?\.\d+$/;
const deadlineMs = 2_000;

export interface FlannelReader {
  read(links: LinksReading): Promise<readonly FlannelDevice[]>;
}

/** `proc` is replaced by tests. */
export function createFlannelReader(proc = '/proc/self/net'): FlannelReader {
  /** Tunnel addresses by ifindex. */
  let locals = new Map<number, string | undefined>();

  async function localOf(name: string, ifindex: number): Promise<string | undefined> {
    if (locals.has(ifindex)) return locals.get(ifindex);
    const { stdout, failed } = await execa('ip', ['-j', '-d', 'link', 'show', 'dev', name], {
      reject: false,
      stdin: 'ignore',
      timeout: deadlineMs,
      maxBuffer: 64 * 1024,
    });
    return failed ? undefined : tunnelAddress(stdout);
  }

  return {
    async read(links) {
      const found = Object.values(links).filter((link) => flannelName.test(link.name));
      if (found.length === 0) {
        locals.clear();
        return [];
      }
      const routes = await gatewayRoutes(proc);
      const nameOf = (ifindex: number) => Object.values(links).find((link) => link.ifindex === ifindex)?.name;
      const devices = await Promise.all(
        found.map(async ({ name, ifindex, parentIfindex }) => {
          const local = await localOf(name, ifindex);
          const direct = routes.get(nameOf(parentIfindex) ?? '') ?? [];
          return { name, ifindex, parentIfindex, local, routes: routes.get(name) ?? [], direct };
        }),
      );
      locals = new Map(
        devices.flatMap(({ ifindex, local }) => (local === undefined ? [] : [[ifindex, local]])),
      );
      return devices.sort((left, right) => (left.name < right.name ? -1 : 1));
    },
  };
}

/** The vxlan's local address in what `ip -j -d link show` prints, undefined where it is none. */
export function tunnelAddress(json: string): string | undefined {
  try {
    const [link] = JSON.parse(json);
    const local: unknown = link?.linkinfo?.info_data?.local ?? link?.linkinfo?.info_data?.local6;
    return typeof local === 'string' ? local : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Networks behind a gateway, by device: in IPv4 by the flag RTF_GATEWAY, in IPv6 by the gateway, without link-local and multicast
 * ones. Formats: Linux, net/ipv4/fib_trie.c and net/ipv6/route.c.
 */
export async function gatewayRoutes(proc: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const routes = new Map<string, string[]>();
  const add = (name: string, network: string | undefined) => {
    if (network === undefined) return;
    const known = routes.get(name);
    if (known === undefined) routes.set(name, [network]);
    else known.push(network);
  };
  for (const line of await linesOf(`${proc}/route`)) {
    const [name = '', target = '', , flags = '0', , , , mask = ''] = line.split(/\s+/);
    if ((Number.parseInt(flags, 16) & 0x2) !== 0) add(name, ipv4Network(target, mask));
  }
  for (const line of await linesOf(`${proc}/ipv6_route`)) {
    const words = line.trim().split(/\s+/);
    const [target = '', prefix = '', , , gateway = ''] = words;
    if (!/^f(e[89ab]|f)/.test(target) && !/^0+$/.test(gateway))
      add(words.at(-1) ?? '', ipv6Network(target, prefix));
  }
  return routes;
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
async function linesOf(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'latin1').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}
