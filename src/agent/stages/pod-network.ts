/**
 * Whether flannel's devices and routes are what a running k3s needs. They vanish together with the link's device, and
 * many versions of k3s never put them back; a restart of k3s does. It is asked for once a breakage: what it did not mend
 * is told, and left to a person.
 */
import type { FlannelDevice } from '../../systems/netlink/types.ts';
import type { Finding } from '../conditions.ts';
import type { Memory, RememberedPodNetwork } from '../memory.ts';
import { k3sUnit } from '../world.ts';
import { k3sNetwork } from './k3s-wanted.ts';
import type { LinkState } from './link.ts';
import { isFalse, isTrue, isUnknown, type StageInput, type StageResult } from './stage.ts';

/** How long k3s may take after its start until flannel is there. */
const graceMs = 30_000;
/** How long a breakage must last: newer versions of flannel mend some by themselves. */
const patienceMs = 10_000;

export interface PodNetworkResult extends StageResult {
  readonly findings: { readonly PodNetworkReady: Finding };
  /** A restart of k3s is due for it. */
  readonly wantsRestart: boolean;
}

type ReadyLink = Extract<LinkState, { kind: 'ready' }>;

export function podNetworkStage(
  input: StageInput,
  links: Readonly<Record<string, LinkState>>,
): PodNetworkResult {
  const { memory, now, world } = input;
  const remembered = memory.podNetwork;
  const unit = world.units.kind === 'answered' ? world.units.units[k3sUnit] : undefined;
  const link = links[k3sNetwork(input.config)];
  const answer = (
    finding: Finding,
    known: RememberedPodNetwork,
    wakeAtMs?: number,
    wantsRestart = false,
  ): PodNetworkResult => ({
    actions: [],
    memory: sameAs(remembered, known) ? memory : { ...memory, podNetwork: known },
    wakeAtMs,
    findings: { PodNetworkReady: finding },
    wantsRestart,
  });
  if (unit === undefined || unit.activeState !== 'active') {
    return answer(isUnknown('K3sNotRunning', 'flannel is looked at while k3s runs'), {
      ...remembered,
      badSinceMs: undefined,
    });
  }
  if (link?.kind !== 'ready') {
    return answer(isUnknown('WaitingForLink', 'flannel is looked at while the link is ready'), {
      ...remembered,
      badSinceMs: undefined,
    });
  }
  const devices = world.podNetwork;
  const known = note(remembered, devices, unit.invocationId);
  if (known.devices.length === 0) {
    const message =
      'no vxlan device of flannel has been seen: it has not started yet, or the cluster uses another backend';
    return answer(isTrue('NotChecked', message), known);
  }
  const problem = findProblem(known, devices, link, unit.invocationId);
  if (problem === undefined) {
    const routes = devices.map((device) => `${device.name} with ${device.routes.length} routes`).join(', ');
    return answer(isTrue('Present', `${routes} on ${link.link.name}`), {
      ...known,
      badSinceMs: undefined,
      wasAsked: false,
    });
  }
  const badSinceMs = known.badSinceMs ?? now.monoMs;
  const dueMs = Math.max(badSinceMs + patienceMs, unit.startedMs + graceMs);
  const isDue = now.monoMs >= dueMs;
  const next = known.wasAsked
    ? `a restart of k3s did not mend that; see journalctl -u ${k3sUnit}`
    : 'k3s is restarted for it, once';
  const finding = { ...problem, message: `${problem.message}; ${next}` };
  return answer(finding, { ...known, badSinceMs }, isDue ? undefined : dueMs, isDue && !known.wasAsked);
}

/** Devices are remembered until the next boot; whether there were routes, for each run of k3s. */
function note(
  before: RememberedPodNetwork,
  devices: readonly FlannelDevice[],
  run: string,
): RememberedPodNetwork {
  const names = devices.map((device) => device.name);
  const routed = devices
    .filter((device) => device.routes.length > 0)
    .map((device) => `${run} ${device.name}`);
  const kept = before.routed.filter((entry) => entry.startsWith(`${run} `));
  return {
    ...before,
    devices: [...new Set([...before.devices, ...names])].sort(),
    routed: [...new Set([...kept, ...routed])].sort(),
  };
}

function findProblem(
  known: RememberedPodNetwork,
  devices: readonly FlannelDevice[],
  link: ReadyLink,
  run: string,
): Finding | undefined {
  const addresses = link.addresses.map((cidr) => cidr.split('/')[0]);
  for (const name of known.devices) {
    const device = devices.find((candidate) => candidate.name === name);
    if (device === undefined) return isFalse('DeviceMissing', `${name} is gone`);
    if (device.parentIfindex !== link.link.ifindex)
      return isFalse('OtherParent', `${name} is bound to another device than ${link.link.name}`);
    if (device.local !== undefined && !addresses.includes(device.local))
      return isFalse('OtherAddress', `${name} sends from ${device.local}, which the link does not carry`);
    if (device.routes.length === 0 && known.routed.includes(`${run} ${name}`))
      return isFalse('RoutesMissing', `the routes to the other nodes' pods through ${name} are gone`);
  }
  return undefined;
}

function sameAs(left: Memory['podNetwork'], right: RememberedPodNetwork): boolean {
  return (
    left.devices.join() === right.devices.join() &&
    left.routed.join() === right.routed.join() &&
    left.badSinceMs === right.badSinceMs &&
    left.wasAsked === right.wasAsked
  );
}
