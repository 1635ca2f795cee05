/**
 * Where each entry of the ingress listens, as `listen` directives.
 *
 * - `all` is a socket for every address, and never ZeroTier's unless an entry asks for them: where a socket for every address and a
 *   `listen ADDRESS:PORT` without options share a port, nginx makes no second socket but picks the server by the address that the
 *   client came to (tried with 1.22, TCP and UDP). So such an address need not exist, and one server turns its callers away.
 * - Any other address is a socket of its own, which nginx can only open where the kernel has the address: those that are not there
 *   are left out and told, and so is an entry that has none.
 * - An address that goes is no reason for a reload, as long as nothing else changes: its socket does no harm and serves on when it
 *   comes back. For that the text tells in comments which addresses it was made for, also over a boot.
 */
import { isIP, isIPv4 } from 'node:net';
import type { IngressConfig } from '../../config/schema.ts';
import type { DoorAddresses } from '../door-addresses.ts';

/** What a config in place was made for. */
export interface KeptAddresses {
  /** By entry: addresses with sockets of their own. */
  readonly entries: Readonly<Record<string, readonly string[]>>;
  readonly zerotier: readonly string[];
}

export interface Listening {
  /** Beginnings of `listen` directives with a socket of their own: `443`, `[::]:443`, `10.0.0.5:443`. */
  readonly sockets: readonly string[];
  /** Those without, whose callers come in through a socket for every address. */
  readonly places: readonly string[];
  /** What the text has to tell. */
  readonly comment: string | undefined;
  /** In words: addresses that are wanted and not there. */
  readonly waitsFor: readonly string[];
}

type Entry = Pick<IngressConfig, 'name' | 'listen' | 'protocol' | 'addresses'>;

/** Nothing was in place. */
export const nothingKept: KeptAddresses = { entries: {}, zerotier: [] };

const commentPattern = /^ *# Addresses of ([a-z][a-z0-9-]*|ZeroTier): ([0-9a-f:. ]{1,65536})$/gm;

/** Reads the comments of a config that was written from here; hostile text gives addresses at most. */
export function keptAddresses(text: string): KeptAddresses {
  const found = [...text.matchAll(commentPattern)].map(
    ([, name = '', list = '']) => [name, list.split(' ').filter((one) => isIP(one) !== 0)] as const,
  );
  const entries = Object.fromEntries(found.filter(([name]) => name !== 'ZeroTier'));
  return { entries, zerotier: found.find(([name]) => name === 'ZeroTier')?.[1] ?? [] };
}

/** Where `entry` listens. `ipv6`: whether the kernel has it at all. */
export function listeningOf(
  entry: Entry,
  all: readonly Entry[],
  known: DoorAddresses,
  kept: KeptAddresses,
  ipv6: boolean,
): Listening {
  const { listen: port, addresses: choices } = entry;
  const atPort = all.filter(sharesPort(entry));
  const isPossible = (address: string) => ipv6 || isIPv4(address);
  if (choices.includes('all')) {
    const sockets = ipv6 ? [`${port}`, `[::]:${port}`] : [`${port}`];
    return { sockets, places: [], comment: undefined, waitsFor: [] };
  }
  if (atPort.some(({ addresses }) => addresses.includes('all'))) {
    const places = zerotiers(known, kept)
      .filter(isPossible)
      .map((address) => placeOf(address, port));
    const waitsFor = places.length === 0 ? ['an address of ZeroTier'] : [];
    return { sockets: [], places, comment: undefined, waitsFor };
  }
  const named = new Set(atPort.flatMap(({ addresses }) => addresses));
  const meant = choices.flatMap((choice) => {
    if (choice === 'default-route') return known.defaultRoute.filter((one) => !named.has(one));
    if (choice === 'zerotier') return known.zerotier.filter((one) => !named.has(one));
    return [choice];
  });
  const here = new Set(known.here);
  const addresses = meant.filter((one) => here.has(one));
  const missing = (kept.entries[entry.name] ?? []).filter((one) => isKept(one, choices, known, named));
  const bound = [...new Set([...addresses, ...missing])].filter(isPossible).sort();
  return {
    sockets: bound.map((address) => placeOf(address, port)),
    places: [],
    comment: bound.length === 0 ? undefined : commentOf(entry.name, bound),
    waitsFor: waitingFor(choices, addresses, known),
  };
}

