/**
 * Who is measured at the door, each from its own Debian package or none, and the config of each. All have the same port,
 * the same upstream address behind it, and as many workers.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { renderNginxConf } from '../../../src/agent/render/nginx-conf.ts';
import { nginxSize } from '../../../src/agent/render/nginx-size.ts';
import { parseConfig } from '../../../src/config/parse.ts';
import { readMachine } from '../../../src/systems/nginx/machine.ts';

/** In the order in which they are shown. `direct` is the upstream itself, its node no more than a router. */
export const rivals = ['mooring', 'byHand', 'haproxy', 'direct'] as const;
export type Rival = (typeof rivals)[number];

/** Those that are a program. */
export const proxies = ['mooring', 'byHand', 'haproxy'] as const;
export type ProxyName = (typeof proxies)[number];

/** The doors, by what is behind them. The same numbers at the upstream, so that asking it directly needs no other. */
export const ports = { http: 80, echo: 7, bulk: 5201 } as const;

/** What is started: files by path and a command line, both inside the root that has the packages. */
export interface Program {
  readonly files: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  /** How many files it may have open: soft and hard. */
  readonly openFiles: readonly [soft: number, hard: number];
}

const confPath = '/var/lib/mooring/nginx/nginx.conf';
const unitFile = join(import.meta.dirname, '../../../packaging/systemd/mooring-ingress.service');

/** mooring's config for an upstream. `variant` changes nothing but the text, so that a reload is one. */
export function mooringConf(upstream: string, variant = 0) {
  const entry = (name: string, port: number, protocol: string) =>
    `  - {name: ${name}, listen: ${port}, protocol: ${protocol}, upstreams: ["${upstream}:${port}"], connectTimeout: ${5 + variant}s}\n`;
  const text = [
    'zerotier: {networks: [{id: 8056c2e21c000001}]}\n',
    'k3s: {server: "https://k3s.home.example:6443", token: {file: /etc/mooring/k3s-token}}\n',
    'ingress:\n',
    entry('http', ports.http, 'tcp'),
    entry('echo', ports.echo, 'tcp'),
    entry('bulk', ports.bulk, 'tcp'),
    entry('bulk-udp', ports.bulk, 'udp'),
  ].join('');
  const parsed = parseConfig([{ path: 'bench.yaml', text }]);
  if (!parsed.ok) throw new Error(`the bench's config is refused: ${JSON.stringify(parsed.problems)}`);
  const { ingress, nginx } = parsed.config;
  return renderNginxConf(ingress, { ipv6: true, size: nginxSize(nginx, readMachine()) });
}

/** mooring's nginx with the command line and the open-file limit of its unit, but in the foreground. */
async function mooring(upstream: string, hardLimit: number): Promise<Program> {
  const unit = await readFile(unitFile, 'utf8');
  const execStart = /^ExecStart=(.*)$/m.exec(unit)?.[1] ?? '';
  const [, start = '', globals = ''] = / exec (.*) -g '([^']*)'"$/.exec(execStart) ?? [];
  const limits = (/^LimitNOFILE=(\S+)$/m.exec(unit)?.[1] ?? '').split(':').map(Number);
  const [soft = Number.NaN, hard = soft] = limits;
  if (start === '' || !(soft > 0)) throw new Error(`no command line or limit in ${unitFile}`);
  return {
    files: { [confPath]: mooringConf(upstream).text },
    command: [...start.split(' '), '-g', `${globals} daemon off;`],
    openFiles: [Math.min(soft, hardLimit), Math.min(hard, hardLimit)],
  };
}

/** As people write it, beside the rest of Debian's own nginx.conf, and with the limits that systemd gives its unit. */
function byHand(upstream: string, hardLimit: number, workers: number): Program {
  const server = (name: string, port: number) =>
    `  upstream ${name} { server ${upstream}:${port}; }\n  server { listen ${port}; proxy_pass ${name}; }\n`;
  const text = `user www-data;
worker_processes ${workers};
error_log /var/log/nginx/error.log;
include /usr/share/nginx/modules-available/mod-stream.conf;
events { worker_connections 768; }
stream {
${Object.entries(ports)
  .map(([name, port]) => server(name, port))
  .join('')}}
`;
  const conf = '/etc/nginx/by-hand.conf';
  return {
    files: { [conf]: text },
    command: ['/usr/sbin/nginx', '-c', conf, '-g', 'pid /run/by-hand.pid; daemon off;'],
    openFiles: [1024, hardLimit],
  };
}

/**
 * The strong rival: as many threads, as many connections as its files allow (it has one process, so one limit, for all
 * threads), nothing logged, what is passed on left in the kernel where that pays, and timeouts as mooring's.
 */
function haproxy(upstream: string, hardLimit: number, workers: number): Program {
  const door = (name: string, port: number) => `listen ${name}
  bind :${port} v4v6
  server up ${upstream}:${port}
`;
  // A connection has two files, a pipe as well; HAProxy does not start with more than fit.
  const pipes = 100;
  const maxConnections = Math.floor((hardLimit - 2 * pipes - 100) / 2);
  const text = `global
  nbthread ${workers}
  ulimit-n ${hardLimit}
  maxpipes ${pipes}
  maxconn ${maxConnections}
defaults
  mode tcp
  option splice-auto
  maxconn ${maxConnections}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
${Object.entries(ports)
  .map(([name, port]) => door(name, port))
  .join('')}`;
  const conf = '/etc/haproxy/haproxy.cfg';
  return {
    files: { [conf]: text },
    command: ['/usr/sbin/haproxy', '-db', '-f', conf],
    openFiles: [hardLimit, hardLimit],
  };
}

/** What to start for a rival. `hardLimit` is how many open files this machine lets a process have. */
export async function programOf(proxy: ProxyName, upstream: string, hardLimit: number): Promise<Program> {
  const workers = workersOf(mooringConf(upstream).text);
  switch (proxy) {
    case 'mooring':
      return mooring(upstream, hardLimit);
    case 'byHand':
      return byHand(upstream, hardLimit, workers);
    case 'haproxy':
      return haproxy(upstream, hardLimit, workers);
    default:
      throw new Error(`nobody knows ${proxy satisfies never}`);
  }
}

/** How many workers an nginx.conf asks for. */
export function workersOf(conf: string): number {
  const asked = /^worker_processes (\w+);$/m.exec(conf)?.[1];
  const workers = Number(asked);
  if (!(workers >= 1)) throw new Error(`worker_processes is ${asked}`);
  return workers;
}
