/** What the k3s agent is to be configured with: the node's address, its name, and the config that says both. */
import type { Config } from '../../config/schema.ts';
import { renderK3sConfig } from '../render/k3s-config.ts';
import { externalIps, factKubeletArgs, factLabels, tagMeaning } from './cloud.ts';
import type { LinkState } from './link.ts';
import type { StageInput } from './stage.ts';
import { taintIdentity } from './tags.ts';

/** A link that is ready. */
export type ReadyLink = Extract<LinkState, { kind: 'ready' }>;

/** The one address that the node has in the cluster, IPv4 before IPv6; undefined while the link is not ready. */
export function nodeIp(link: LinkState | undefined): string | undefined {
  if (link?.kind !== 'ready') return undefined;
  const plain = link.addresses.map((address) => address.split('/')[0] ?? '');
  return plain.find((address) => !address.includes(':')) ?? plain[0];
}

/** The network whose link k3s is bound to. */
export function k3sNetwork({ k3s, zerotier }: Config): string {
  return k3s.network ?? zerotier.networks[0]?.id ?? '';
}

/** The text of the agent's config on this link. */
export function wantedConfig(input: StageInput, link: ReadyLink): string {
  const { config, world } = input;
  const address = nodeIp(link);
  const tags = tagMeaning(config.node, world.cloud);
  return renderK3sConfig({
    k3s: config.k3s,
    nodeIps: address === undefined ? [] : [address],
    iface: link.link.name,
    externalIps: externalIps(config.node.externalIp, world.cloud),
    nodeName: wantedNodeName(input),
    // The config has the last word; a tag cannot say that the node is elsewhere than it is.
    labels: { ...tags.labels, ...factLabels(world.cloud), ...config.k3s.labels },
    taints: distinctTaints([...config.k3s.taints, ...tags.taints]),
    kubeletArgs: factKubeletArgs(config.node, world.cloud),
  });
}

/** The first of each key and effect. */
function distinctTaints(taints: readonly string[]): readonly string[] {
  return [...Map.groupBy(taints, taintIdentity).values()].flatMap(([first]) => first ?? []);
}

/** The node's name in the cluster: from the config, or the host name. */
export function wantedNodeName({ config, memory, world }: StageInput): string {
  if (config.k3s.nodeName !== 'auto') return config.k3s.nodeName;
  // Kept from k3s' first start to the next boot: under another name it would be another node of the cluster.
  return memory.nodeName ?? world.hostname.toLowerCase();
}

/** Whether Kubernetes takes the name (RFC 1123), and it can be this node's alone. */
export function isNodeName(name: string): boolean {
  if (name === 'localhost' || name.startsWith('localhost.') || name.length > 253) return false;
  return name.split('.').every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label));
}
