/**
 * The cluster's nodes: their pod networks, and what flannel has registered on them (flannel, pkg/subnet/kube/annotations.go).
 * Unknown fields are let through and dropped; a field of a wrong type is an error that names it.
 */
import { isIPv4, isIPv6 } from 'node:net';
import * as z from 'zod/mini';
import { SystemError } from '../error.ts';
import { canonicalCidr } from '../ip-text.ts';
import type { ClusterApi } from './api.ts';
import type { ClusterNode } from './types.ts';

const node = z.object({
  metadata: z.object({
    name: z.string().check(z.regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/)),
    annotations: z.optional(z.record(z.string(), z.string())),
  }),
  spec: z.optional(
    z.object({
      podCIDR: z.optional(z.string()),
      podCIDRs: z.optional(z.array(z.string()).check(z.maxLength(16))),
    }),
  ),
});

const page = z.object({ metadata: z.object({ continue: z.optional(z.string()) }), items: z.array(node) });

/** A Node object is 5 to 15 KB, most of it the images that its kubelet tells: some 3 MB a page. */
const pageSize = 250;
const maxPageBytes = 32 * 1024 * 1024;
const maxNodeBytes = 1024 * 1024;
/** Twice what Kubernetes is made for. */
const maxNodes = 10_000;

/**
 * All nodes, page by page. Throws what the API throws, and SystemError `cluster-unexpected` for an answer that is none or too
 * many nodes.
 */
export async function listNodes(api: Pick<ClusterApi, 'get'>, atMs: number): Promise<readonly ClusterNode[]> {
  const nodes: ClusterNode[] = [];
  let next = '';
  do {
    const rest = next === '' ? '' : `&continue=${encodeURIComponent(next)}`;
    const text = await api.get(`/api/v1/nodes?limit=${pageSize}${rest}`, maxPageBytes);
    const { metadata, items } = parseAnswer(page, text);
    nodes.push(...items.map((item) => clusterNode(item, atMs)));
    next = metadata.continue ?? '';
    if (nodes.length > maxNodes)
      throw new SystemError('cluster-unexpected', `the API tells of more than ${maxNodes} nodes`);
    if (next !== '' && items.length === 0)
      throw new SystemError('cluster-unexpected', 'the API promises more nodes without end');
  } while (next !== '');
  return nodes;
}

/** One node, or undefined where the cluster has none of that name. Throws as `listNodes`. */
export async function getNode(
  api: Pick<ClusterApi, 'get'>,
  name: string,
  atMs: number,
): Promise<ClusterNode | undefined> {
  try {
    return clusterNode(parseAnswer(node, await api.get(`/api/v1/nodes/${name}`, maxNodeBytes)), atMs);
  } catch (error) {
    if (error instanceof SystemError && error.code === 'cluster-not-found') return undefined;
    throw error;
  }
}

/** What the API has answered, as text or as a part of it, in its form. Throws SystemError `cluster-unexpected`. */
export function parseAnswer<T extends z.ZodMiniType>(schema: T, answer: unknown): z.infer<T> {
  const parsed = schema.safeParse(typeof answer === 'string' ? parseJson(answer) : answer);
  if (parsed.success) return parsed.data;
  const place = parsed.error.issues[0]?.path.join('.') || 'it';
  throw new SystemError('cluster-unexpected', `the API's answer is none: ${place} has not the expected form`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SystemError('cluster-unexpected', "the API's answer is no JSON");
  }
}

function clusterNode({ metadata, spec }: z.infer<typeof node>, atMs: number): ClusterNode {
  const { name, annotations = {} } = metadata;
  const { podCIDR, podCIDRs } = spec ?? {};
  const told = podCIDRs ?? (podCIDR === undefined || podCIDR === '' ? [] : [podCIDR]);
  const podNetworks = told.map((cidr) => {
    const network = canonicalCidr(cidr);
    if (network !== undefined) return network;
    throw new SystemError('cluster-unexpected', `the API's answer is none: a pod network of node ${name}`);
  });
  const flannel = (key: string) => annotations[`flannel.alpha.coreos.com/${key}`] ?? '';
  const isRegistered = flannel('kube-subnet-manager') === 'true';
  const ipv4 = isIPv4(flannel('public-ip'));
  const ipv6 = isIPv6(flannel('public-ipv6'));
  const backend = flannel('backend-type').slice(0, 32);
  return { name, podNetworks, flannel: isRegistered ? { backend, ipv4, ipv6 } : undefined, atMs };
}
