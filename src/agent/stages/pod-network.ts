/**
 * Whether flannel's devices and routes are what a running k3s needs. They vanish together with the link's device, and
 * many versions of k3s never put them back; a restart of k3s does. It is asked for once a breakage: what it did not mend
 * is told, and left to a person. Where the cluster tells its nodes, each other node must have its route; else some routes
 * must be left of those that this run of k3s had.
 */
import type { ClusterAim, ClusterReading } from '../../systems/cluster/types.ts';
import type { FlannelDevice } from '../../systems/netlink/types.ts';
import type { Finding } from '../conditions.ts';
import type { Memory, RememberedPodNetwork } from '../memory.ts';
import { k3sUnit } from '../world.ts';
import { k3sNetwork } from './k3s-wanted.ts';
import type { LinkState } from './link.ts';
import { flannelNetworks, judged, type MissingRoute, missingRoutes, unroutedSince } from './remote-routes.ts';
import { isFalse, isTrue, isUnknown, type StageInput, type StageResult } from './stage.ts';

export interface PodNetworkResult extends StageResult {
  readonly findings: { readonly PodNetworkReady: Finding };
  /** A restart of k3s is due for it. */
  readonly wantsRestart: boolean;
  /** What is to be asked of the cluster's API. */
  readonly cluster: ClusterAim;
}

type ReadyLink = Extract<LinkState, { kind: 'ready' }>;

export function podNetworkStage(
  input: StageInput,
  links: Readonly<Record<string, LinkState>>,
): PodNetworkResult {
  const { memory, now, world } = input;
  const { check, grace, patience } = input.config.k3s.podNetwork;
  const remembered = memory.podNetwork;
  const unit = world.units.kind === 'answered' ? world.units.units[k3sUnit] : undefined;
  const link = links[k3sNetwork(input.config)];
  const unlooked = (finding: Finding, wanted: boolean): PodNetworkResult => ({
    actions: [],
    memory: remember(memory, { ...remembered, badSinceMs: undefined }, {}, memory.unroutedAsked),
    wakeAtMs: undefined,
    findings: { PodNetworkReady: finding },
    wantsRestart: false,
    cluster: { wanted, doubted: [] },
  });
  if (!check) return unlooked(isTrue('NotChecked', 'k3s.podNetwork.check is false'), false);
  if (unit === undefined || unit.activeState !== 'active')
    return unlooked(isUnknown('K3sNotRunning', 'flannel is looked at while k3s runs'), false);
  if (link?.kind !== 'ready')
    return unlooked(isUnknown('WaitingForLink', 'flannel is looked at while the link is ready'), true);

  const devices = world.podNetwork;
  const missing = world.cluster.kind === 'nodes' ? missingRoutes(world.cluster, devices) : [];
  const since = unroutedSince(missing, memory.unroutedSinceMs, now.monoMs);
  const { certain, doubted } = judged(missing, since, now.monoMs);
  const registered = registeredDevices(world.cluster, unit.startedMs, [
    ...remembered.devices,
    ...names(devices),
  ]);
  const known = note(remembered, devices, registered, unit.invocationId);
  const knowsNodes = world.cluster.kind === 'nodes';
  const broken =
    deviceProblem(known, devices, link) ??
    (knowsNodes ? undefined : noRoutesProblem(known, devices, unit.invocationId));
  const problem = broken ?? routeProblem(certain);
  // A breakage has a restart of its own once the one before was seen to be mended; each node's route is a breakage.
  const asked = memory.unroutedAsked.filter((name) => broken !== undefined || !knowsNodes || name in since);
  // In the run in which it was asked for it has not come about: mooring or the bus died in between.
  const hasCome = known.askedIn !== unit.invocationId;
  const isAsked = broken === undefined ? certain.every(({ node }) => asked.includes(node)) : known.wasAsked;
  const wasAsked = hasCome && isAsked;
  const answer = (
    finding: Finding,
    state: RememberedPodNetwork,
    wakeAtMs?: number,
    wantsRestart = false,
  ): PodNetworkResult => ({
    actions: [],
    memory: remember(memory, state, since, asked),
    wakeAtMs,
    findings: { PodNetworkReady: finding },
    wantsRestart,
    cluster: { wanted: true, doubted },
  });
  if (known.devices.length === 0) return answer(isTrue('NotChecked', whyNoDevice(world.cluster)), known);
  if (problem === undefined) {
    const routes = devices.map((device) => `${device.name} with ${device.routes.length} routes`).join(', ');
    const message = `${routes} on ${link.link.name}; ${eachNode(world.cluster, missing)}`;
    return answer(isTrue('Present', message), { ...known, badSinceMs: undefined, wasAsked: false });
  }
  const seenMs = Math.min(now.monoMs, ...certain.map(({ node }) => since[node] ?? now.monoMs));
  const badSinceMs = known.badSinceMs ?? (problem.reason === 'RoutesMissing' ? seenMs : now.monoMs);
  // Once there were routes in this run of k3s, flannel is no longer on its way.
  const hasBegun = known.routed.some((entry) => entry.startsWith(`${unit.invocationId} `));
  const dueMs = Math.max(badSinceMs + patience, hasBegun ? 0 : unit.startedMs + grace);
  const isDue = now.monoMs >= dueMs;
  const next = wasAsked
    ? `a restart of k3s did not mend that; see journalctl -u ${k3sUnit}`
    : 'k3s is restarted for it, once';
  const finding = { ...problem, message: `${problem.message}; ${next}` };
  const state = { ...known, badSinceMs, wasAsked: broken !== undefined && known.wasAsked };
  return answer(finding, state, isDue ? undefined : dueMs, isDue && !wasAsked);
}

