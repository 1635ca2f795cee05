/**
 * The ingress' nginx: replacing its config, and learning which one is served.
 *
 * Always true here: the config in place has passed `nginx -t`, run by a unit that has the rights for it; a refused candidate
 * stays beside it to be looked at. What is served is asked of the workers, since a reload that could not bind reports success.
 */
import { access, mkdir, rename, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf, messageOf, SystemError } from '../error.ts';
import { readFileText, syncFolder, writeFileAtomic } from '../files/atomic.ts';
import type { Systemd } from '../systemd/types.ts';
import { readGeneration } from './generation.ts';
import { readMachine } from './machine.ts';
import type { Nginx } from './types.ts';

/** Where everything is; the defaults are Debian's and the package's. */
export interface NginxOptions {
  readonly systemd: Pick<Systemd, 'run'>;
  readonly configPath?: string;
  readonly candidatePath?: string;
  /** A copy of the newest config that the workers were seen to serve. */
  readonly keptPath?: string;
  /** Standard error of the check unit. */
  readonly checkLogPath?: string;
  readonly generationSocket?: string;
  readonly binaryPath?: string;
  readonly streamModulePath?: string;
  readonly checkUnit?: string;
  readonly renewUnit?: string;
  readonly renewDeadlineMs?: number;
  readonly checkDeadlineMs?: number;
  readonly generationDeadlineMs?: number;
}

const maxConfigBytes = 4 * 1024 * 1024;
const maxLogBytes = 256 * 1024;
const maxWords = 600;

/** nginx's complaints without repetitions and control characters, shortened for a condition's message. */
export function nginxWords(log: string): string {
  const lines = log.split('\n').map((line) => line.replace(/\p{Cc}+/gu, ' ').trim());
  const complaints = lines.filter((line) => /\[(emerg|alert|crit|error)\]/.test(line));
  const told = [...new Set(complaints.length > 0 ? complaints : lines)].filter((line) => line !== '');
  const words = told.map((line) => line.replace(/^(\S+ \S+ )?nginx: /, '')).join('; ');
  return words.length > maxWords ? `${words.slice(0, maxWords)}…` : words;
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/** Tells one file from another that took its place; undefined where there is none. */
async function identity(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found === undefined ? undefined : `${found.ino}:${found.size}:${Math.floor(found.mtimeMs)}`;
}

/** The ingress as installed on this host. */
export function createNginx(options: NginxOptions): Nginx {
  const configPath = options.configPath ?? '/var/lib/mooring/nginx/nginx.conf';
  const candidatePath = options.candidatePath ?? '/var/lib/mooring/nginx/candidate.conf';
  const keptPath = options.keptPath ?? '/var/lib/mooring/nginx/last-served.conf';
  const checkLogPath = options.checkLogPath ?? '/run/mooring/ingress-check.log';
  const generationSocket = options.generationSocket ?? '/run/mooring-ingress/generation.sock';
  const binaryPath = options.binaryPath ?? '/usr/sbin/nginx';
  const streamModulePath = options.streamModulePath ?? '/usr/lib/nginx/modules/ngx_stream_module.so';
  const checkUnit = options.checkUnit ?? 'mooring-ingress-check.service';
  const renewUnit = options.renewUnit ?? 'mooring-ingress-renew.service';

  /** Without this, a unit that did not get as far as nginx would be explained by an older run's words. */
  async function forgetLastCheck(): Promise<void> {
    await unlink(checkLogPath).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return;
      throw new SystemError('write-failed', `cannot remove ${checkLogPath}: ${messageOf(error)}`, {
        cause: error,
      });
    });
  }

  async function explainRefusal(result: string): Promise<SystemError> {
    const log = await readFileText(checkLogPath, maxLogBytes);
    const words = log.kind === 'present' ? nginxWords(log.text) : '';
    const why = words === '' ? `${checkUnit} ended with ${result}; see journalctl -u ${checkUnit}` : words;
    return new SystemError(
      'ingress-config-refused',
      `nginx refuses the ingress config in ${candidatePath}: ${why}`,
    );
  }

  async function swapIn(): Promise<void> {
    try {
      await rename(candidatePath, configPath);
      await syncFolder(dirname(configPath));
    } catch (error) {
      throw new SystemError('write-failed', `cannot put ${configPath} in place: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  // It stays what it is as long as the machine runs, and with it the number of workers.
  const machine = readMachine();

  return {
    async read() {
      const [binary, module, ipv6, config, kept, servingGeneration] = await Promise.all([
        identity(binaryPath),
        identity(streamModulePath),
        exists('/proc/self/net/if_inet6'),
        readFileText(configPath, maxConfigBytes),
        readFileText(keptPath, maxConfigBytes),
        readGeneration(generationSocket, options.generationDeadlineMs ?? 500),
      ]);
      const keptGeneration = kept.kind === 'present' ? generationIn(kept.text) : undefined;
      const program = binary === undefined || module === undefined ? undefined : `${binary} ${module}`;
      const installed = program !== undefined;
      return { installed, program, ipv6, machine, config, keptGeneration, servingGeneration };
    },
    async replace(text) {
      const inPlace = await readFileText(configPath, maxConfigBytes);
      if (inPlace.kind === 'present' && inPlace.text === text) return;
      await mkdir(dirname(candidatePath), { recursive: true, mode: 0o755 }).catch(() => undefined);
      await writeFileAtomic(candidatePath, text, { mode: 0o644 });
      await forgetLastCheck();
      const result = await options.systemd.run(checkUnit, options.checkDeadlineMs ?? 30_000);
      if (result !== 'done') throw await explainRefusal(result);
      await swapIn();
    },
    async renew() {
      const result = await options.systemd.run(renewUnit, options.renewDeadlineMs ?? 25_000);
      if (result === 'done') return;
      throw new SystemError(
        'ingress-not-renewed',
        `${renewUnit} ended with ${result}; see journalctl -u ${renewUnit}`,
      );
    },
    async keep() {
      const inPlace = await readFileText(configPath, maxConfigBytes);
      if (inPlace.kind === 'present') await writeFileAtomic(keptPath, inPlace.text, { mode: 0o644 });
    },
    async restore() {
      const kept = await readFileText(keptPath, maxConfigBytes);
      if (kept.kind !== 'present') throw new SystemError('ingress-nothing-kept', `there is no ${keptPath}`);
      await writeFileAtomic(configPath, kept.text, { mode: 0o644 });
    },
  };
}

/** The generation that workers with this config answer with. */
function generationIn(text: string): string | undefined {
  return /^ +return ([0-9a-f]{16});$/m.exec(text)?.[1];
}
