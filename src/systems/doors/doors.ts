/** What the kernel tells of the ingress' ports. Nothing is read that nobody asked about. */
import { readHolders } from './holders.ts';
import type { Doors, DoorsAim } from './types.ts';

/** Where everything is; the defaults are the host's. */
export interface DoorsOptions {
  readonly netFolder?: string;
  readonly passwdFile?: string;
}

export function createDoors(options: DoorsOptions = {}): Doors {
  const places = {
    netFolder: options.netFolder ?? '/proc/self/net',
    passwdFile: options.passwdFile ?? '/etc/passwd',
  };
  let aim: DoorsAim = { holdersOf: [] };
  return {
    async read() {
      const { holdersOf } = aim;
      return { holders: holdersOf.length === 0 ? undefined : await readHolders(holdersOf, places) };
    },
    aim(next) {
      aim = next;
    },
  };
}
