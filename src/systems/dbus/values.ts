/**
 * What comes over D-Bus is `unknown` until one of these has looked at it. A service that answers in another shape is
 * an error of that service (`dbus-shape`), never a crash here.
 */
import { SystemError } from '../error.ts';
import type { Bus, BusRequest, BusSignal } from './types.ts';

/** Properties of one interface by name, their variants unpacked. */
export type Properties = Readonly<Record<string, unknown>>;

/** The standard interface of all objects with properties. */
export const propertiesInterface = 'org.freedesktop.DBus.Properties';

/** Where an object's properties are. */
export type PropertiesOf = Pick<BusRequest, 'destination' | 'path' | 'deadlineMs' | 'autoStart'> & {
  readonly of: string;
};

/** An error for an answer in an unknown shape. */
export function shapeError(what: string): SystemError {
  return new SystemError('dbus-shape', `${what} answered in a shape that mooring does not know`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value);
}

/** The value inside a variant. Throws `dbus-shape` where there is none. */
export function unpack(value: unknown, what: string): unknown {
  if (!isObject(value) || !('signature' in value) || !('value' in value)) throw shapeError(what);
  return value['value'];
}

/** A string, or `dbus-shape`. */
export function asString(value: unknown, what: string): string {
  if (typeof value !== 'string') throw shapeError(what);
  return value;
}

/** A number of any D-Bus integer type up to 32 bits, or `dbus-shape`. */
export function asNumber(value: unknown, what: string): number {
  if (typeof value !== 'number') throw shapeError(what);
  return value;
}

/** A time or duration in µs (type t, which dbus-next hands over as bigint), or `dbus-shape`. */
export function asMicroseconds(value: unknown, what: string): number {
  if (typeof value !== 'bigint') throw shapeError(what);
  return Number(value);
}

/** A boolean, or `dbus-shape`. */
export function asBoolean(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') throw shapeError(what);
  return value;
}

/** The bytes of an `ay`, or `dbus-shape`. */
export function asBytes(value: unknown, what: string): Buffer {
  if (!Buffer.isBuffer(value)) throw shapeError(what);
  return value;
}

/** An array of arrays, as `a(…)` arrives, or `dbus-shape`. */
export function asStructs(value: unknown, what: string): readonly (readonly unknown[])[] {
  if (!Array.isArray(value)) throw shapeError(what);
  return value.map((entry: unknown) => {
    if (!Array.isArray(entry)) throw shapeError(what);
    return entry;
  });
}

/** One property. Throws as `call` does, and `dbus-shape`. */
export async function getProperty(bus: Bus, object: PropertiesOf, name: string): Promise<unknown> {
  const { of, ...target } = object;
  const body = await bus.call({
    ...target,
    interface: propertiesInterface,
    member: 'Get',
    signature: 'ss',
    body: [of, name],
  });
  return unpack(body[0], `${of}.${name}`);
}

/** All properties of one interface. Throws as `call` does, and `dbus-shape`. */
export async function getProperties(bus: Bus, object: PropertiesOf): Promise<Properties> {
  const { of, ...target } = object;
  const body = await bus.call({
    ...target,
    interface: propertiesInterface,
    member: 'GetAll',
    signature: 's',
    body: [of],
  });
  const values = body[0];
  if (!isObject(values)) throw shapeError(of);
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, unpack(value, of)]));
}

/** What a PropertiesChanged signal is about: the interface and the names of its properties, changed or invalidated. */
export function changedProperties(
  signal: BusSignal,
): { readonly of: string; readonly names: readonly string[] } | undefined {
  if (signal.interface !== propertiesInterface || signal.member !== 'PropertiesChanged') return undefined;
  const [of, changed, invalidated] = signal.body;
  if (typeof of !== 'string' || !isObject(changed) || !Array.isArray(invalidated)) return undefined;
  const names = [...Object.keys(changed), ...invalidated.filter((name) => typeof name === 'string')];
  return { of, names };
}

/** The new owner in a NameOwnerChanged signal about `name`, empty where it has none now; undefined for other signals. */
export function newOwnerOf(signal: BusSignal, name: string): string | undefined {
  if (signal.interface !== 'org.freedesktop.DBus' || signal.member !== 'NameOwnerChanged') return undefined;
  const [changed, , owner] = signal.body;
  return changed === name && typeof owner === 'string' ? owner : undefined;
}

/** A match rule for signals (D-Bus specification, "Match Rules"). Values must not contain apostrophes. */
export function signalMatch(parts: Readonly<Record<string, string>>): string {
  return ["type='signal'", ...Object.entries(parts).map(([key, value]) => `${key}='${value}'`)].join(',');
}

/** The match rule for a service that appears, goes, or is replaced. */
export function ownerMatch(name: string): string {
  return signalMatch({
    sender: 'org.freedesktop.DBus',
    path: '/org/freedesktop/DBus',
    interface: 'org.freedesktop.DBus',
    member: 'NameOwnerChanged',
    arg0: name,
  });
}

/** One element of an object path as systemd's services escape it: `k3s-node.service` is `k3s_2dnode_2eservice`, `12` is `_312`. */
export function pathLabel(text: string): string {
  if (text === '') return '_';
  return text.replace(/^[0-9]|[^A-Za-z0-9]/g, (found) =>
    [...Buffer.from(found, 'utf8')].map((byte) => `_${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}
