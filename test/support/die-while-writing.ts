/**
 * A process that replaces a file and is killed at the nth thing that it does to the file system: arguments are the path, the
 * text and n. Before it does a thing it says which on standard output; what it says is whole, whenever it dies.
 */
import { promises, writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const [path = '', text = '', deadly = '0'] = process.argv.slice(2);
let done = 0;

/** Tells, and kills before the nth thing is done: each gap between two is met. */
function pass(what: string): void {
  done += 1;
  writeSync(1, `${what}\n`);
  if (done === Number(deadly)) process.kill(process.pid, 'SIGKILL');
}

const real = { ...promises };
const name = (given: unknown) =>
  String(given).endsWith('.mooring-tmp') ? 'temp' : given === path ? 'file' : 'folder';

function watched(handle: FileHandle, what: string): FileHandle {
  const { writeFile, chmod, sync, close } = handle;
  return Object.assign(handle, {
    writeFile: async (bytes: Buffer) => {
      pass(`write ${what}`);
      // As a kernel may: half of it first.
      await writeFile.call(handle, bytes.subarray(0, Math.floor(bytes.length / 2)));
      pass(`write the rest of ${what}`);
      await writeFile.call(handle, bytes.subarray(Math.floor(bytes.length / 2)));
    },
    chmod: (mode: number) => {
      pass(`chmod ${what}`);
      return chmod.call(handle, mode);
    },
    sync: () => {
      pass(`sync ${what}`);
      return sync.call(handle);
    },
    close: () => {
      pass(`close ${what}`);
      return close.call(handle);
    },
  });
}

Object.assign(promises, {
  open: async (given: string, ...rest: [string | number, number?]) => {
    pass(`open ${name(given)}`);
    return watched(await real.open(given, ...rest), name(given));
  },
  rename: (from: string, to: string) => {
    pass(`rename ${name(from)} to ${name(to)}`);
    return real.rename(from, to);
  },
  unlink: (given: string) => {
    pass(`unlink ${name(given)}`);
    return real.unlink(given);
  },
});
syncBuiltinESMExports();

const { writeFileAtomic } = await import('../../src/systems/files/atomic.ts');
await writeFileAtomic(path, text, { mode: 0o600 });
pass('done');
