/**
 * Web servers at home, real ones: Debian's HAProxy at home's ZeroTier address, and behind it nginx with an HTTP/1.1 and a TLS
 * server, which answer with whom they see. HAProxy's `told` ports read the PROXY protocol, its `bare` ones do not; TLS goes
 * through to the server whose name the client asks for, which learns of the client by version 2 of that protocol.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { identity } from '../support/certificates.ts';
import { waitFor } from './process.ts';
import type { Run } from './run.ts';
import { haproxyPackages, nginxPackages, unpackedRoot } from './unpacked-root.ts';

/** The ports of home's HAProxy. */
export const webPorts = { httpTold: 8001, httpBare: 8002, tlsTold: 8003, tlsBare: 8004 } as const;

/** The name that the TLS server has a certificate for. */
export const webName = 'www.home.example';

export interface HomeWeb {
  /** Certificate of the CA, on the host. */
  readonly caFile: string;
  /** HAProxy's log so far: a line `FRONTEND CLIENT` a connection or request. */
  log(): Promise<string>;
}

const haproxyConf = (address: string) => `global
  log stdout format raw local0 info
defaults
  log global
  log-format "%f %ci"
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend httpTold
  mode http
  bind ${address}:${webPorts.httpTold} accept-proxy
  option forwardfor
  default_backend http
frontend httpBare
  mode http
  bind ${address}:${webPorts.httpBare}
  option forwardfor
  default_backend http
frontend tlsTold
  bind ${address}:${webPorts.tlsTold} accept-proxy
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend tls if { req.ssl_sni -i ${webName} }
frontend tlsBare
  bind ${address}:${webPorts.tlsBare}
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend tls if { req.ssl_sni -i ${webName} }
backend http
  mode http
  server web 127.0.0.1:9001
backend tls
  server web 127.0.0.1:9002 send-proxy-v2
`;

const nginxConf = `user www-data;
error_log stderr;
events { worker_connections 64; }
http {
    access_log off;
    server {
        listen 127.0.0.1:9001;
        return 200 "for $http_x_forwarded_for over $server_protocol\\n";
    }
    server {
        listen 127.0.0.1:9002 ssl proxy_protocol;
        ssl_certificate /tmp/web.crt;
        ssl_certificate_key /tmp/web.key;
        return 200 "for $proxy_protocol_addr over $ssl_protocol as $ssl_server_name\\n";
    }
}
`;

/** Starts all of it in a network namespace; it ends with the run. */
export async function startHomeWeb(run: Run, netns: string, address: string): Promise<HomeWeb> {
  const root = await unpackedRoot(run, 'web', [...nginxPackages, ...haproxyPackages]);
  const ca = identity('CA of the bed');
  const server = identity(webName, ca, `DNS:${webName}`);
  const caFile = join(run.dir, 'web-ca.crt');
  await writeFile(caFile, ca.cert);
  const files = {
    'haproxy.cfg': haproxyConf(address),
    'nginx.conf': nginxConf,
    'web.crt': server.cert,
    'web.key': server.key,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(root, 'tmp', name), text);
  const place = { netns, part: 'home' };
  const nginx = [
    '/usr/sbin/nginx',
    '-e',
    'stderr',
    '-c',
    '/tmp/nginx.conf',
    '-g',
    'pid /tmp/pid; daemon off;',
  ];
  const behind = run.start('home-web', ['chroot', root, ...nginx], place);
  const haproxy = run.start(
    'home-haproxy',
    ['chroot', root, '/usr/sbin/haproxy', '-db', '-f', '/tmp/haproxy.cfg'],
    place,
  );
  await waitFor(
    "home's web servers",
    async () =>
      (await run.run(
        ['curl', '-sS', '--max-time', '2', `http://${address}:${webPorts.httpBare}/`],
        place,
      )) === `for ${address} over HTTP/1.1`,
    { timeoutMs: 20_000, context: async () => `${await behind.log()}\n${await haproxy.log()}` },
  );
  return { caFile, log: () => haproxy.log() };
}
