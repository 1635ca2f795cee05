/** Builds the bed's bases where the cache does not have them, so that nodes that are booted at once find them there. */
import { ensureNodeBase } from './root.ts';
import { Run } from './run.ts';

const run = Run.open();
try {
  for (const suite of ['trixie', 'bookworm'] as const) {
    const { rootDir } = await ensureNodeBase(suite, run, (line) => process.stdout.write(`${line}\n`));
    process.stdout.write(`the base of ${suite} is ${rootDir}\n`);
  }
} finally {
  run.end();
}
