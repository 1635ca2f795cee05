/** What the kernel tells of the ingress' ports. Nothing is read or tried that nobody asked about. */
import type { Log } from '../log.ts';
import type { Wake } from '../wake.ts';
import { createDoorWatch, type DoorPace } from './door-watch.ts';
import { readHolders } from './holders.ts';
import type { Doors, DoorsAim } from './types.ts';

/** Where everything is; the defaults are the host's. */
export interface DoorsOptions {
  readonly wake: Wake;
  readonly log: Log;
  readonly random: () => number;
  readonly netFolder?: string;
  readonly passwdFile?: string;
  readonly deadlineMs?: number;
  readonly pace?: DoorPace;
}

/** Tries the ports between `start` and `close`. */
export interface DoorsWatch extends Doors {
  start(): void;
  close(): Promise<void>;
}

/** For a connection within this host. One that is later than this proves nothing. */
const deadlineMs = 1_000;

export function createDoors(options: DoorsOptions): DoorsWatch {
  const netFolder = options.netFolder ?? '/proc/self/net';
  const places = { netFolder, passwdFile: options.passwdFile ?? '/etc/passwd' };
  const watch = createDoorWatch({ ...options, netFolder, deadlineMs: options.deadlineMs ?? deadlineMs });
  let aim: DoorsAim = { holdersOf: [], tried: [], servedBy: undefined };
  return {
    async read() {
      const { holdersOf } = aim;
      const holders = holdersOf.length === 0 ? undefined : await readHolders(holdersOf, places);
      return { holders, redirected: watch.redirected() };
    },
    aim(next) {
      aim = next;
      watch.aim(next);
    },
    start: () => watch.start(),
    close: () => watch.close(),
  };
}
