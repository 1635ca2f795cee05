/**
 * The watch over the ports that the ingress serves: now and then each is tried whether nginx gets what comes there.
 *
 * Always true here: one round at a time; a port counts as taken away only after several proofs in a row, and as given back by one;
 * what is unclear changes nothing; nothing is tried while nothing is served.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../error.ts';
import type { Log } from '../log.ts';
import type { Wake } from '../wake.ts';
import { type Door, findOtherEnds, isAnswered, type KnockOptions, type Verdict } from './knock.ts';
import { ownAddress } from './own-address.ts';
import type { DoorsAim, Redirected } from './types.ts';

export interface DoorWatchOptions extends KnockOptions {
  readonly wake: Wake;
  readonly log: Log;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly pace?: DoorPace;
}

/** Pauses before a round, before jitter. */
export interface DoorPace {
  /** After nginx began to serve another config. */
  readonly firstMs: number;
  /** To confirm what one round saw. */
  readonly againMs: number;
  /** While a port is taken away. */
  readonly awayMs: number;
  readonly calmMs: number;
}

const usualPace: DoorPace = { firstMs: 3_000, againMs: 3_000, awayMs: 8_000, calmMs: 60_000 };
/** This many proofs in a row. */
const proofs = 3;
/** Over IPv6 a calm round troubles the upstream with an empty connection, so only one of this many has it. */
const calmRoundsPerV6 = 10;

/** Tries between `start` and `close`. */
export interface DoorWatch {
  redirected(): readonly Redirected[];
  aim(aim: Pick<DoorsAim, 'tried' | 'servedBy'>): void;
  start(): void;
  close(): Promise<void>;
}

/** How often a verdict came in a row, by door. */
interface Tally {
  readonly door: Door;
  readonly count: number;
}

const keyOf = ({ address, port }: Door) => `${address} ${port}`;

/** The tally after a round that had these doubts: whatever it did not doubt is fine. Proofs are counted no further than needed. */
export function tallied(
  before: ReadonlyMap<string, Tally>,
  doubted: readonly Door[],
  verdicts: readonly Verdict[],
): ReadonlyMap<string, Tally> {
  const after = new Map<string, Tally>();
  doubted.forEach((door, i) => {
    const known = before.get(keyOf(door));
    const count = known?.count ?? 0;
    if (verdicts[i] === 'elsewhere') after.set(keyOf(door), { door, count: Math.min(proofs, count + 1) });
    else if (verdicts[i] === 'unclear' && known !== undefined) after.set(keyOf(door), known);
  });
  return after;
}

/** Not started yet, and aimed at nothing. */
export function createDoorWatch(options: DoorWatchOptions): DoorWatch {
  const { wake, log, random } = options;
  const pace = options.pace ?? usualPace;
  const ending = new AbortController();
  let aim: Pick<DoorsAim, 'tried' | 'servedBy'> = { tried: [], servedBy: undefined };
  let turned = new AbortController();
  let isNew = true;
  let rounds = 0;
  let tally: ReadonlyMap<string, Tally> = new Map();
  let trying: Promise<void> = Promise.resolve();

  const redirected = () => [...tally.values()].filter(({ count }) => count >= proofs).map(({ door }) => door);

  async function round(): Promise<void> {
    const { tried, servedBy } = aim;
    const withV6 = isNew || rounds % calmRoundsPerV6 === 0;
    isNew = false;
    rounds += 1;
    const doors = await doorsOf(tried);
    const isFine = await Promise.all(
      doors.map((door) =>
        door.address.includes(':') ? !withV6 && !tally.has(keyOf(door)) : isAnswered(door, options),
      ),
    );
    const doubted = doors.filter((_, i) => isFine[i] !== true);
    const verdicts = doubted.length === 0 ? [] : await findOtherEnds(doubted, options);
    // Of a config that is no longer served it tells nothing.
    if (ending.signal.aborted || aim.servedBy !== servedBy || aim.tried !== tried) return;
    const before = redirected().map(keyOf).join(', ');
    tally = tallied(tally, doubted, verdicts);
    const now = redirected().map(keyOf).join(', ');
    if (now !== before) wake(`doors: connections end elsewhere at ${now || 'no port'}`);
  }

  function pauseMs(): number {
    if (isNew) return pace.firstMs;
    const counts = [...tally.values()].map(({ count }) => count);
    if (counts.some((count) => count < proofs)) return pace.againMs;
    return counts.length > 0 ? pace.awayMs : pace.calmMs;
  }

  async function keepTrying(): Promise<void> {
    while (!ending.signal.aborted) {
      turned = new AbortController();
      const { signal } = turned;
      const isIdle = aim.servedBy === undefined || aim.tried.length === 0;
      const ms = isIdle ? 2 ** 31 - 1 : pauseMs() * (0.8 + 0.4 * random());
      await sleep(ms, undefined, { ref: false, signal }).catch(() => undefined);
      if (signal.aborted) continue;
      try {
        await round();
      } catch (error) {
        log('error', `doors: a try failed, which is a fault in mooring: ${messageOf(error)}`);
      }
    }
  }

  return {
    redirected,
    aim(next) {
      const before = aim;
      const isSame = JSON.stringify(next.tried) === JSON.stringify(before.tried);
      aim = { ...next, tried: isSame ? before.tried : next.tried };
      if (isSame && next.servedBy === before.servedBy) return;
      const ports = new Set(next.tried.map(({ port }) => port));
      tally = new Map([...tally].filter(([, { door }]) => ports.has(door.port)));
      isNew = true;
      turned.abort();
    },
    start() {
      trying = keepTrying();
    },
    async close() {
      ending.abort();
      turned.abort();
      await trying;
    },
  };
}

/** Where the listens are tried: those of all addresses at the one that others would use. */
async function doorsOf(listens: DoorsAim['tried']): Promise<readonly Door[]> {
  const [v4, v6] = await Promise.all([ownAddress('udp4'), ownAddress('udp6')]);
  const doors = listens.flatMap(({ protocol, address, port }) => {
    const at = address === '0.0.0.0' ? v4 : address === '::' ? v6 : address;
    return protocol === 'udp' || at === undefined ? [] : [{ address: at, port }];
  });
  return [...new Map(doors.map((door) => [keyOf(door), door])).values()];
}
