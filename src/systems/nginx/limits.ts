/**
 * The kernel's limits of new connections per client, loaded by a unit that may: its start and its reload give nft the wanted file,
 * and where nft refuses that, the last one that it took; a copy of what it took tells what is in force. Its stop takes all away.
 */
import { access, mkdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, messageOf, SystemError } from '../error.ts';
import { readFileText, writeFileAtomic } from '../files/atomic.ts';
import type { Systemd } from '../systemd/types.ts';
import type { Limits } from './limits-types.ts';
import { nginxWords } from './nginx.ts';

/** Where everything is; the defaults are Debian's and the package's. */
export interface LimitsOptions {
  readonly systemd: Pick<Systemd, 'resetFailed' | 'restart' | 'reload' | 'stop'>;
  readonly wantedPath: string;
  readonly lastPath: string;
  readonly loadedPath?: string;
  /** What nft said in the unit's newest run. */
  readonly saidPath?: string;
  readonly nftPath?: string;
  readonly unit?: string;
  readonly deadlineMs?: number;
}

const maxBytes = 1024 * 1024;
const everyMs = 50;

/** The limits as installed on this host. */
export function createLimits(options: LimitsOptions): Limits {
  const { systemd, wantedPath, lastPath } = options;
  const loadedPath = options.loadedPath ?? '/run/mooring-ingress-limits/loaded.nft';
  const saidPath = options.saidPath ?? '/run/mooring-ingress-limits/said';
  const nftPath = options.nftPath ?? '/usr/sbin/nft';
  const unit = options.unit ?? 'mooring-ingress-limits.service';
  const deadlineMs = options.deadlineMs ?? 10_000;

  const isLoaded = async (text: string) => {
    const loaded = await readFileText(loadedPath, maxBytes);
    return loaded.kind === 'present' && loaded.text === text;
  };
  /** Its words are wanted of this run alone. */
  const forget = async (path: string) => {
    await unlink(path).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return;
      throw new SystemError('write-failed', `cannot remove ${path}: ${messageOf(error)}`, { cause: error });
    });
  };

  return {
    async read() {
      const [installed, loaded] = await Promise.all([
        access(nftPath).then(
          () => true,
          () => false,
        ),
        readFileText(loadedPath, maxBytes),
      ]);
      return { installed, loaded };
    },
    async load(text) {
      await mkdir(dirname(wantedPath), { recursive: true, mode: 0o755 }).catch(() => undefined);
      await writeFileAtomic(wantedPath, text, { mode: 0o644 });
      await forget(saidPath);
      await systemd.resetFailed(unit);
      const before = await readFileText(loadedPath, maxBytes);
      // A reload leaves what is in force until nft has taken the new.
      if (before.kind === 'present') await systemd.reload(unit);
      else await systemd.restart(unit);
      for (let waitedMs = 0; waitedMs < deadlineMs; waitedMs += everyMs) {
        if (await isLoaded(text)) return;
        const said = await readFileText(saidPath, maxBytes);
        if (said.kind === 'present' && said.text.includes('limits are not loaded'))
          throw new SystemError('limits-refused', `nft refuses ${wantedPath}: ${nginxWords(said.text)}`);
        await sleep(everyMs);
      }
      throw new SystemError(
        'limits-refused',
        `${unit} did not load ${wantedPath}; see journalctl -u ${unit}`,
      );
    },
    async remove() {
      await forget(wantedPath);
      await forget(lastPath);
      await systemd.stop(unit);
    },
  };
}
