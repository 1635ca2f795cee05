/** The properties of a resolved Link object, read into the shape that mooring compares. */
import {
  asBoolean,
  asBytes,
  asNumber,
  asString,
  asStructs,
  type Properties,
  pathLabel,
  shapeError,
} from '../dbus/values.ts';
import { bytesToAddress, serverText } from './address.ts';
import type { DnsDomain, LinkDns } from './types.ts';

/** The interface of a Link object. */
export const linkInterface = 'org.freedesktop.resolve1.Link';

/** Where resolved keeps the Link object of an ifindex. */
export function linkPath(ifindex: number): string {
  return `/org/freedesktop/resolve1/link/${pathLabel(String(ifindex))}`;
}

/** A domain in the form that is compared: lower case, no trailing dot, `.` for the root. */
export function canonicalDomain({ name, routingOnly }: DnsDomain): DnsDomain {
  const bare = name.toLowerCase().replace(/\.+$/, '');
  return { name: bare === '' ? '.' : bare, routingOnly };
}

function server(struct: readonly unknown[]): string {
  const [family, bytes, port = 0, serverName = ''] = struct;
  const address = bytesToAddress({
    family: asNumber(family, linkInterface),
    bytes: asBytes(bytes, linkInterface),
  });
  if (address === undefined) throw shapeError(linkInterface);
  return serverText(address, asNumber(port, linkInterface), asString(serverName, linkInterface));
}

/** DNS of one link. Takes `DNSEx` (systemd 246) where there is one: it tells of ports and server names. */
export function linkDns(properties: Properties): LinkDns {
  return {
    servers: asStructs(properties['DNSEx'] ?? properties['DNS'], linkInterface).map(server),
    domains: asStructs(properties['Domains'], linkInterface).map(([name, routingOnly]) =>
      canonicalDomain({
        name: asString(name, linkInterface),
        routingOnly: asBoolean(routingOnly, linkInterface),
      }),
    ),
    defaultRoute: asBoolean(properties['DefaultRoute'], linkInterface),
  };
}
