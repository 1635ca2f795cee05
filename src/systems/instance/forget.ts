/**
 * Takes away what makes a node this one node, so that a copy of its disk becomes another: of ZeroTier, of k3s' agent, of mooring.
 * What an image should keep stays: programs, configs, container images, ZeroTier's local.conf.
 *
 * Always true here: nothing below a mount is touched, since that may be somebody's data; links are removed, not followed.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf, SystemError } from '../error.ts';

/** What is taken away below each folder; `*` stands for any text without a slash. */
export type Traces = Readonly<Record<string, readonly string[]>>;

/** Who the node is to ZeroTier: identity, tokens of its API, networks, peers. */
export const zerotierTraces: Traces = {
  '/var/lib/zerotier-one': [
    'identity.secret',
    'identity.public',
    'authtoken.secret',
    'metricstoken.secret',
    'networks.d',
    'peers.d',
    'metrics.prom',
    'zerotier-one.pid',
    'zerotier-one.port',
  ],
};

/** Who it is to the k3s server: its password, and certificates in its name. Images and containerd's store stay. */
export const k3sTraces: Traces = {
  '/etc/rancher/node': ['password'],
  '/etc/rancher/k3s/config.yaml.d': ['50-mooring.yaml'],
  '/var/lib/rancher/k3s/agent': ['*.crt', '*.key', '*.kubeconfig', 'etc'],
};

/** All that an image must not hold: also mooring's own state, cloud-init's, and what the kubelet keeps of pods. */
export const imageTraces: Traces = {
  ...zerotierTraces,
  ...k3sTraces,
  '/var/lib/kubelet': ['pods', 'pki', 'cpu_manager_state', 'memory_manager_state'],
  '/var/lib/mooring': ['*'],
  '/run/mooring': ['memory.json', 'k3s-token', 'preseeded', 'zerotier-token.sha256'],
  // As `cloud-init clean` does it: a seed stays.
  '/var/lib/cloud': ['instance', 'instances', 'data', 'sem', 'handlers'],
  '/var/log': ['cloud-init.log', 'cloud-init-output.log'],
  '/var/lib/dbus': ['machine-id'],
  '/var/lib/systemd': ['random-seed'],
};

/** Removes them below `root` and returns what was there. Throws SystemError `remove-failed` or `mounted`. */
export async function forget(traces: Traces, root = ''): Promise<readonly string[]> {
  const mounts = await mountPoints();
  const removed: string[] = [];
  for (const [folder, patterns] of Object.entries(traces)) {
    const names = await namesIn(`${root}${folder}`);
    for (const name of names.filter((one) => patterns.some((pattern) => matches(pattern, one)))) {
      const path = join(`${root}${folder}`, name);
      const mount = mounts.find((point) => point === path || point.startsWith(`${path}/`));
      if (mount !== undefined)
        throw new SystemError('mounted', `${path} is left alone, since ${mount} is mounted; umount it first`);
      try {
        await rm(path, { recursive: true, force: true });
      } catch (error) {
        throw new SystemError('remove-failed', `cannot remove ${path}: ${messageOf(error)}`, {
          cause: error,
        });
      }
      removed.push(path);
    }
  }
  return removed;
}

function matches(pattern: string, name: string): boolean {
  if (pattern === '*') return true;
  return pattern.startsWith('*') ? name.endsWith(pattern.slice(1)) : name === pattern;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return [];
    throw new SystemError('remove-failed', `cannot read ${folder}: ${messageOf(error)}`, { cause: error });
  }
}

/** Where something is mounted, by the kernel's word (proc(5), mountinfo). */
async function mountPoints(): Promise<readonly string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replace(/\\040/g, ' '))
    .filter((point) => point !== '');
}
