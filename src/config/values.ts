/**
 * The kinds of single values in the config: what each allows, in words for a person, and what it is parsed to. The shape that
 * they make up is in schema.ts.
 */
import { BlockList, isIP, isIPv4, isIPv6, SocketAddress } from 'node:net';
import * as z from 'zod/mini';
import { isLabelKey, isLabelValue, isTaint } from '../kubernetes/labels.ts';

/** A string that satisfies `test`; `allowed` is the rest of the sentence "allowed: …", and its description in the JSON Schema. */
export const text = (allowed: string, test: (value: string) => boolean) =>
  z
    .string(allowed)
    .check(z.refine(test, { error: allowed, abort: true }))
    .register(z.globalRegistry, { description: allowed });

const durationUnitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `30s` -> 30000. NaN where the text is no duration. */
function durationMs(value: string): number {
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(value);
  return match?.[1] && match[2] ? Number(match[1]) * (durationUnitsMs[match[2]] ?? Number.NaN) : Number.NaN;
}

/** A duration in text, parsed to ms. */
export const duration = z.pipe(
  text('a duration such as 500ms, 30s, 10m or 1h', (v) => !Number.isNaN(durationMs(v))),
  z.pipe(z.transform(durationMs), z.number()),
);

/** A duration within bounds, where less would be a storm and more would be as good as never. */
export const durationFrom = (least: string, most: string) =>
  z.pipe(
    text(
      `a duration from ${least} to ${most}`,
      (v) => durationMs(v) >= durationMs(least) && durationMs(v) <= durationMs(most),
    ),
    z.pipe(z.transform(durationMs), z.number()),
  );

/** `5/10m` -> five in ten minutes. */
export const budget = z.pipe(
  text('a number of restarts per duration, such as 5/10m', (v) => {
    const [count, period] = v.split('/');
    return /^[1-9]\d{0,3}$/.test(count ?? '') && durationMs(period ?? '') > 0;
  }),
  z.pipe(
    z.transform((v: string) => {
      const [count, period] = v.split('/');
      return { count: Number(count), periodMs: durationMs(period ?? '') };
    }),
    z.strictObject({ count: z.number(), periodMs: z.number() }),
  ),
);

/** A network id, in lower case. */
export const networkId = z.pipe(
  text('a ZeroTier network id of 16 hex digits, such as 8056c2e21c000001', (v) => /^[0-9a-f]{16}$/i.test(v)),
  z.pipe(
    z.transform((v: string) => v.toLowerCase()),
    z.string(),
  ),
);

/** An absolute path without `..`, control characters or a trailing slash. */
export const path = text(
  'an absolute path without .. or control characters',
  (v) =>
    /^(\/[^/\p{Cc}]+)+$/u.test(v) &&
    v.length <= 4096 &&
    !v.split('/').some((part) => part === '..' || part === '.'),
);

/** An address without a zone. */
export const ipAddress = text('an IPv4 or IPv6 address', (v) => isIP(v) !== 0 && !v.includes('%'));

/** An address that is compared with what the kernel and the controller tell: parsed to the one form that they print. */
export const comparedAddress = z.pipe(
  ipAddress,
  z.pipe(
    z.transform((v: string) => (isIPv6(v) ? new SocketAddress({ address: v, family: 'ipv6' }).address : v)),
    z.string(),
  ),
);

/** Text on one line, up to so many characters. */
export const isShortText = (most: number) => (v: string) => v.length <= most && !/[\p{Cc}\p{Cf}]/u.test(v);

/**
 * A controller's URL. Its token goes there with every question, so plain http is for addresses that are nobody else's: loopback
 * and private ones (RFC 1918, RFC 6598, RFC 4193). A name could lead anywhere.
 */
export function isControllerUrl(v: string): boolean {
  if (!URL.canParse(v) || /[\p{Cc}\s]/u.test(v)) return false;
  const { protocol, username, password, search, hash, hostname } = new URL(v);
  if (username !== '' || password !== '' || search !== '' || hash !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isPrivateHost(hostname.replace(/^\[|\]$/g, '')));
}

