/**
 * `mooring prepare-image [--force]`: empties a disk of what must not be cloned, so that each copy of it becomes a node of its own.
 *
 * Always true here: a node in use is left alone unless --force says so; what runs is stopped before its files go, so that nothing
 * writes them again; configs, programs and container images stay; what is left to decide is told.
 */
import { existsSync } from 'node:fs';
import { ingressUnit, k3sUnit, zerotierUnit } from '../agent/world.ts';
import { secretFiles } from '../config/secrets.ts';
import { SystemError } from '../systems/error.ts';
import { writeFileAtomic } from '../systems/files/atomic.ts';
import { forget, imageTraces } from '../systems/instance/forget.ts';
import { isActive, systemctl } from '../systems/systemd/systemctl.ts';
import { isController } from '../systems/zerotier/identity.ts';
import { type CliContext, exitCode } from './context.ts';
import { loadConfig } from './load-config.ts';
import { paths } from './paths.ts';

const stopDeadlineMs = 120_000;
/** Not stopped without --force: somebody may need them. */
const inUse = ['mooring.service', ingressUnit, k3sUnit];

export async function prepareImage(context: CliContext): Promise<number> {
  if (process.getuid?.() !== 0) {
    context.complain('mooring prepare-image: only root can do that');
    return exitCode.usage;
  }
  try {
    return await prepare(context);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    context.complain(error.message);
    return exitCode.notFine;
  }
}

async function prepare(context: CliContext): Promise<number> {
  // In an image build nothing runs, and there is no systemd to ask.
  const isBooted = existsSync('/run/systemd/system');
  const running = isBooted ? await activeOf(inUse) : [];
  if (running.length > 0 && context.flags['force'] !== true) {
    context.complain(
      `this node is in use (${running.join(', ')}): mooring leave first, or mooring prepare-image --force`,
    );
    return exitCode.notFine;
  }
  if (await isController(paths.zerotierHome)) {
    context.complain(
      `${paths.zerotierHome}/controller.d keeps networks as their controller, which need its identity: move it elsewhere first`,
    );
    return exitCode.notFine;
  }
  const loaded = await loadConfig(context.configFile);
  const secrets = loaded.kind === 'none' ? [] : secretFiles(loaded.config).filter((path) => existsSync(path));
  if (isBooted) {
    await systemctl(['stop', ...inUse, 'mooring-zerotier-token.path'], stopDeadlineMs);
    if (await isActive(zerotierUnit)) await systemctl(['stop', zerotierUnit], stopDeadlineMs);
  }
  // What `mooring leave` had switched off is to come up on the copies.
  await systemctl(['enable', 'mooring.service', ingressUnit], stopDeadlineMs);
  const removed = await forget(imageTraces);
  await writeFileAtomic('/etc/machine-id', '', { mode: 0o444 });
  for (const path of [...removed, '/etc/machine-id (emptied)']) context.print(`removed ${path}`);
  context.print('');
  context.print(
    'Shut down now and take the image: zerotier-one and mooring, started here, would settle in again.',
  );
  for (const path of secrets) context.print(`A secret stays in the image: ${path}`);
  context.print(
    'SSH host keys stay: cloud-init makes new ones on each instance; without it, remove /etc/ssh/ssh_host_* and have ssh-keygen -A run at boot.',
  );
  return exitCode.fine;
}

async function activeOf(units: readonly string[]): Promise<readonly string[]> {
  const active = await Promise.all(units.map(isActive));
  return units.filter((_, i) => active[i]);
}
