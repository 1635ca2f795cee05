/**
 * The ingress' nginx.conf: a layer 4 proxy and nothing else. No value from the config may leave its place: each is checked
 * here again against the characters it can need, whatever the schema let through.
 *
 * Choices that are not obvious:
 * - `pid` is not written: the unit gives it on the command line, and nginx refuses it twice.
 * - `error_log stderr`: nginx keeps standard error when it daemonises, so its lines reach the journal under the unit's name.
 *   The unit adds `-e stderr`, or nginx opens /var/log/nginx/error.log before it reads this file.
 * - IPv4 and IPv6 have a socket each (`ipv6only=on`). The IPv6 ones are left out where the host has no IPv6 at all, since
 *   nginx does not start when it cannot make the socket; with IPv6 only disabled by sysctl they bind and do no harm.
 * - Sockets are `reuseport`, one a worker. UDP: nginx keeps sessions per worker, and without it a client's datagrams would be
 *   spread over all of them, which tears QUIC connections apart. TCP: the kernel deals connections out evenly, where the fastest
 *   worker would take most of them and be full alone. A reload and a renewal of the program take each socket over as long as the
 *   number of workers stays, so it is fixed here; where it changes, what waits in a closed socket's queue moves to another worker
 *   by net.ipv4.tcp_migrate_req. `nginx -t` does not set it, so that a test takes no connection away (tried: 1.22, src/core/ngx_connection.c).
 * - `rcvbuf` of UDP: what QUIC's bursts need (packaging/sysctl.conf); the kernel gives less where it allows less.
 * - `proxy_buffer_size`: a megabyte took a seventh less CPU time than with nginx' 16 KiB, and hardly less again with more (`make bench`).
 *   Only what was used of a buffer takes memory.
 * - `backlog`: what the kernel allows by default (net.core.somaxconn), instead of nginx' 511.
 * - `worker_rlimit_nofile` is not written: the unit's LimitNOFILE= is the limit, and raising it is not for workers.
 * - `proxy_responses` is unset: a session ends by `proxy_timeout`, not by counting answers, which QUIC needs.
 * - `worker_shutdown_timeout` lets old connections live on after a reload, but not without end.
 */
