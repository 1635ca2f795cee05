/**
 * The limits of new connections per client, for nftables: a table of mooring's own, replaced in one transaction, and no other one
 * touched. nginx' stream has no such limit, and the kernel's costs nginx nothing. No value from the config may leave its place: each
 * is checked here again against the characters it can need, whatever the schema let through.
 *
 * Choices that are not obvious:
 * - The hook `input`: what is led away to a pod never comes there, and a port has its own number still. Before other filters, so
 *   that nothing is counted that they let in only to be dropped here.
 * - TCP is counted by its SYN, which needs no connection tracking; UDP by the first datagrams of a flow, which does.
 * - Dropped, not rejected: a browser behind a busy address tries again in a second and comes in, and a forged sender gets no answer.
 * - A client is an IPv4 address, or the /64 of an IPv6 one, of which anybody has 2^64. Sets are bounded; a client that finds
 *   no room in them is let in.
 * - Loopback and ZeroTier's interfaces are left out: mooring's own questions come from there, and so may a whole home.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { IngressConfig } from '../../config/schema.ts';
import type { Listen } from '../../systems/doors/types.ts';

/** Clients that are told apart at once, per entry and family. */
const setSize = 65_536;
/** Clients that stay away longer than a minute start anew; longer where their allowance takes longer to fill up. */
const leastTimeoutS = 60;
const mostTimeoutS = 86_400;

const unitOf: Readonly<Record<number, string>> = { 1000: 'second', 60000: 'minute', 3600000: 'hour' };

const clearing = 'table inet mooring_ingress\ndelete table inet mooring_ingress\n';

/** The file for `nft -f`; undefined where no entry has a limit. `listens` are those of nginx. Throws TypeError on a value that has no place in it. */
export function renderLimits(
  ingress: readonly IngressConfig[],
  listens: readonly Listen[],
): string | undefined {
  const parts = ingress.flatMap((entry) => {
    if (entry.newConnectionsPerClient === undefined) return [];
    const own = listens.filter(
      ({ protocol, port, address }) =>
        protocol === entry.protocol && port === entry.listen && !isOthers(address, entry, ingress),
    );
    return [renderEntry(entry, entry.newConnectionsPerClient, own)];
  });
  if (parts.length === 0) return undefined;
  return `# Written by mooring from /etc/mooring/config.yaml; changes here are overwritten.
${clearing}table inet mooring_ingress {
${parts.map(({ sets }) => sets).join('')}    chain input {
        type filter hook input priority -10; policy accept;
        iifname "lo" accept
        iifname "zt*" accept
${parts.map(({ rules }) => rules).join('')}    }
}
`;
}

/** Whether an address is written out by another entry at the port. ZeroTier's are not limited at all. */
function isOthers(address: string, entry: IngressConfig, ingress: readonly IngressConfig[]): boolean {
  if (entry.addresses.includes(address)) return false;
  return ingress.some(
    (one) =>
      one.listen === entry.listen && one.protocol === entry.protocol && one.addresses.includes(address),
  );
}

type Limit = NonNullable<IngressConfig['newConnectionsPerClient']>;

function renderEntry(
  entry: IngressConfig,
  limit: Limit,
  listens: readonly Listen[],
): { readonly sets: string; readonly rules: string } {
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(entry.name) || entry.name.includes('\n'))
    throw new TypeError(`not a name: ${JSON.stringify(entry.name)}`);
  // Names have no underscore, so no two of them become one.
  const name = entry.name.replaceAll('-', '_');
  const { count, periodMs } = 'rate' in limit ? limit.rate : limit;
  const burst = wholeNumber('rate' in limit ? limit.burst : count);
  const unit = unitOf[periodMs];
  if (unit === undefined) throw new TypeError(`not a period: ${JSON.stringify(periodMs)}`);
  const refillS = Math.ceil((burst / wholeNumber(count)) * (periodMs / 1_000));
  const timeoutS = Math.min(mostTimeoutS, Math.max(leastTimeoutS, refillS));
  const over = `limit rate over ${count}/${unit} burst ${burst} packets`;
  const families = [...new Set(listens.map(familyOf))];
  const sets = families.map(
    (family) => `    set ${name}_${family} {
        type ${family === 'v4' ? 'ipv4_addr' : 'ipv6_addr'}
        size ${setSize}
        flags dynamic,timeout
        timeout ${timeoutS}s
    }
`,
  );
  const rules = listens.map((listen) => {
    const family = familyOf(listen);
    const client = family === 'v4' ? 'ip saddr' : 'ip6 saddr & ffff:ffff:ffff:ffff::';
    const limited = `update @${name}_${family} { ${client} ${over} }`;
    return `        ${whereTo(listen)} ${opening(listen)} ${limited} counter drop comment "${entry.name}"\n`;
  });
  return { sets: sets.join(''), rules: rules.join('') };
}

const familyOf = ({ address }: Listen) => (address.includes(':') ? 'v6' : 'v4');

/** Packets to the address of a listen. */
function whereTo({ address }: Listen): string {
  if (address === '0.0.0.0') return 'meta nfproto ipv4';
  if (address === '::') return 'meta nfproto ipv6';
  if (isIPv4(address)) return `ip daddr ${address}`;
  if (isIPv6(address) && !address.includes('%')) return `ip6 daddr ${address}`;
  throw new TypeError(`not an address: ${JSON.stringify(address)}`);
}

/** Packets to its port that open a connection. */
function opening({ protocol, port }: Listen): string {
  const to = `dport ${wholeNumber(port)}`;
  switch (protocol) {
    case 'tcp':
      return `tcp ${to} tcp flags & (fin | syn | rst | ack) == syn`;
    case 'udp':
      return `udp ${to} ct state new`;
    default:
      throw new TypeError(`unknown protocol: ${JSON.stringify(protocol satisfies never)}`);
  }
}

function wholeNumber(value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new TypeError(`not a whole number: ${JSON.stringify(value)}`);
}
