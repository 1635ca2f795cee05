/**
 * `mooring leave [--drain [--timeout 5m]]`: takes the node out of cluster and network, in an order in which each step still has what it needs.
 *
 * Always true here: the daemon is stopped first, and stays off over a reboot, so that nothing is put back; every step may be
 * repeated, and one that fails keeps none of the others from being done, except that with --drain nothing is torn down while pods
 * could not be moved; what only a person can do is printed as commands.
 */
import { hostname } from 'node:os';
import { parseMemory } from '../agent/memory.ts';
import { ingressUnit, k3sUnit, limitsUnit } from '../agent/world.ts';
import type { Config } from '../config/schema.ts';
import { secretPath } from '../config/secrets.ts';
import { systemNow } from '../systems/clock.ts';
import { createDrain, type Drain } from '../systems/cluster/drain.ts';
import { createController } from '../systems/controller/controller.ts';
import { messageOf, SystemError } from '../systems/error.ts';
import { loadJson, saveJson } from '../systems/files/json-file.ts';
import { removeFile } from '../systems/files/remove.ts';
import { isActive, systemctl } from '../systems/systemd/systemctl.ts';
import type { ZeroTierReading } from '../systems/zerotier/types.ts';
import { createZeroTier, type ZeroTierClient } from '../systems/zerotier/zerotier.ts';
import { type CliContext, exitCode } from './context.ts';
import { drainNode } from './drain-node.ts';
import { loadConfig } from './load-config.ts';
import { badTimeout, parseTimeout } from './parse-timeout.ts';
import { paths } from './paths.ts';
import { revertDns } from './revert-dns.ts';

/** nginx gives open connections 15 s (its unit's TimeoutStopSec=), k3s' agent ends within a few. */
const stopDeadlineMs = 120_000;
/** For one question to the Kubernetes API. */
const apiDeadlineMs = 10_000;
/** Pods have half a minute to end, most of them; disruption budgets take their time. Without --timeout. */
const drainTimeoutMs = 300_000;

export async function leave(context: CliContext): Promise<number> {
  if (process.getuid?.() !== 0) {
    context.complain('mooring leave: only root can do that');
    return exitCode.usage;
  }
  const { drain, timeout } = context.flags;
  const drainMs = parseTimeout(timeout, drainTimeoutMs);
  if (drainMs === undefined || (timeout !== undefined && drain !== true)) {
    context.complain(
      drainMs === undefined ? badTimeout(timeout) : '--timeout: allowed only together with --drain',
    );
    return exitCode.usage;
  }
  const loaded = await loadConfig(context.configFile);
  if (loaded.kind === 'none') {
    for (const problem of loaded.problems) context.complain(problem);
    return exitCode.badConfig;
  }
  const zerotier = createZeroTier({ tokenFile: `${paths.zerotierHome}/authtoken.secret` });
  try {
    return await leaveWith(context, loaded.config, zerotier, drain === true ? drainMs : undefined);
  } finally {
    await zerotier.close();
  }
}

/** `drainMs`: how long pods are given to go; undefined where they are not asked to. */
async function leaveWith(
  context: CliContext,
  config: Config,
  zerotier: ZeroTierClient,
  drainMs: number | undefined,
): Promise<number> {
  let isFine = true;
  /** Carries one step out and tells; its failure is told, too. */
  const step = async (what: string, run: () => Promise<string>) => {
    try {
      context.print(`${what}: ${await run()}`);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      context.complain(`${what}: ${messageOf(error)}`);
      isFine = false;
    }
  };
  const forPerson: string[] = [];
  const kubelet = createDrain({
    kubeconfig: `${config.k3s.config['data-dir'] ?? '/var/lib/rancher/k3s'}/agent/kubelet.kubeconfig`,
    deadlineMs: apiDeadlineMs,
  });
  const nodeName = await kubelet.nodeName().catch(() => nodeNameOf(config));

  await step('mooring.service', () => off('mooring.service'));
  // Without the daemon stopped, the rest would be put back.
  if (!isFine) return exitCode.notFine;
  if (drainMs !== undefined)
    await step('pods', () => drained(kubelet, drainMs, (line) => context.print(`pods: ${line}`)));
  if (!isFine) {
    context.complain(
      `mooring leave: nothing else is taken back while pods could not be moved. Mend that and run it again, or leave without --drain. To stay instead: systemctl enable --now mooring, and where kubectl reaches the cluster: kubectl uncordon ${nodeName}`,
    );
    return exitCode.notFine;
  }
  await step(ingressUnit, () => off(ingressUnit));
  await step('limits of new connections', async () => {
    await systemctl(['stop', limitsUnit], stopDeadlineMs);
    for (const path of paths.ingressLimits) await removeFile(path);
    return 'removed';
  });
  await step(k3sUnit, async () => {
    await systemctl(['stop', k3sUnit], stopDeadlineMs);
    return 'stopped';
  });
  await step('DNS', async () => {
    if ((await revertDns(context)) === exitCode.fine) return 'as it was before mooring';
    throw new SystemError('dns-not-reverted', 'not all of it could be reverted');
  });
  const before = await zerotier.read();
  for (const { id } of config.zerotier.networks)
    await step(`network ${id}`, async () => {
      await zerotier.leave(id);
      return 'left';
    });
  for (const { id } of config.zerotier.networks)
    await step(`member of network ${id}`, () => giveUp(config, id, before, forPerson));
  await step('generated files', async () => {
    for (const path of [paths.memory, paths.k3sToken, paths.k3sConfig]) await removeFile(path);
    return 'removed';
  });
  tellTheRest(context, nodeName, forPerson);
  return isFine ? exitCode.fine : exitCode.notFine;
}

