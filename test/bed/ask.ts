/** Questions to mooring that several tests ask: why a condition is what it is, what a metric counts, what is configured. */
import type { Bed } from './bed.ts';
import { BedError, waitFor } from './process.ts';

const configFile = '/etc/mooring/config.yaml';

/** Waits until a condition has this reason and returns its message. */
export function waitForReason(bed: Bed, type: string, reason: string, timeoutMs: number): Promise<string> {
  return waitFor(
    `${type} to be ${reason}`,
    async () =>
      (await bed.status())?.conditions.find((one) => one.type === type && one.reason === reason)?.message,
    { timeoutMs, everyMs: 200, context: () => bed.report() },
  );
}

/** One series of the running mooring, named as in the text format, such as `up{a="b"}`; 0 where it is not there. */
export async function metric(bed: Bed, series: string): Promise<number> {
  const text = await bed.node.run(['curl', '-sSf', '--max-time', '5', 'http://127.0.0.1:9810/metrics']);
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}

/** Replaces the node's config by one made of what it is now. Throws where nothing would change. */
export async function editConfig(bed: Bed, edit: (text: string) => string): Promise<void> {
  const former = await bed.node.run(['cat', configFile]);
  const next = edit(former);
  if (next === former) throw new BedError(`the edit of ${configFile} changes nothing`);
  await bed.node.writeFile(configFile, next.endsWith('\n') ? next : `${next}\n`);
}

/** Has mooring take the config that is on disk, as a person would. It has looked at it when this returns. */
export async function reload(bed: Bed): Promise<void> {
  const accepted = await askForReload(bed);
  if (!accepted) throw new BedError('mooring refuses the config');
}

/** As reload, for a config that is bad. */
export async function reloadRefused(bed: Bed): Promise<void> {
  const accepted = await askForReload(bed);
  if (accepted) throw new BedError('systemctl reload takes a bad config for a good one');
}

async function askForReload(bed: Bed): Promise<boolean> {
  const total = async () =>
    (await metric(bed, 'mooring_config_loads_total{result="accepted"}')) +
    (await metric(bed, 'mooring_config_loads_total{result="refused"}'));
  const before = await total();
  const { exitCode } = await bed.node.tryRun(['systemctl', 'reload', 'mooring.service']);
  await waitFor('mooring to look at its config', async () => (await total()) > before, {
    timeoutMs: 15_000,
    context: () => bed.report(),
  });
  return exitCode === 0;
}
