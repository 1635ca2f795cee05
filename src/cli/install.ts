/** The pinned k3s of this machine, wired to where things live. */
import { pinnedInstall } from '../config/k3s-install.ts';
import type { Config } from '../config/schema.ts';
import { createK3sInstall, type InstallPlan, type K3sInstallation } from '../systems/k3s/k3s-install.ts';
import type { Log } from '../systems/log.ts';
import type { Wake } from '../systems/wake.ts';
import { paths } from './paths.ts';

/** What the config pins for this machine. */
export const pinOf = (config: Config): InstallPlan => pinnedInstall(config.k3s, process.arch);

/** Tells configs apart that need another one. */
export const installKey = (config: Config): string =>
  JSON.stringify([pinOf(config), config.k3s.install?.stall]);

/** Begins nothing by itself. */
export function openInstall(
  config: Config,
  ears: { readonly wake: Wake; readonly log: Log },
): K3sInstallation {
  return createK3sInstall({
    plan: pinOf(config),
    stateDirectory: paths.stateDirectory,
    stallMs: config.k3s.install?.stall ?? 0,
    ...ears,
  });
}
