/** Reverse DNS zones of subnets, so that addresses of the home network are looked up at the home's DNS. */
import { isIPv4 } from 'node:net';

/**
 * The reverse zones that cover `address/prefix`, without a trailing dot, e.g. `10.45.0.7/24` -> `0.45.10.in-addr.arpa`.
 * Prefixes between label boundaries give one zone for each label value they span, up to 16; wider than /8 (IPv4) or
 * /16 (IPv6) gives none, since that would take over foreign space. RFC 1035 3.5, RFC 3596 2.5.
 */
export function reverseZones(cidr: string): readonly string[] {
  const [address = '', prefixText = ''] = cidr.split('/');
  const prefix = Number(prefixText);
  if (!Number.isInteger(prefix)) return [];
  if (isIPv4(address))
    return prefix < 8 ? [] : zonesOf(address.split('.').map(Number), 8, prefix, 'in-addr.arpa', 10);
  const nibbles = expandIPv6(address);
  return nibbles === undefined || prefix < 16 ? [] : zonesOf(nibbles, 4, prefix, 'ip6.arpa', 16);
}

/** Labels of `bits` each, most significant first; `prefix` bits of them are fixed. */
function zonesOf(
  labels: readonly number[],
  bits: number,
  prefix: number,
  suffix: string,
  radix: number,
): string[] {
  const whole = Math.min(Math.floor(prefix / bits), labels.length);
  const fixed = labels.slice(0, whole);
  const spare = prefix - whole * bits;
  const name = (all: readonly number[]) =>
    [...all.map((label) => label.toString(radix)).reverse(), suffix].join('.');
  if (spare === 0 || whole === labels.length) return [name(fixed)];
  const span = 2 ** (bits - spare);
  if (span > 16) return [name(fixed)];
  const label = labels[whole] ?? 0;
  const start = label - (label % span);
  return Array.from({ length: span }, (_, offset) => name([...fixed, start + offset]));
}

/** The 32 nibbles of an IPv6 address, undefined where it is none. */
function expandIPv6(address: string): readonly number[] | undefined {
  if (!URL.canParse(`http://[${address}]/`)) return undefined;
  const [head = '', tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const gap = Array.from({ length: tail === undefined ? 0 : 8 - left.length - right.length }, () => '0');
  const all = [...left, ...gap, ...right];
  return all.length === 8
    ? [...all.map((group) => group.padStart(4, '0')).join('')].map((nibble) => Number.parseInt(nibble, 16))
    : undefined;
}
