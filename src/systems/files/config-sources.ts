/**
 * The config's files, read and not yet understood: the main file, then every `config.d/*.yaml` beside it in name order.
 * Files of other names (`.yml`, backups, hidden ones) are not read. A file that cannot be read is an error and never skipped:
 * half a config is worse than none.
 */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { codeOf, messageOf, SystemError } from '../error.ts';
import { readFileBytes } from './atomic.ts';

/** One file's text. */
export interface ConfigSource {
  readonly path: string;
  readonly text: string;
}

const maxBytes = 1024 * 1024;
const maxDropIns = 256;

async function readSource(path: string): Promise<ConfigSource> {
  const read = await readFileBytes(path, maxBytes);
  switch (read.kind) {
    case 'absent':
      throw new SystemError(
        'config-missing',
        `there is no ${path}; the package brings an example that tells what to fill in`,
      );
    case 'unreadable': {
      const code = read.error.startsWith('it is larger') ? 'config-too-large' : 'config-unreadable';
      throw new SystemError(code, `cannot read ${path}: ${read.error}`);
    }
    case 'present':
      try {
        return { path, text: new TextDecoder('utf-8', { fatal: true }).decode(read.bytes) };
      } catch (error) {
        throw new SystemError('config-unreadable', `cannot read ${path}: it is not UTF-8 text`, {
          cause: error,
        });
      }
  }
}

/** Names of the drop-ins in the order in which they are merged: by code point, as systemd orders its own. */
async function dropInNames(folder: string): Promise<string[]> {
  try {
    const names = await readdir(folder);
    return names.filter((name) => name.endsWith('.yaml') && !name.startsWith('.')).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    const why = codeOf(error) === 'ENOTDIR' ? 'it is no folder' : messageOf(error);
    throw new SystemError('config-unreadable', `cannot read ${folder}: ${why}`, { cause: error });
  }
}

/**
 * Reads them all, the main file first. Throws SystemError `config-missing` (no main file), `config-unreadable` (also for a
 * folder, pipe or dangling link at a file's place, and for text that is not UTF-8) or `config-too-large` (over 1 MiB).
 */
export async function readConfigSources(configFile: string): Promise<ConfigSource[]> {
  const sources = [await readSource(configFile)];
  const folder = join(dirname(configFile), 'config.d');
  const names = await dropInNames(folder);
  if (names.length > maxDropIns) {
    throw new SystemError(
      'config-too-large',
      `${folder} holds ${names.length} files; at most ${maxDropIns} are read`,
    );
  }
  for (const name of names) sources.push(await readSource(join(folder, name)));
  return sources;
}