import { createHash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import type { Config, IngressConfig } from '../../config/schema.ts';
import { type DoorAddresses, doorAddresses, noAddresses } from '../door-addresses.ts';
import type { Memory } from '../memory.ts';
import type { ServedEntry } from '../upstreams.ts';
import type { World } from '../world.ts';
import { keepingNewest } from './newest.ts';
import {
  type KeptAddresses,
  type Listening,
  listeningOf,
  nothingKept,
  renderTurnedAway,
} from './nginx-addresses.ts';
import { probed, probeUpstream } from './nginx-probe.ts';
import { type NginxSize, nginxSize, workerConnections } from './nginx-size.ts';
import { sessionFormat, sessionLogging } from './session-log.ts';

/** A ready nginx.conf. */
export interface NginxConf {
  readonly text: string;
  /** 16 hex digits that the running workers answer with on the generation socket. */
  readonly generation: string;
  /** Entries that listen somewhere. */
  readonly open: readonly string[];
  /** In words, of each entry that wants addresses which are not there. */
  readonly waiting: readonly string[];
}

/** What the host is like. */
export interface NginxHost {
  /** Whether the kernel has IPv6 at all (/proc/net/if_inet6 exists). */
  readonly ipv6: boolean;
  readonly size: NginxSize;
  /** Absent where nothing is known of them. */
  readonly addresses?: DoorAddresses;
  /** What the config in place was made for, as far as it stays. */
  readonly kept?: KeptAddresses;
}

/** Where the workers tell their generation. */
export const generationSocket = '/run/mooring-ingress/generation.sock';

/** Connections that wait for a worker, per socket. */
const backlog = 4096;

const preamble = (
  size: NginxSize,
  sockets: number,
) => `# Written by mooring from /etc/mooring/config.yaml; changes here are overwritten.
include /usr/share/nginx/modules-available/mod-stream.conf;

user www-data;
worker_processes ${wholeNumber(size.workers)};
worker_shutdown_timeout ${milliseconds(size.shutdownMs)};
error_log stderr notice;

events {
    worker_connections ${wholeNumber(workerConnections(size, sockets))};
}
`;

/** Room for some 80,000 clients at once, of 128 bytes each; nginx turns further ones away. */
const clientsZone = '10m';

/** What the config and the node make of it. */
export function nginxHost(config: Config, world: World, memory: Memory): NginxHost {
  const { ipv6, machine } = world.ingress;
  return { ipv6, size: nginxSize(config.nginx, machine), addresses: doorAddresses(config, world, memory) };
}

/** The config for these entries. Throws TypeError on a value that has no place in it, and on upstreams that are not a list. */
export const renderNginxConf = keepingNewest(render);

function render(ingress: readonly ServedEntry[], host: NginxHost): NginxConf {
  const { addresses = noAddresses, kept = nothingKept, ipv6 } = host;
  const doors = ingress.map((entry) => ({
    entry,
    listening: listeningOf(entry, ingress, addresses, kept, ipv6),
  }));
  const open = doors.filter(({ listening: { sockets, places } }) => sockets.length + places.length > 0);
  const entries = open.map(({ entry, listening }) => renderEntry(entry, listening));
  const sockets = open.reduce((sum, { listening }) => sum + listening.sockets.length, 1);
  const before = `${preamble(host.size, sockets)}
stream {
    tcp_nodelay on;
    proxy_buffer_size 32k;
${entries.map((text) => `\n${text}`).join('')}${renderTurnedAway(ingress, addresses, kept, ipv6)}
    # Tells which config the running workers serve.
${probeUpstream(generationSocket)}    server {
        listen unix:${generationSocket};
`;
  const after = `    }
}
`;
  const generation = createHash('sha256')
    .update(before + after)
    .digest('hex')
    .slice(0, 16);
  return {
    text: `${before}        return ${generation};\n${after}`,
    generation,
    open: open.map(({ entry }) => entry.name),
    waiting: doors.flatMap(({ entry, listening: { waitsFor } }) =>
      waitsFor.length === 0 ? [] : `${entry.name} waits for ${waitsFor.join(', ')}`,
    ),
  };
}

function renderEntry(entry: ServedEntry, { sockets, places, comment }: Listening): string {
  const name = matching(entry.name, /^[a-z][a-z0-9-]{0,31}$/, 'name');
  portNumber(entry.listen);
  const isUdp = isUdpEntry(entry);
  const options = isUdp ? ' udp reuseport rcvbuf=4m' : ` reuseport backlog=${backlog} so_keepalive=5m:30s:4`;
  const listens = [
    ...sockets.map((at) => `listen ${at}${options}${at.startsWith('[::]:') ? ' ipv6only=on' : ''};`),
    ...places.map((at) => `listen ${at}${isUdp ? ' udp' : ''};`),
  ];
  const probe = isUdp ? undefined : probed(name);
  const rules = accessRules(entry);
  const lines = [
    ...(comment === undefined ? [] : [comment]),
    ...listens,
    `proxy_pass ${probe?.target ?? name};`,
    `proxy_connect_timeout ${milliseconds(entry.connectTimeout)};`,
    `proxy_timeout ${milliseconds(entry.idleTimeout ?? (isUdp ? 90_000 : 3_600_000))};`,
    ...(probe === undefined || rules.length === 0 ? [] : [probe.allow]),
    ...rules,
    sessionLogging(name),
  ];
  if (!isUdp) lines.push('proxy_socket_keepalive on;');
  if (sendsProxyProtocol(entry)) lines.push('proxy_protocol on;');
  const { connectionsPerClient } = entry;
  if (connectionsPerClient !== undefined)
    lines.push(`limit_conn ${name} ${wholeNumber(connectionsPerClient)};`);
  const zone =
    connectionsPerClient === undefined
      ? ''
      : `    limit_conn_zone $binary_remote_addr zone=${name}:${clientsZone};\n`;
  const format = sessionFormat(name, isUdp ? 'udp' : 'tcp');
  return `${zone}${format}${renderUpstream(entry, name, isUdp)}${probe?.before ?? ''}
    server {
${lines.map((line) => `        ${line}\n`).join('')}    }
`;
}

/** Who may come in: whoever is denied may not, and where anybody is allowed by name, nobody else. */
function accessRules({ allow, deny }: IngressConfig): readonly string[] {
  const rules = [
    ...deny.map((range) => `deny ${addressRange(range)};`),
    ...allow.map((range) => `allow ${addressRange(range)};`),
  ];
  return allow.length === 0 ? rules : [...rules, 'deny all;'];
}

function renderUpstream(entry: ServedEntry, name: string, isUdp: boolean): string {
  if (!Array.isArray(entry.upstreams) || entry.upstreams.length === 0)
    throw new TypeError(`ingress ${name}: upstreams are not a list of addresses`);
  const isAlone = entry.upstreams.length === 1;
  // A lone server is never taken out, whatever it answers; nginx ignores the parameters there. Nor is one of two ports of the
  // same server: the one that is refused now may be the right one in a moment, and with both taken out nobody would be asked.
  const failing = isAlone ? '' : entry.isOneServer ? ' max_fails=0' : ' max_fails=3 fail_timeout=10s';
  const method = isAlone ? '' : balancing(entry, isUdp);
  const backups = entry.upstreams.filter((upstream) => typeof upstream !== 'string' && upstream.backup);
  if (backups.length === entry.upstreams.length || (backups.length > 0 && method === byClient))
    throw new TypeError(`ingress ${name}: nginx takes no such backup`);
  const servers = entry.upstreams.map((upstream) => {
    const { address, weight, backup } =
      typeof upstream === 'string' ? { address: upstream, weight: 1, backup: false } : upstream;
    const share = weight === 1 ? '' : ` weight=${wholeNumber(weight)}`;
    return `        server ${hostPort(address)}${share}${backup ? ' backup' : ''}${failing};\n`;
  });
  return `    upstream ${name} {
${method}${servers.join('')}    }
`;
}

/** Which server a client comes to, as a directive; nothing for one after the other. */
function balancing({ balance }: IngressConfig, isUdp: boolean): string {
  switch (balance) {
    case 'auto':
      return isUdp ? byClient : '        least_conn;\n';
    case 'least-connections':
      return '        least_conn;\n';
    case 'client':
      return byClient;
    case 'turns':
      return '';
    default:
      throw new TypeError(`unknown balance: ${JSON.stringify(balance satisfies never)}`);
  }
}

const byClient = '        hash $remote_addr consistent;\n';

function isUdpEntry(entry: IngressConfig): boolean {
  switch (entry.protocol) {
    case 'tcp':
      return false;
    case 'udp':
      return true;
    default:
      throw new TypeError(`unknown protocol: ${JSON.stringify(entry.protocol satisfies never)}`);
  }
}

function sendsProxyProtocol(entry: IngressConfig): boolean {
  switch (entry.proxyProtocol) {
    case 'none':
      return false;
    case 'v1':
      if (entry.protocol === 'udp') throw new TypeError('the PROXY protocol is for TCP');
      return true;
    case 'v2':
      throw new TypeError("Debian's nginx sends PROXY protocol version 1 only");
    default:
      throw new TypeError(`unknown proxyProtocol: ${JSON.stringify(entry.proxyProtocol satisfies never)}`);
  }
}

function matching(value: string, pattern: RegExp, what: string): string {
  if (typeof value === 'string' && pattern.test(value) && !value.includes('\n')) return value;
  throw new TypeError(`not a ${what}: ${JSON.stringify(value)}`);
}

function portNumber(port: number): number {
  if (Number.isInteger(port) && port >= 1 && port <= 65535) return port;
  throw new TypeError(`not a port: ${JSON.stringify(port)}`);
}

function wholeNumber(value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new TypeError(`not a whole number: ${JSON.stringify(value)}`);
}

/** In nginx' notation. */
function milliseconds(value: number): string {
  const unit = value % 1000 === 0 ? { size: 1000, name: 's' } : { size: 1, name: 'ms' };
  return `${wholeNumber(value) / unit.size}${unit.name}`;
}

/** `address` or `address/prefix` put together anew from its checked parts. */
function addressRange(value: unknown): string {
  const match = typeof value === 'string' ? /^([0-9a-fA-F:.]+)(?:\/(\d{1,3}))?$/.exec(value) : null;
  const [, address = '', prefix] = match ?? [];
  const bits = isIPv4(address) ? 32 : 128;
  if ((isIPv4(address) || isIPv6(address)) && Number(prefix ?? 0) <= bits)
    return prefix === undefined ? address : `${address}/${Number(prefix)}`;
  throw new TypeError(`not an address or range: ${JSON.stringify(value)}`);
}

/** `address:port` put together anew from its checked parts. */
function hostPort(value: unknown): string {
  const match =
    typeof value === 'string' ? /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(value) : null;
  const [, v6, v4, digits] = match ?? [];
  const port = portNumber(Number(digits));
  if (v6 !== undefined && isIPv6(v6)) return `[${v6}]:${port}`;
  if (v4 !== undefined && isIPv4(v4)) return `${v4}:${port}`;
  throw new TypeError(`not an address and port: ${JSON.stringify(value)}`);
}
