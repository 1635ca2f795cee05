/** The k3s agent's files: its executable, mooring's part of its config, and the copy of its token. */
import { stat } from 'node:fs/promises';
import { messageOf, SystemError } from '../error.ts';
import { readFileText, writeFileAtomic } from '../files/atomic.ts';
import { readSecret } from '../files/secret.ts';
import type { K3sFiles, SecretReading } from './types.ts';

/** Where they are. */
export interface K3sPaths {
  readonly binaryPath: string;
  /** mooring's own drop-in in k3s' `config.yaml.d`. */
  readonly configPath: string;
  /** Undefined where the config names a systemd credential that was not passed on. */
  readonly tokenSourcePath: string | undefined;
  readonly tokenCopyPath: string;
}

const maxConfigBytes = 1024 * 1024;
const tokenMode = 0o600;

/** Size, time and inode tell a replaced executable from the same one without reading its 70 MB. */
async function identifyBinary(path: string): Promise<string | undefined> {
  try {
    const found = await stat(path);
    if (!found.isFile() || (found.mode & 0o111) === 0) return undefined;
    return `${found.size}:${Math.floor(found.mtimeMs)}:${found.ino}`;
  } catch {
    return undefined;
  }
}

/** The files of one k3s agent. */
export function createK3sFiles(paths: K3sPaths): K3sFiles {
  async function sourceToken(): Promise<string> {
    if (paths.tokenSourcePath === undefined) {
      throw new SystemError(
        'secret-missing',
        'the systemd credential for the k3s token was not passed to mooring; add LoadCredential= to mooring.service',
      );
    }
    return (await readSecret(paths.tokenSourcePath)).text;
  }

  async function readToken(): Promise<SecretReading> {
    try {
      const [source, copy] = await Promise.all([sourceToken(), readFileText(paths.tokenCopyPath, 65_536)]);
      const copyInSync = copy.kind === 'present' && copy.mode === tokenMode && copy.text === source;
      return { kind: 'present', copyInSync };
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return { kind: 'missing', error: messageOf(error) };
    }
  }

  return {
    async read() {
      const [binary, config, token] = await Promise.all([
        identifyBinary(paths.binaryPath),
        readFileText(paths.configPath, maxConfigBytes),
        readToken(),
      ]);
      return { binary, config, token };
    },
    async writeConfig(text) {
      await writeFileAtomic(paths.configPath, text, { mode: 0o600 });
    },
    async copyToken() {
      await writeFileAtomic(paths.tokenCopyPath, await sourceToken(), { mode: tokenMode });
    },
  };
}