const privateAddresses = new BlockList();
for (const [network, prefix] of [
  ['127.0.0.0', 8],
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['100.64.0.0', 10],
] as const)
  privateAddresses.addSubnet(network, prefix, 'ipv4');
privateAddresses.addAddress('::1', 'ipv6');
privateAddresses.addSubnet('fc00::', 7, 'ipv6');

function isPrivateHost(host: string): boolean {
  const family = isIP(host);
  return (
    host === 'localhost' || (family !== 0 && privateAddresses.check(host, family === 4 ? 'ipv4' : 'ipv6'))
  );
}

const hostLabel = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/i;
const isDomain = (v: string) =>
  v.length <= 253 &&
  v
    .replace(/\.$/, '')
    .split('.')
    .every((label) => hostLabel.test(label));

/** resolved's notation: `home.example` is searched, `~home.example` only routed, `~.` takes everything. */
export const dnsDomain = text(
  'a domain such as home.example, or ~home.example to route it without searching it, or ~. for every name',
  (v) => v === '~.' || isDomain(v.startsWith('~') ? v.slice(1) : v),
);

/** Labels of the node: keys that kubelet may set on itself, and their values. */
export const labels = z.record(
  text(
    'a label key that kubelet may set on itself: not in kubernetes.io or k8s.io, except topology.kubernetes.io/region and zone, node.kubernetes.io/… and kubelet.kubernetes.io/…',
    isLabelKey,
  ),
  text(
    'a label value: up to 63 letters, digits, dashes, underscores or dots; in quotes where YAML takes it for a number or true/false',
    isLabelValue,
  ),
);

/** A taint in kubectl's notation. */
export const taint = text('a taint such as key=value:NoSchedule or key:NoExecute', isTaint);

/** Other numbers than whole ones would lose their form (1.10) on the way; they are written in quotes. */
export const scalar = z.union(
  [
    text('text without control characters', (v) => !/\p{Cc}/u.test(v)),
    z.number().check(z.refine(Number.isSafeInteger, 'a whole number, or any other number in quotes')),
    z.boolean(),
  ],
  'a string without control characters, a whole number, true or false',
);

/** A SHA-256, in lower case. */
export const sha256 = z.pipe(
  text('a SHA-256 of 64 hex digits', (v) => /^[0-9a-f]{64}$/i.test(v)),
  z.pipe(
    z.transform((v: string) => v.toLowerCase()),
    z.string(),
  ),
);

/** A port; `allowed` is the rest of the sentence "allowed: …". */
export const port = (allowed: string) =>
  z.number(allowed).check(z.refine((v) => Number.isInteger(v) && v >= 1 && v <= 65535, { error: allowed }));

/** A whole number within bounds. */
export function wholeNumber(least: number, most: number) {
  const allowed = `a whole number from ${least} to ${most}`;
  return z
    .number(allowed)
    .check(z.refine((v) => Number.isInteger(v) && v >= least && v <= most, { error: allowed }));
}

/** An address, or a range of them as `address/prefix`. */
export const addressRange = text('an address such as 203.0.113.7, or a range such as 203.0.113.0/24', (v) => {
  const [address = '', prefix, ...rest] = v.split('/');
  const bits = isIPv4(address) ? 32 : 128;
  if (isIP(address) === 0 || address.includes('%') || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
});

/** `address:port`, IPv6 in brackets. Names are left out: nginx resolves them once and refuses to start where it cannot. */
export function parseHostPort(value: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  if (!match) return undefined;
  const [, v6, v4, digits] = match;
  const host = v6 ?? v4 ?? '';
  // A zone would tie it to an interface, which nginx does not take.
  if (v6 === undefined ? !isIPv4(host) : !isIPv6(host) || host.includes('%')) return undefined;
  const number = Number(digits);
  return number >= 1 && number <= 65535 ? { host, port: number } : undefined;
}
