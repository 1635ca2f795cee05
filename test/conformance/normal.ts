/**
 * Makes two looks comparable where values differ by nature and in nothing else: numbers that somebody hands out (ifindexes, runs
 * of a unit, times) become the order in which they were first seen, and the words of an error go.
 */
import type { UnitReading } from '../../src/systems/systemd/types.ts';
import type { ZeroTierReading } from '../../src/systems/zerotier/types.ts';
import type { Seen } from './side.ts';

/** Values of each kind, in the order in which they were first seen. */
export class Names {
  readonly #known: Map<string, readonly unknown[]>;

  constructor(known: ReadonlyMap<string, readonly unknown[]> = new Map()) {
    this.#known = new Map(known);
  }

  /** A copy to try a look with: what a passing state shows must not count. */
  copy(): Names {
    return new Names(this.#known);
  }

  /** `kind 1`, `kind 2`, … by first sight; `none` for the value that means none. */
  of(kind: string, value: string | number): string {
    if (value === '' || value === 0) return 'none';
    const known = this.#known.get(kind) ?? [];
    const order = known.indexOf(value);
    if (order !== -1) return `${kind} ${order + 1}`;
    this.#known.set(kind, [...known, value]);
    return `${kind} ${known.length + 1}`;
  }
}

/** A look in which equal things are equal. */
export type Normal = ReturnType<typeof normalised>;

/** The parts of a look that a script compares. */
export type Part = keyof Seen;

/** The same look of either side gives the same. */
export function normalised(seen: Seen, names: Names, parts: readonly Part[]) {
  const all = {
    links: Object.values(seen.links).map((link) => ({
      ...link,
      name: names.of('device', link.name),
      ifindex: names.of('ifindex', link.ifindex),
      parentIfindex: names.of('ifindex', link.parentIfindex),
    })),
    podNetwork: seen.podNetwork?.map((device) => ({
      ...device,
      ifindex: names.of('ifindex', device.ifindex),
      parentIfindex: names.of('ifindex', device.parentIfindex),
    })),
    dns: normalDns(seen, names),
    units: normalUnits(seen, names),
    zerotier: seen.zerotier === undefined ? undefined : normalZeroTier(seen.zerotier, names),
  };
  return Object.fromEntries(parts.map((part) => [part, all[part]]));
}

function normalDns({ dns }: Seen, names: Names) {
  if (dns === undefined) return undefined;
  if (dns.kind === 'absent') return { kind: dns.kind, isOffBus: dns.isOffBus };
  const links = Object.entries(dns.links).map(([ifindex, settings]) => ({
    ifindex: names.of('ifindex', Number(ifindex)),
    ...settings,
  }));
  return { links, resolvConfMode: dns.resolvConfMode };
}

function normalUnits({ units }: Seen, names: Names) {
  if (units?.kind !== 'answered') return units?.kind;
  const entries = Object.entries(units.units).map(([name, unit]) => [name, normalUnit(unit, names)]);
  return Object.fromEntries(entries);
}

/** STATUS= is k3s' and nginx's own, not systemd's. */
function normalUnit({ statusText: _, ...unit }: UnitReading, names: Names) {
  return {
    ...unit,
    invocationId: names.of('run', unit.invocationId),
    mainPid: unit.mainPid === 0 ? 'none' : 'there',
    startedMs: names.of('start', unit.startedMs),
  };
}

function normalZeroTier(reading: ZeroTierReading, names: Names) {
  if (reading.kind !== 'answered') return reading.kind;
  const { online, interfacePrefixBlacklist, networks } = reading;
  return {
    online,
    interfacePrefixBlacklist,
    networks: networks.map(({ mac, ...network }) => ({
      ...network,
      mac: names.of('mac', mac),
      portDeviceName: names.of('device', network.portDeviceName),
    })),
  };
}