/** New pods are kept off and those that can live elsewhere are moved. Without a running agent there is nothing to move. */
async function drained(kubelet: Drain, timeoutMs: number, tell: (line: string) => void): Promise<string> {
  if (!(await isActive(k3sUnit))) return `nothing to drain, ${k3sUnit} does not run`;
  const count = await drainNode(kubelet, { timeoutMs, tell });
  return `the node is cordoned, ${count} evicted`;
}

/** Stopped, and not started by the next boot. */
async function off(unit: string): Promise<string> {
  await systemctl(['disable', unit], stopDeadlineMs);
  await systemctl(['stop', unit], stopDeadlineMs);
  return 'stopped and disabled';
}

/** Gives the authorisation up where the config has what that takes, and notes that it was the node's own doing. */
async function giveUp(
  config: Config,
  networkId: string,
  zerotier: ZeroTierReading,
  forPerson: string[],
): Promise<string> {
  const { authorize } = config.zerotier;
  if (zerotier.kind !== 'answered')
    throw new SystemError(
      'zerotier-away',
      "zerotier-one does not tell this node's address; start it, and run this again",
    );
  const member = zerotier.address;
  const byHand = `remove member ${member} of network ${networkId} at its controller (ZeroTier Central: Members)`;
  const tokenPath = authorize && secretPath(authorize.token, process.env['CREDENTIALS_DIRECTORY']);
  if (authorize === undefined || tokenPath === undefined) {
    forPerson.push(byHand);
    return 'stays authorised, since mooring has no token for the controller here';
  }
  const controller = createController({
    controller: authorize.controller,
    tokenPath,
    leftFile: paths.left,
    now: () => systemNow().monoMs,
    random: Math.random,
  });
  const known = () => {
    const reading = controller.read().members[networkId];
    return reading?.kind === 'known' ? reading.member : undefined;
  };
  try {
    await controller.look(networkId, member);
    if (known()?.authorized !== true) return 'is not authorised';
    await controller.change(networkId, member, { authorized: false });
  } catch (error) {
    forPerson.push(byHand);
    throw error;
  }
  const left = await loadJson(paths.left);
  const kept = typeof left === 'object' && left !== null ? left : {};
  await saveJson(paths.left, { ...kept, [networkId]: known()?.lastDeauthorizedMs ?? 0 });
  return 'authorisation given up';
}

/** The name under which the cluster knows this node. */
async function nodeNameOf({ k3s }: Config): Promise<string> {
  if (k3s.nodeName !== 'auto') return k3s.nodeName;
  return parseMemory(await loadJson(paths.memory))?.nodeName ?? hostname().toLowerCase();
}

function tellTheRest(context: CliContext, nodeName: string, forPerson: readonly string[]): void {
  const lines = [
    '',
    'What is left for you, where kubectl reaches the cluster:',
    `  kubectl delete node ${nodeName}`,
    `  kubectl -n kube-system delete secret ${nodeName}.node-password.k3s --ignore-not-found`,
    'Containers of pods may still run here; a reboot ends them, or k3s-killall.sh where it is installed.',
    ...forPerson.map((line) => `At the controller: ${line}`),
    'To come back: systemctl enable mooring-ingress && systemctl enable --now mooring',
  ];
  for (const line of lines) context.print(line);
}
