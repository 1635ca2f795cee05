/**
 * Whether each other node of the cluster has its route through flannel. flannel makes one for each Node object that a vxlan flannel
 * has registered on, whether or not that node is Ready, and takes it away with the object (flannel, pkg/subnet/kube/kube.go,
 * pkg/backend/vxlan/vxlan_network.go).
 *
 * Always true here: what is known of a node from before its route was gone proves nothing, since the node may have left with it.
 */
import type { ClusterNode, ClusterReading } from '../../systems/cluster/types.ts';
import type { FlannelDevice } from '../../systems/netlink/types.ts';

/** What the cluster knows to be there and the kernel does not have. */
export interface MissingRoute {
  readonly node: string;
  readonly network: string;
  /** The device that it should go through. */
  readonly device: string;
  /** Monotonic ms at which the cluster knew it. */
  readonly atMs: number;
}

/** How long an answer about a node whose route is missing is good for. */
const freshMs = 60_000;

/** The routes that are missing, through the devices that are there. */
export function missingRoutes(
  { own, nodes }: Extract<ClusterReading, { kind: 'nodes' }>,
  devices: readonly FlannelDevice[],
): readonly MissingRoute[] {
  const ways = devices.map(({ name, routes, direct }) => ({
    name,
    isIpv6: name.startsWith('flannel-v6.'),
    routed: new Set([...routes, ...direct]),
  }));
  return nodes
    .filter(({ name }) => name !== own)
    .flatMap((node) =>
      flannelNetworks(node).flatMap((network) => {
        const way = ways.find(({ isIpv6 }) => isIpv6 === network.includes(':'));
        if (way === undefined || way.routed.has(network)) return [];
        return [{ node: node.name, network, device: way.name, atMs: node.atMs }];
      }),
    );
}

/** The networks of a node that the other nodes' flannel makes routes to. */
export function flannelNetworks({ flannel, podNetworks }: ClusterNode): readonly string[] {
  if (flannel?.backend !== 'vxlan') return [];
  return podNetworks.filter((network) => (network.includes(':') ? flannel.ipv6 : flannel.ipv4));
}

/** Since when each node's route is missing: those of before keep their time. */
export function unroutedSince(
  missing: readonly MissingRoute[],
  before: Readonly<Record<string, number>>,
  nowMs: number,
): Readonly<Record<string, number>> {
  const names = [...new Set(missing.map(({ node }) => node))];
  const isSame = names.length === Object.keys(before).length && names.every((name) => name in before);
  return isSame ? before : Object.fromEntries(names.map((name) => [name, before[name] ?? nowMs]));
}

/** Which of the missing are certain, and which nodes are to be asked about. */
export function judged(
  missing: readonly MissingRoute[],
  since: Readonly<Record<string, number>>,
  nowMs: number,
): { readonly certain: readonly MissingRoute[]; readonly doubted: readonly string[] } {
  const isCertain = ({ node, atMs }: MissingRoute) => atMs >= (since[node] ?? nowMs);
  const isOld = (route: MissingRoute) => !isCertain(route) || nowMs - route.atMs >= freshMs;
  return {
    certain: missing.filter(isCertain),
    doubted: [...new Set(missing.filter(isOld).map(({ node }) => node))],
  };
}