/** The server that turns away whoever comes to one of ZeroTier's addresses without an entry that asks for them; empty where none is needed. */
export function renderTurnedAway(
  all: readonly Entry[],
  known: DoorAddresses,
  kept: KeptAddresses,
  ipv6: boolean,
): string {
  const asks = (one: Entry) => one.addresses.includes('zerotier');
  const open = all.filter(({ addresses }) => addresses.includes('all'));
  const closed = open.filter((entry) => !all.filter(sharesPort(entry)).some(asks));
  const addresses = zerotiers(known, kept).filter((address) => ipv6 || isIPv4(address));
  if (addresses.length === 0 || open.length === 0) return '';
  const comment = `    ${commentOf('ZeroTier', addresses)}\n`;
  const isPicked = all.some(
    (one) => asks(one) && !one.addresses.includes('all') && open.some(sharesPort(one)),
  );
  if (closed.length === 0) return isPicked ? `\n${comment}` : '';
  const listens = closed.flatMap(({ listen, protocol }) =>
    addresses.map(
      (address) => `        listen ${placeOf(address, listen)}${protocol === 'udp' ? ' udp' : ''};\n`,
    ),
  );
  // A handler is needed, and never reached. Without a log of its own each caller would be a line in the journal.
  return `
    # Not asked for, so whoever comes to one of these is turned away.
${comment}    server {
${listens.join('')}        deny all;
        return 0;
        error_log stderr emerg;
    }
`;
}

const sharesPort =
  ({ listen, protocol }: Entry) =>
  (other: Entry) =>
    other.listen === listen && other.protocol === protocol;

/** Those of now, and those of before for as long as nobody knows better. */
function zerotiers(known: DoorAddresses, kept: KeptAddresses): readonly string[] {
  return [...new Set([...known.zerotier, ...kept.zerotier])].sort();
}

/**
 * Whether an address stays that is not meant now: one that is gone, or was on a default route of which there is none now. What is
 * there belongs to whom the config gives it to.
 */
function isKept(
  address: string,
  choices: readonly string[],
  known: DoorAddresses,
  named: ReadonlySet<string>,
): boolean {
  if (choices.includes(address)) return true;
  if (named.has(address)) return false;
  const isHere = known.here.includes(address);
  const isLeft = !known.defaultRoute.some((one) => isIP(one) === isIP(address));
  if (choices.includes('default-route') && (!isHere || isLeft) && !known.zerotier.includes(address))
    return true;
  return choices.includes('zerotier') && !isHere;
}

function waitingFor(
  choices: readonly string[],
  addresses: readonly string[],
  known: DoorAddresses,
): readonly string[] {
  const isThere = (wanted: readonly string[]) => addresses.some((address) => wanted.includes(address));
  return choices.flatMap((choice) => {
    if (choice === 'default-route')
      return isThere(known.defaultRoute) ? [] : ["an address on the default route's interface"];
    if (choice === 'zerotier') return isThere(known.zerotier) ? [] : ['an address of ZeroTier'];
    return addresses.includes(choice) ? [] : [choice];
  });
}

const commentOf = (name: string, addresses: readonly string[]) =>
  `# Addresses of ${name}: ${addresses.map(checked).join(' ')}`;

function placeOf(address: string, port: number): string {
  return isIPv4(checked(address)) ? `${address}:${port}` : `[${address}]:${port}`;
}

function checked(address: string): string {
  if (typeof address === 'string' && isIP(address) !== 0 && !address.includes('%')) return address;
  throw new TypeError(`not an address: ${JSON.stringify(address)}`);
}
