/**
 * Reads zerotier-one's answers (as of 1.14) into the contract's shapes. Unknown extra fields are let through, a field that
 * is missing or of a wrong type is an error naming it, and nothing that a network's owner may choose freely gets further
 * than here unchecked: names end up in file names, YAML and logs.
 */
import * as z from 'zod/mini';
import { SystemError } from '../error.ts';
import { canonicalAddress, canonicalCidr } from '../ip-text.ts';
import type { NetworkStatus, ZeroTierNetwork, ZeroTierPeer, ZeroTierReading } from './types.ts';

const nodeAddress = z.string().check(z.regex(/^[0-9a-f]{10}$/i));

/** Settings are what the user wrote into local.conf: ZeroTier ignores a value of a wrong type, and so does this. */
const statusAnswer = z.object({
  address: nodeAddress,
  clock: z.number(),
  version: z.string(),
  online: z.boolean(),
  config: z.object({
    settings: z.object({
      interfacePrefixBlacklist: z.optional(z.unknown()),
      listeningOn: z.optional(z.unknown()),
    }),
  }),
});

const networkAnswer = z.object({
  id: z.string().check(z.regex(/^[0-9a-f]{16}$/i)),
  name: z.string(),
  status: z.string(),
  portDeviceName: z.string().check(z.regex(/^(?!\.{1,2}$)[^\s/:\p{Cc}]{0,15}$/u)),
  mac: z.string(),
  mtu: z.number().check(z.int(), z.gte(0), z.lte(65_535)),
  assignedAddresses: z.array(z.string().check(z.refine((text) => canonicalCidr(text) !== undefined))),
  dns: z.optional(z.unknown()),
});

const peerAnswer = z.object({
  address: nodeAddress,
  paths: z.array(z.object({ lastReceive: z.number() })),
});

const pushedDns = z.object({ domain: z.string(), servers: z.array(z.string()) });

const statuses: readonly NetworkStatus[] = [
  'REQUESTING_CONFIGURATION',
  'OK',
  'ACCESS_DENIED',
  'NOT_FOUND',
  'PORT_ERROR',
  'CLIENT_TOO_OLD',
  'AUTHENTICATION_REQUIRED',
];

const domainName =
  /^(?=.{1,253}\.?$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?$/;

/** What a person may have set for a network; zerotier-one forgets it with the network. */
const networkSettings = z.object({
  allowManaged: z.optional(z.boolean()),
  allowGlobal: z.optional(z.boolean()),
  allowDefault: z.optional(z.boolean()),
  allowDNS: z.optional(z.boolean()),
});

/** Parses `text` as the answer to `path`. Throws SystemError `zerotier-unexpected`. */
function parse<T extends z.ZodMiniType>(schema: T, path: string, text: string): z.infer<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SystemError('zerotier-unexpected', `its answer to ${path} is no JSON`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const field = result.error.issues[0]?.path.map(String).join('.') ?? '';
  const what = field === '' ? 'has an unexpected shape' : `lacks a valid "${field}"`;
  throw new SystemError('zerotier-unexpected', `its answer to ${path} ${what}`);
}

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];

/** Before 1.6 there is no `dns`, and some controllers push `[]`: both mean that nothing is pushed. */
function decodeDns(value: unknown): ZeroTierNetwork['dns'] {
  const dns = pushedDns.safeParse(value);
  if (!dns.success) return { domain: '', servers: [] };
  const servers = dns.data.servers.map(canonicalAddress).filter((server) => server !== undefined);
  return { domain: domainName.test(dns.data.domain) ? dns.data.domain : '', servers };
}

function decodeNetwork(raw: z.infer<typeof networkAnswer>): ZeroTierNetwork {
  return {
    id: raw.id.toLowerCase(),
    name: raw.name.replace(/\p{Cc}+/gu, ' ').slice(0, 128),
    status: statuses.find((status) => status === raw.status) ?? 'UNKNOWN',
    portDeviceName: raw.portDeviceName,
    mac: raw.mac.slice(0, 17),
    mtuBytes: raw.mtu,
    assignedAddresses: raw.assignedAddresses.flatMap((text) => canonicalCidr(text) ?? []).sort(),
    dns: decodeDns(raw.dns),
  };
}

/** The freshness of one controller's paths by ZeroTier's own clock. */
function decodePeer(raw: z.infer<typeof peerAnswer>, clockMs: number): ZeroTierPeer {
  const newest = Math.max(0, ...raw.paths.map((path) => path.lastReceive));
  return {
    address: raw.address.toLowerCase(),
    lastReceiveAgeMs: newest > 0 ? Math.max(0, clockMs - newest) : undefined,
  };
}

/** The three answers' texts as one reading. Throws SystemError `zerotier-unexpected` with the field at fault. */
export function decodeReading(texts: {
  readonly status: string;
  readonly network: string;
  readonly peer: string;
}): Extract<ZeroTierReading, { kind: 'answered' }> {
  const status = parse(statusAnswer, '/status', texts.status);
  const networks = parse(z.array(networkAnswer), '/network', texts.network)
    .map(decodeNetwork)
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  // A network's id begins with its controller's address.
  const controllers = new Set(networks.map((network) => network.id.slice(0, 10)));
  const peers = parse(z.array(peerAnswer), '/peer', texts.peer)
    .filter((peer) => controllers.has(peer.address.toLowerCase()))
    .map((peer) => decodePeer(peer, status.clock))
    .sort((a, b) => (a.address < b.address ? -1 : 1));
  const { interfacePrefixBlacklist, listeningOn } = status.config.settings;
  return {
    kind: 'answered',
    address: status.address.toLowerCase(),
    version: status.version.replace(/[^\w.+-]/g, '').slice(0, 32),
    online: status.online,
    interfacePrefixBlacklist: strings(interfacePrefixBlacklist),
    listeningOn: strings(listeningOn),
    networks,
    peers,
  };
}

/** Whether an answer to a join is a network's object; without a tun device it is `{}`. */
export function isNetworkAnswer(text: string, networkId: string): boolean {
  return parse(z.object({ id: z.optional(z.string()) }), `/network/${networkId}`, text).id !== undefined;
}

/** The body of a join that gives a network the settings which `text`, the answer of before, tells. */
export function joinBody(text: string, networkId: string): string {
  return JSON.stringify(parse(networkSettings, `/network/${networkId}`, text));
}