const names = (devices: readonly FlannelDevice[]) => devices.map(({ name }) => name);

/**
 * Devices that nobody has seen, and that there must be: flannel in this run of k3s has registered this node for vxlan. Their names
 * are those of its default network 1.
 */
function registeredDevices(
  cluster: ClusterReading,
  startedMs: number,
  seen: readonly string[],
): readonly string[] {
  if (cluster.kind !== 'nodes') return [];
  const own = cluster.nodes.find(({ name }) => name === cluster.own);
  if (own?.flannel?.backend !== 'vxlan' || own.atMs < startedMs) return [];
  const { ipv4, ipv6 } = own.flannel;
  const wanted = [...(ipv4 ? ['flannel.1'] : []), ...(ipv6 ? ['flannel-v6.1'] : [])];
  return wanted.filter((name) => !seen.some((other) => kindOf(other) === kindOf(name)));
}

/** `flannel.1` and `flannel.7` are of one kind. */
const kindOf = (name: string) => name.replace(/\.\d+$/, '');

/** Devices are remembered until the next boot; whether there were routes, for each run of k3s. */
function note(
  before: RememberedPodNetwork,
  devices: readonly FlannelDevice[],
  registered: readonly string[],
  run: string,
): RememberedPodNetwork {
  const routed = devices
    .filter((device) => device.routes.length > 0)
    .map((device) => `${run} ${device.name}`);
  const kept = before.routed.filter((entry) => entry.startsWith(`${run} `));
  return {
    ...before,
    devices: [...new Set([...before.devices, ...names(devices), ...registered])].sort(),
    routed: [...new Set([...kept, ...routed])].sort(),
  };
}

function deviceProblem(
  known: RememberedPodNetwork,
  devices: readonly FlannelDevice[],
  link: ReadyLink,
): Finding | undefined {
  const addresses = link.addresses.map((cidr) => cidr.split('/')[0]);
  for (const name of known.devices) {
    const device = devices.find((candidate) => candidate.name === name);
    if (device === undefined) return isFalse('DeviceMissing', `${name} is gone`);
    if (device.parentIfindex !== link.link.ifindex)
      return isFalse('OtherParent', `${name} is bound to another device than ${link.link.name}`);
    if (device.local !== undefined && !addresses.includes(device.local))
      return isFalse('OtherAddress', `${name} sends from ${device.local}, which the link does not carry`);
  }
  return undefined;
}

/** All that can be told without the cluster: that there were routes, and none are left. */
function noRoutesProblem(
  known: RememberedPodNetwork,
  devices: readonly FlannelDevice[],
  run: string,
): Finding | undefined {
  const bare = devices.find(
    ({ name, routes }) => routes.length === 0 && known.routed.includes(`${run} ${name}`),
  );
  return (
    bare && isFalse('RoutesMissing', `the routes to the other nodes' pods through ${bare.name} are gone`)
  );
}

/** How many nodes a message names. */
const namedNodes = 3;

function routeProblem(certain: readonly MissingRoute[]): Finding | undefined {
  if (certain.length === 0) return undefined;
  const named = certain
    .slice(0, namedNodes)
    .map(({ node, network, device }) => `${network} of node ${node} through ${device}`);
  const more = certain.length > namedNodes ? `, and ${certain.length - namedNodes} more` : '';
  return isFalse('RoutesMissing', `no route to the pods in ${named.join(', ')}${more}`);
}

/** What is known of the single nodes, where nothing is wrong for certain. */
function eachNode(cluster: ClusterReading, missing: readonly MissingRoute[]): string {
  switch (cluster.kind) {
    case 'unasked':
      return 'the cluster has not told its nodes yet';
    case 'unknown':
      return `not checked for each node: ${cluster.error}`;
    case 'nodes': {
      const [first] = missing;
      if (first !== undefined)
        return `the route to node ${first.node} is gone; asking whether the cluster still has that node`;
      const others = cluster.nodes.filter(
        (node) => node.name !== cluster.own && flannelNetworks(node).length > 0,
      );
      return `each of ${others.length} other nodes has its route`;
    }
    default:
      return cluster satisfies never;
  }
}

function whyNoDevice(cluster: ClusterReading): string {
  const own = cluster.kind === 'nodes' ? cluster.nodes.find(({ name }) => name === cluster.own) : undefined;
  if (own?.flannel !== undefined && own.flannel.backend !== 'vxlan')
    return `flannel's backend is ${JSON.stringify(own.flannel.backend)}, whose routes are not checked`;
  if (own !== undefined && own.flannel === undefined)
    return 'flannel has not registered this node: it has not started yet, or the cluster has another pod network, which is not checked';
  return 'no vxlan device of flannel has been seen: it has not started yet, or the cluster uses another backend';
}

function remember(
  memory: Memory,
  podNetwork: RememberedPodNetwork,
  unroutedSinceMs: Memory['unroutedSinceMs'],
  unroutedAsked: Memory['unroutedAsked'],
): Memory {
  const isSame =
    sameAs(memory.podNetwork, podNetwork) &&
    Object.keys(unroutedSinceMs).join() === Object.keys(memory.unroutedSinceMs).join() &&
    unroutedAsked.join() === memory.unroutedAsked.join();
  return isSame ? memory : { ...memory, podNetwork, unroutedSinceMs, unroutedAsked };
}

function sameAs(left: Memory['podNetwork'], right: RememberedPodNetwork): boolean {
  return (
    left.devices.join() === right.devices.join() &&
    left.routed.join() === right.routed.join() &&
    left.badSinceMs === right.badSinceMs &&
    left.wasAsked === right.wasAsked
  );
}
