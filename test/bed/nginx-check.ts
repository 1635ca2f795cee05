/** The real `nginx -t`, of the nginx that the bed's nodes install, in a root of its own and without a network. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BedError } from './process.ts';
import { ensureBase } from './root.ts';
import { Run } from './run.ts';

/** nginx' verdict on a config: undefined where it takes it, its own words where it does not. */
export interface NginxCheck {
  check(config: string): Promise<string | undefined>;
  /** Ends everything. */
  close(): void;
}

const packages = /^(nginx|nginx-common|libnginx-mod-stream)_/;

export async function createNginxCheck(): Promise<NginxCheck> {
  const run = Run.open();
  const place = { part: 'nginx' };
  try {
    const base = await ensureBase(run);
    const at = (name: string) => join(run.dir, name);
    for (const name of ['upper', 'work', 'root']) await mkdir(at(name));
    const layers = `lowerdir=${base.rootDir},upperdir=${at('upper')},workdir=${at('work')}`;
    await run.run(['mount', '-t', 'overlay', 'overlay', '-o', layers, at('root')], place);
    const debs = (await readdir(base.aptDir)).filter((name) => packages.test(name));
    if (debs.length < 3) throw new BedError(`the base offers no nginx: ${debs.join(', ')}`);
    for (const deb of debs) await run.run(['dpkg-deb', '-x', join(base.aptDir, deb), at('root')], place);
    await mkdir(at('root/run/mooring-ingress'), { recursive: true });
  } catch (error) {
    run.end();
    throw error;
  }
  return {
    async check(config) {
      await writeFile(join(run.dir, 'root/tmp/candidate.conf'), config);
      const nginx = ['/usr/sbin/nginx', '-t', '-q', '-e', 'stderr', '-c', '/tmp/candidate.conf'];
      const { exitCode, stderr } = await run.tryRun(
        ['unshare', '-n', 'chroot', join(run.dir, 'root'), ...nginx, '-g', 'pid /tmp/nginx.pid;'],
        place,
        { timeoutMs: 30_000 },
      );
      return exitCode === 0 ? undefined : stderr;
    },
    close: () => run.end(),
  };
}
