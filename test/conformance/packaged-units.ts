/**
 * All of the package's units on a bare node, with small programs in place of what they run: whether its systemd understands and
 * can carry out what is written in them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RootFile } from './real-node.ts';

const folder = join(import.meta.dirname, '../../packaging/systemd');
const unitFolder = '/usr/lib/systemd/system';

/** Their names. */
export const packagedUnits: readonly string[] = readdirSync(folder).filter((name) =>
  /\.(service|path|target)$/.test(name),
);

/** A unit with a key that does not exist, so that it shows whether such a key is noticed. */
export const wrongUnit = 'wrong.service';

/** The daemon has been given one empty line: no token yet. It says that it is ready, and stays. */
const daemonProgram = `#!/bin/sh
case "$*" in *" run") ;; *) exit 0 ;; esac
test "$(od -An -c "$CREDENTIALS_DIRECTORY/zerotier-authtoken" | tr -d ' ')" = '\\n' || exit 1
systemd-notify --ready
exec sleep 600
`;

const nothing: Pick<RootFile, 'text' | 'mode'> = { text: '#!/bin/sh\nexit 0\n', mode: 0o755 };

/** The units, what they run, and what their conditions ask for. */
export const packagedFiles: readonly RootFile[] = [
  ...[...packagedUnits, 'nginx.service.d/50-mooring.conf'].map((name) => ({
    path: `${unitFolder}/${name}`,
    text: readFileSync(join(folder, name), 'utf8'),
  })),
  { path: `${unitFolder}/nginx.service`, text: '[Service]\nExecStart=/usr/sbin/nginx\n' },
  { path: `${unitFolder}/${wrongUnit}`, text: '[Service]\nExecStart=/bin/true\nProtectSytem=strict\n' },
  { path: '/usr/lib/mooring/node', text: daemonProgram, mode: 0o755 },
  ...[
    '/usr/bin/mooring',
    '/usr/sbin/nginx',
    '/usr/sbin/nft',
    '/usr/lib/mooring/ingress-limits',
    '/usr/lib/mooring/ingress-renew',
    '/usr/sbin/modprobe',
  ].map((path) => ({ path, ...nothing })),
  { path: '/etc/mooring/config.yaml', text: '' },
  { path: '/var/lib/mooring/nginx/candidate.conf', text: '' },
  { path: '/var/lib/mooring/nginx/limits.nft', text: '' },
];

/** Those that can be run one after the other, the daemon first: its folder in /run is the others' as well. The target would start k3s. */
export const runnable: readonly string[] = [
  'mooring.service',
  'mooring-zerotier-preseed.service',
  'mooring-zerotier-token.service',
  'mooring-zerotier-token.path',
  'mooring-ingress-check.service',
  'mooring-ingress-renew.service',
  'mooring-ingress-limits.service',
  'mooring-wait.service',
];
