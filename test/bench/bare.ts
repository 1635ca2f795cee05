/**
 * The bare runtime: a copy of the packaged unit in which the packaged Node.js, with the same flags and in the same
 * confinement, runs a script that does nothing but keep a timer. What mooring costs is measured against it.
 */
import type { BedNode } from '../bed/node.ts';
import { BedError, waitFor } from '../bed/process.ts';

export const bareUnit = 'mooring-bench-bare.service';
const folder = '/var/lib/mooring-bench-bare';
const script = `${folder}/idle.cjs`;
const mark = '/run/mooring-bench-bare/started';

/** Tells when it began to run, in ns of CLOCK_MONOTONIC, which is systemd's monotonic clock too. */
const idleScript = `const began = process.hrtime.bigint();
require('node:fs').writeFileSync('${mark}', String(began));
setInterval(() => undefined, 60_000);
`;

/** Writes unit and script; does not start it. */
export async function installBare(node: BedNode): Promise<void> {
  const packaged = await node.run(['cat', '/usr/lib/systemd/system/mooring.service']);
  const execStart = /^ExecStart=(\/usr\/lib\/mooring\/node .*)\/usr\/lib\/mooring\/mooring\.cjs run$/m;
  if (!execStart.test(packaged)) throw new BedError('mooring.service does not start the way the bench knows');
  const unit = packaged
    .replace(execStart, `ExecStart=$1${script}`)
    .replace(/^Type=notify$/m, 'Type=exec')
    .replace(/^(State|Runtime|Cache)Directory=mooring( .*)?$/gm, '$1Directory=mooring-bench-bare')
    .replace('NODE_COMPILE_CACHE=/var/cache/mooring', 'NODE_COMPILE_CACHE=/var/cache/mooring-bench-bare')
    .replace(/^(WatchdogSec|Restart|ExecReload|Documentation)=.*\n/gm, '')
    .replace(/^Description=.*$/m, 'Description=The bare runtime, to measure mooring against');
  await node.writeFile(script, idleScript);
  await node.writeFile(`/run/systemd/system/${bareUnit}`, unit);
  await node.run(['systemctl', 'daemon-reload']);
}

/** Restarts it; µs from the unit's start to the first line of its script. */
export async function restartBare(node: BedNode): Promise<number> {
  await node.run(['rm', '-f', mark]);
  await node.run(['systemctl', 'restart', bareUnit]);
  const beganUs = await waitFor(
    'the bare runtime to run its script',
    async () => {
      const text = await node.run(['cat', mark]);
      return text === '' ? undefined : Number(BigInt(text) / 1000n);
    },
    { timeoutMs: 20_000, everyMs: 50 },
  );
  return beganUs - Number(await node.unitProperty(bareUnit, 'InactiveExitTimestampMonotonic'));
}
