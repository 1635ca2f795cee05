/** Builds the base of the bed where the cache does not have it, so that nodes that are booted at once find it there. */
import { ensureBase } from './root.ts';
import { Run } from './run.ts';

const run = Run.open();
try {
  const { rootDir } = await ensureBase(run, (line) => process.stdout.write(`${line}\n`));
  process.stdout.write(`the base is ${rootDir}\n`);
} finally {
  run.end();
}
