/** The real `nginx -t`, of the nginx that the bed's nodes install, in a root of its own and without a network. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Run } from './run.ts';
import { nginxPackages, unpackedRoot } from './unpacked-root.ts';

/** nginx' verdict on a config: undefined where it takes it, its own words where it does not. */
export interface NginxCheck {
  check(config: string): Promise<string | undefined>;
  /** The same of nft on rules. */
  checkRules(rules: string): Promise<string | undefined>;
  /** Ends everything. */
  close(): void;
}

/** `nginx -t` opens the sockets: here every address counts as the host's own. */
const anyAddress =
  'for family in ipv4 ipv6; do echo 1 >/proc/sys/net/$family/ip_nonlocal_bind; done; exec "$@"';

export async function createNginxCheck(): Promise<NginxCheck> {
  const run = Run.open();
  const place = { part: 'nginx' };
  let root: string;
  try {
    root = await unpackedRoot(run, 'nginx', nginxPackages);
    await mkdir(join(root, 'run/mooring-ingress'), { recursive: true });
  } catch (error) {
    run.end();
    throw error;
  }
  return {
    async check(config) {
      await writeFile(join(root, 'tmp/candidate.conf'), config);
      const nginx = ['/usr/sbin/nginx', '-t', '-q', '-e', 'stderr', '-c', '/tmp/candidate.conf'];
      const { exitCode, stderr } = await run.tryRun(
        [
          'unshare',
          '-n',
          'sh',
          '-ec',
          anyAddress,
          'sh',
          'chroot',
          root,
          ...nginx,
          '-g',
          'pid /tmp/nginx.pid;',
        ],
        place,
        { timeoutMs: 30_000 },
      );
      return exitCode === 0 ? undefined : stderr;
    },
    async checkRules(rules) {
      await writeFile(join(root, 'tmp/limits.nft'), rules);
      const nft = ['/usr/sbin/nft', '-c', '-f', '/tmp/limits.nft'];
      const { exitCode, stderr } = await run.tryRun(['unshare', '-n', 'chroot', root, ...nft], place, {
        timeoutMs: 30_000,
      });
      return exitCode === 0 ? undefined : stderr;
    },
    close: () => run.end(),
  };
}
