/**
 * `/etc/rancher/k3s/config.yaml.d/50-mooring.yaml`. k3s reads the user's config.yaml first, then this folder by name;
 * a plain key replaces what was set before, `key+` appends to it (k3s, pkg/configfilearg/parser.go). So lists that the
 * user may have as well are appended, and what binds the node to its link is replaced.
 *
 * k3s reads YAML 1.1, in which bare yes, on, 1_0 or 010 are no text: all text stands in double quotes. The same input gives
 * the same bytes, since the file's content is part of what k3s is bound to.
 */
import { isIP } from 'node:net';
import { Document, Scalar } from 'yaml';
import type { Config } from '../../config/schema.ts';
import { keepingNewest } from './newest.ts';

/** What the file is made of. */
export interface K3sConfigInput {
  readonly k3s: Config['k3s'];
  /** The link's addresses without prefix, IPv4 before IPv6; at least one. */
  readonly nodeIps: readonly string[];
  /** The link's interface. */
  readonly iface: string;
  /** Public addresses, possibly none. */
  readonly externalIps: readonly string[];
  readonly nodeName: string;
  /** All labels: what the cloud tells (region, zone, tags), overlaid by the user's own. */
  readonly labels: Readonly<Record<string, string>>;
  /** All taints, each key and effect once. */
  readonly taints: readonly string[];
  /** `name=value`; the user's own come after them, and of two the kubelet takes the last. */
  readonly kubeletArgs: readonly string[];
}

/** Where the token's copy is for k3s to read. */
export const k3sTokenFile = '/run/mooring/k3s-token';

const header = ` Written by mooring from /etc/mooring/config.yaml; changes here are overwritten.
 Your own options belong into /etc/rancher/k3s/config.yaml, or under k3s.config in mooring's config.`;

type Value = string | number | boolean;

/** The file's text. Throws where a value cannot be right, since k3s would exit on it: a fault of the caller. */
export const renderK3sConfig = keepingNewest(render);

function render(input: K3sConfigInput): string {
  const { k3s, nodeIps, iface, externalIps, nodeName } = input;
  if (nodeIps.length === 0) throw new TypeError('k3s needs a node address');
  for (const address of [...nodeIps, ...externalIps])
    if (isIP(address) === 0) throw new TypeError(`not an address: ${JSON.stringify(address)}`);
  if (!/^[^\s/\p{Cc}]{1,15}$/u.test(iface)) throw new TypeError(`not an interface: ${JSON.stringify(iface)}`);

  const options: (readonly [string, Value | readonly Value[]])[] = [
    ['server', k3s.server],
    ['token-file', k3sTokenFile],
    ['node-name', nodeName],
    ['node-ip', nodeIps],
    ['flannel-iface', iface],
  ];
  if (externalIps.length > 0) options.push(['node-external-ip', externalIps]);
  if (k3s.withNodeId) options.push(['with-node-id', true]);
  const labels = Object.entries(input.labels).map(([key, value]) => `${key}=${value}`);
  if (labels.length > 0) options.push(['node-label+', labels.sort()]);
  if (input.taints.length > 0) options.push(['node-taint+', [...input.taints].sort()]);
  for (const [key, value] of Object.entries(withKubeletArgs(k3s.config, input.kubeletArgs)).sort(
    ([a], [b]) => (a < b ? -1 : 1),
  ))
    options.push(isList(value) ? [`${key}+`, value] : [key, value]);
  return toYaml(options, k3s.binary);
}

/** The pass-through options with mooring's own arguments of the kubelet before the user's. */
function withKubeletArgs(
  options: Readonly<Record<string, Value | readonly Value[]>>,
  own: readonly string[],
): Readonly<Record<string, Value | readonly Value[]>> {
  if (own.length === 0) return options;
  const theirs = options['kubelet-arg'] ?? [];
  return { ...options, 'kubelet-arg': [...own, ...(isList(theirs) ? theirs : [theirs])] };
}

/** k3s takes no notice of the line about its binary; the unit's launcher reads it, since `ExecStart=` cannot be a variable. */
function toYaml(options: readonly (readonly [string, Value | readonly Value[]])[], binary: string): string {
  const document = new Document({}, { version: '1.2' });
  document.commentBefore = `${header}\n k3s-binary: ${binary}`;
  for (const [key, value] of options)
    document.set(key, isList(value) ? document.createNode(value.map(scalar)) : scalar(value));
  return document.toString({ lineWidth: 0, directives: false });
}

function isList(value: Value | readonly Value[]): value is readonly Value[] {
  return Array.isArray(value);
}

/** Text in double quotes; a number as its own digits in quotes where YAML 1.1 and JavaScript could write it differently. */
function scalar(value: Value): Scalar {
  const plain = typeof value === 'boolean' || (typeof value === 'number' && Number.isSafeInteger(value));
  const node = new Scalar(plain ? value : String(value));
  if (!plain) node.type = Scalar.QUOTE_DOUBLE;
  return node;
}
