/**
 * The JSON Schema of the config for editors, from the schema that validates. It describes what a person writes, defaults
 * left out. It knows kinds, keys, words and defaults; what only a function can tell (`mooring check`) stands in its
 * descriptions.
 */
import * as z from 'zod/mini';
import { configSchema } from './schema.ts';

/** What each key is for. Paths as a person reads them; `[]` stands for every entry of a list. */
export const keyDescriptions: Readonly<Record<string, string>> = {
  zerotier: 'The ZeroTier networks that this node joins.',
  'zerotier.networks':
    'Networks to join, the first being the one that k3s uses if k3s.network does not say otherwise.',
  'zerotier.networks[].id': 'The network id, 16 hex digits.',
  'zerotier.networks[].dns': 'DNS of the link: auto (what the network pushes), none, or servers and domains.',
  'zerotier.interfacePrefixBlacklist': 'Prefixes of interfaces that ZeroTier must not bind to.',
  'zerotier.networks[].addresses':
    "Fixed addresses of this node, given to the controller with zerotier.authorize; the network's pools without it.",
  'zerotier.identity':
    'Where this node’s ZeroTier identity (identity.secret) is; put in place before zerotier-one’s first start.',
  'zerotier.authorize':
    'Authorises this node at its networks’ controller. A member that a person has shut out is left alone.',
  'zerotier.authorize.controller':
    'central for ZeroTier Central, or the URL of a self-hosted controller’s API.',
  'zerotier.authorize.token': 'Where the API token of the controller is.',
  'zerotier.authorize.name': 'The member’s name in ZeroTier Central; auto is the node’s name.',
  'zerotier.authorize.description':
    'The member’s description in ZeroTier Central; auto is the day, and where the cloud says that the node is.',
  'zerotier.repair':
    'What mooring does where ZeroTier says that all is well and the kernel disagrees for good, and how often. Each repair has the budget for itself.',
  'zerotier.repair.rejoin': 'Leaves and joins a network whose interface somebody deleted.',
  'zerotier.repair.restart':
    'Restarts zerotier-one where an interface is down, lacks an address or keeps a former one.',
  'zerotier.repair.patience': 'How long the two must disagree without interruption before that.',
  'zerotier.repair.grace':
    'How long an interface, or an API, that has just come may still be setting itself up: twice what was measured (5 s), and some.',
  'zerotier.repair.pause': 'How long zerotier-one must have run before a repair.',
  'zerotier.repair.budget': 'How many repairs in how long, before they are spaced out.',
  'zerotier.repair.maxDelay': 'The longest random delay between two repairs once the budget is used up.',
  dns: 'How the DNS of the links is kept.',
  'dns.repair':
    'What mooring does where systemd-resolved or systemd-networkd runs without answering on D-Bus.',
  'dns.repair.restart': 'Restarts it.',
  'dns.repair.patience': 'How long it must be missing on the bus before that.',
  k3s: 'The k3s agent of this node.',
  'k3s.server': 'The URL of the k3s server as it is reached through the network.',
  'k3s.token': 'Where the join token is read from; never the token itself.',
  'k3s.network': 'The id of the network whose link k3s binds to.',
  'k3s.nodeName': "The node's name in the cluster; auto takes the host name.",
  'k3s.withNodeId': 'Adds a suffix to the node name, where names collide across clouds.',
  'k3s.binary': 'The k3s program.',
  'k3s.install': 'A k3s of this version and hash is brought and kept in k3s.binary.',
  'k3s.install.version': "The version, as k3s' releases are named.",
  'k3s.install.sha256': 'The SHA-256 of the binary, by architecture.',
  'k3s.install.sha256.amd64': 'Of the file k3s of the release.',
  'k3s.install.sha256.arm64': 'Of the file k3s-arm64 of the release.',
  'k3s.install.url': 'Where the binary is downloaded from.',
  'k3s.install.images': "A tarball of container images for k3s to import, such as k3s' own air-gap images.",
  'k3s.install.images.sha256': 'The SHA-256 of the tarball, by architecture.',
  'k3s.install.images.url': 'Where the tarball is downloaded from.',
  'k3s.install.stall': 'A download without headway for this long is given up, and tried again later.',
  'k3s.labels': 'Labels of the node, in addition to those of the cloud and of your own k3s config.',
  'k3s.taints': 'Taints of the node, in addition to those of your own k3s config.',
  'k3s.config':
    'Any other option of k3s agent, passed through; lists are appended to those of your own k3s config.',
  'k3s.restart': 'When and how often k3s is restarted.',
  'k3s.restart.outage': 'A link that was away longer than this is a reason for a restart.',
  'k3s.restart.spread': 'After an outage of the link: over how long the restarts of many nodes are spread.',
  'k3s.restart.settle': 'How long the link must be ready before k3s is restarted.',
  'k3s.restart.budget': 'How many restarts in how long, before they are spaced out.',
  'k3s.restart.maxDelay': 'The longest wait between two restarts.',
  'k3s.probe': 'How often and how long the k3s server and the DNS of home are asked.',
  'k3s.probe.calm': 'Between two questions while all is fine.',
  'k3s.probe.eager': 'Between the first questions in doubt; grows up to two thirds of calm.',
  'k3s.probe.deadline': 'How long an answer may take.',
  'k3s.probe.controllerSilence':
    "How long ZeroTier may not have heard from the network's controller before the link counts as silent.",
  ingress: 'Ports that nginx passes on, layer 4.',
  'k3s.podNetwork': "the check of flannel's devices and routes; k3s is restarted once where they break",
  'k3s.podNetwork.check': 'whether to check at all',
  'k3s.podNetwork.grace': 'how long k3s may take after its start until flannel has its routes',
  'k3s.podNetwork.patience': 'how long a breakage must last',
  'k3s.podNetwork.refresh': "between two lists of the cluster's nodes",
  'ingress[].name': 'A name for status and metrics.',
  'ingress[].listen': 'The port.',
  'ingress[].addresses':
    'Where it can be reached: all addresses but those of ZeroTier, or the ones that are named.',
  'ingress[].protocol': 'tcp or udp.',
  'ingress[].upstreams':
    'Where connections go: a list of address:port, or of {address, weight, backup} for one that is not one of equals. Or auto, or {service: namespace/name, port}: the NodePorts of a Service, found in the cluster.',
  'ingress[].balance': 'Which upstream a client comes to.',
  'ingress[].connectTimeout':
    'How long an upstream may take to accept a connection before the next one is asked.',
  'ingress[].idleTimeout':
    'How long a connection, or a session of UDP, may be silent: 1h for TCP, 90s for UDP.',
  'ingress[].allow': 'Who may come in; everybody where the list is empty.',
  'ingress[].deny': 'Who may not come in.',
  'ingress[].connectionsPerClient': 'How many connections one address may have at once.',
  'ingress[].newConnectionsPerClient':
    'How many connections one address may open in how long; further ones are dropped by nftables.',
  'ingress[].proxyProtocol':
    'Whether to tell the upstream the address of the client: none or v1. v2 is reserved.',
  nginx: 'How large nginx is made, for all entries of the ingress together.',
  'nginx.workers': 'How many processes pass connections on: auto is one a core, at most 16.',
  'nginx.connections': 'How many connections are passed on at once: auto goes by memory and open files.',
  'nginx.shutdown': 'How long connections may live on in the former processes after a change.',
  node: 'Facts about this node.',
  'node.externalIp':
    'The public address: auto (from the cloud), none, an address, or an IPv4 and an IPv6 address.',
  'node.cloud': 'Which cloud to ask; auto asks the firmware which one this is.',
  'node.providerId': 'Whether the node carries the name that the cloud has for its instance.',
  'node.patience': "How long a first start of k3s waits for the cloud's first answer.",
  'node.tags': 'Labels and taints from the tags of the instance.',
  'node.tags.prefix': 'What the keys of these tags begin with.',
  health: 'Where metrics and status are served.',
  'health.listen': 'Addresses to listen at: loopback, zerotier, or addresses of this host.',
  'health.port': 'The port.',
};

type Json = Record<string, unknown>;

/** JSON Schema, draft 2020-12. */
export function configJsonSchema(): Json {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, { io: 'input', target: 'draft-2020-12' });
  for (const [path, description] of Object.entries(keyDescriptions)) {
    const part = partAt(schema, path);
    if (part === undefined) throw new Error(`the schema has no ${path}`);
    part['description'] = [description, part['description']]
      .filter((text) => text !== undefined)
      .join(' Allowed: ');
  }
  return {
    $schema,
    $id: 'urn:mooring:config',
    title: 'mooring: /etc/mooring/config.yaml and its drop-ins',
    ...schema,
  };
}

function partAt(schema: Json, path: string): Json | undefined {
  let part: unknown = schema;
  for (const step of path.replaceAll('[]', '.[]').split('.')) {
    const properties = isObject(part) ? part['properties'] : undefined;
    if (step === '[]') part = isObject(part) ? part['items'] : undefined;
    else part = isObject(properties) ? properties[step] : undefined;
  }
  return isObject(part) ? part : undefined;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null;
}
