/** One entry of `ingress`: a port of this node that nginx passes on at layer 4. */
import { BlockList, isIP, isIPv6, SocketAddress } from 'node:net';
import * as z from 'zod/mini';
import { connectionRate } from './connection-rate.ts';
import { addressRange, durationFrom, parseHostPort, port, text, wholeNumber } from './values.ts';

const upstreamAddress = text(
  'an IP address and port such as 127.0.0.1:31693 or [fd00::1]:31693',
  (v) => parseHostPort(v) !== undefined,
);

/** A server behind the entry; as a mapping where it is not one of equals. */
const upstream = z.union(
  [
    upstreamAddress,
    z.strictObject({
      address: upstreamAddress,
      weight: z._default(wholeNumber(1, 256), 1),
      backup: z._default(z.boolean('true or false'), false),
    }),
  ],
  'an IP address and port such as 127.0.0.1:31693, or {address: "127.0.0.1:31693", weight: 2, backup: false}',
);

/** DNS labels, as Kubernetes has them for both; there is no way out of a path of the API in them. */
const serviceName = text(
  'a Service as namespace/name, such as kube-system/traefik',
  (v) =>
    v.length <= 127 && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(v),
);

const servicePort = z.union(
  [
    port('a port from 1 to 65535'),
    text('the name of a port', (v) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(v) && /[a-z]/.test(v)),
  ],
  'a port of the Service: its number, or its name of lower-case letters, digits and dashes, such as websecure',
);

const upstreams = z.union(
  [
    z.literal('auto'),
    z.array(upstream).check(z.minLength(1, 'at least one upstream'), z.maxLength(64, 'at most 64 upstreams')),
    z.strictObject({ service: serviceName, port: servicePort }),
  ],
  'auto, {service: kube-system/traefik, port: websecure}, or a list of address:port such as ["127.0.0.1:31693"]',
);

const addressRanges = z.array(addressRange).check(z.maxLength(1024, 'at most 1024 addresses and ranges'));

/** Where a program of this node can be reached: not all of them at once, nobody in particular, or another link's neighbours. */
const ownAddress = z.pipe(
  text('an address of this node', (v) => isIP(v) !== 0 && !v.includes('%') && isUnicast(v)),
  z.pipe(
    z.transform((v: string) => (isIPv6(v) ? new SocketAddress({ address: v, family: 'ipv6' }).address : v)),
    z.string(),
  ),
);

const addressWords =
  'all, default-route, zerotier, an address of this node (not 0.0.0.0 or ::), or a list of these';
const addressChoice = z.union([z.enum(['all', 'default-route', 'zerotier']), ownAddress], addressWords);

/** Always a list, once parsed. */
const addresses = z.pipe(
  z.union(
    [
      addressChoice,
      z
        .array(addressChoice)
        .check(z.minLength(1, 'at least one of them'), z.maxLength(16, 'at most 16 of them')),
    ],
    addressWords,
  ),
  z.pipe(
    z.transform((v: string | string[]) => (typeof v === 'string' ? [v] : v)),
    z.array(z.string()),
  ),
);

/** Of each family its own list: an IPv4 address counts as one of IPv6, too. */
const noUnicast = { ipv4: new BlockList(), ipv6: new BlockList() };
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 3],
] as const)
  noUnicast.ipv4.addSubnet(network, prefix, 'ipv4');
for (const [network, prefix] of [
  ['::', 128],
  ['::ffff:0:0', 96],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  noUnicast.ipv6.addSubnet(network, prefix, 'ipv6');

function isUnicast(address: string): boolean {
  const family = isIPv6(address) ? 'ipv6' : 'ipv4';
  return !noUnicast[family].check(address, family);
}

export const ingressSchema = z.strictObject({
  name: text('a name of 1 to 32 lower-case letters, digits and dashes', (v) =>
    /^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$/.test(v),
  ),
  listen: port('a port from 1 to 65535'),
  protocol: z._default(z.enum(['tcp', 'udp'], 'tcp or udp'), 'tcp'),
  addresses: z.prefault(addresses, 'all'),
  upstreams,
  balance: z._default(
    z.enum(['auto', 'least-connections', 'client', 'turns'], 'auto, least-connections, client or turns'),
    'auto',
  ),
  connectTimeout: z.prefault(durationFrom('100ms', '1m'), '5s'),
  idleTimeout: z.optional(durationFrom('1s', '24h')),
  allow: z._default(addressRanges, []),
  deny: z._default(addressRanges, []),
  connectionsPerClient: z.optional(wholeNumber(1, 65_535)),
  newConnectionsPerClient: z.optional(connectionRate),
  proxyProtocol: z._default(z.enum(['none', 'v1', 'v2'], 'none or v1'), 'none'),
});

/** How nginx runs, for all entries together. */
export const nginxSchema = z.strictObject({
  workers: z._default(
    z.union([z.literal('auto'), wholeNumber(1, 64)], 'auto, or a whole number from 1 to 64'),
    'auto',
  ),
  connections: z._default(
    z.union([z.literal('auto'), wholeNumber(64, 1_000_000)], 'auto, or a whole number from 64 to 1000000'),
    'auto',
  ),
  shutdown: z.prefault(durationFrom('1s', '24h'), '10m'),
});
