/**
 * flannel's vxlan devices and the routes through them. Read without starting a process, but for the device's own tunnel
 * address, which sysfs does not show: `ip` is asked for it once a device (it is fixed at the device's creation).
 */
import { execa } from 'execa';
import { readRoutes } from './routes.ts';
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
      const routes = readRoutes(proc).viaGateway;
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
