/**
 * Finds the upstreams of the ingress entries that name a Service in the cluster. What is known serves, however the cluster is now;
 * an entry of which nothing is known is left out until it is.
 */
import type { Config } from '../../config/schema.ts';
import type { ServiceReading, ServicesAim } from '../../systems/cluster/service-types.ts';
import type { ClusterTrouble } from '../../systems/cluster/types.ts';
import type { Finding } from '../conditions.ts';
import type { Memory } from '../memory.ts';
import {
  followed,
  hostOf,
  ownerOf,
  portWords,
  type RememberedNodePort,
  type ServedEntry,
  served,
  servicePortOf,
  tried,
  wishOf,
} from '../upstreams.ts';
import { k3sUnit } from '../world.ts';
import { k3sNetwork, nodeIp } from './k3s-wanted.ts';
import type { LinkState } from './link.ts';
import { earliest, isFalse, isTrue, isUnknown, type StageInput, type StageResult } from './stage.ts';

/** What was found for one entry. */
export interface FoundUpstreams {
  /** The entry's name. */
  readonly listener: string;
  readonly service: string;
  /** The Service's port in words. */
  readonly port: string;
  /** None where nothing is known. */
  readonly upstreams: readonly string[];
  /** Whether the Service is watched and has this port now. */
  readonly isLive: boolean;
  /** Unix ms of the newest answer about the Service. */
  readonly asOfMs: number | undefined;
  /** Why there are none. */
  readonly missing: string | undefined;
  /** The Service is there and has no such port, so that nobody could serve it. */
  readonly isAbsent: boolean;
}

export interface UpstreamsResult extends StageResult {
  readonly findings: { readonly UpstreamsFound: Finding };
  /** The entries that nginx can serve, each with a list of upstreams. */
  readonly entries: readonly ServedEntry[];
  readonly found: readonly FoundUpstreams[];
  /** What is to be followed from now on. */
  readonly services: ServicesAim;
}

/** Where nobody can look: the entries as they are, and nothing to follow. */
export const nothingFound = ({
  ingress,
}: Config): Pick<UpstreamsResult, 'services' | 'found' | 'entries'> => ({
  services: { wanted: [], run: undefined, path: '', address: undefined },
  found: [],
  entries: ingress,
});

const unknownService: ServiceReading = {
  ports: [],
  asOfMs: undefined,
  state: { kind: 'unasked' },
  reach: { tcp: undefined, udp: undefined },
  answering: [],
};

export function upstreamsStage(
  input: StageInput,
  links: Readonly<Record<string, LinkState>>,
  server: Finding,
): UpstreamsResult {
  const { config, world, memory, now } = input;
  const nodePorts: Record<string, RememberedNodePort> = {};
  const entries: ServedEntry[] = [];
  const found: FoundUpstreams[] = [];
  const link = links[k3sNetwork(config)];
  const address = nodeIp(link);
  for (const entry of config.ingress) {
    const wish = wishOf(entry);
    if (wish === undefined) {
      entries.push(entry);
      continue;
    }
    const reading = world.services[wish.service] ?? unknownService;
    const port = servicePortOf(wish, entry, reading.ports);
    const owner = port && ownerOf(port, config);
    const isLive = reading.state.kind === 'live' && port?.isTold === true;
    const about = {
      listener: entry.name,
      service: wish.service,
      port: portWords(wish, entry),
      asOfMs: reading.asOfMs,
    };
    if (port === undefined || owner !== undefined) {
      const missing =
        owner === undefined
          ? whyUnknown(about.port, reading)
          : `its NodePort ${port?.nodePort} is that of ${owner}`;
      const isAbsent = port === undefined && reading.state.kind === 'live' && reading.state.isThere;
      found.push({ ...about, upstreams: [], isLive, missing, isAbsent });
      continue;
    }
    const key = `${wish.service} ${about.port}`;
    const remembered = followed(memory.nodePorts[key], port.nodePort, now.monoMs);
    nodePorts[key] = remembered;
    const isServed = reading.answering.includes(`${port.protocol} ${port.nodePort}`);
    const host = hostOf(entry, reading, address ?? lastAddress(input));
    const listed = served(entry, host, tried(entry, remembered, isServed));
    entries.push(listed);
    found.push({ ...about, upstreams: addresses(listed), isLive, missing: undefined, isAbsent: false });
  }
  const wishes = config.ingress.flatMap((entry) => wishOf(entry) ?? []);
  const wanted = [...new Set(wishes.map(({ service }) => service))];
  const untils = Object.values(nodePorts).flatMap(({ former }) => former.map(({ untilMs }) => untilMs));
  return {
    actions: [],
    memory: { ...memory, nodePorts } satisfies Memory,
    wakeAtMs: earliest(...untils),
    findings: { UpstreamsFound: judge(input, wanted, found) },
    entries,
    found,
    services: {
      wanted,
      run: wanted.length === 0 ? undefined : runOfK3s(input),
      path: `${pathOf(link)} ${server.status === 'false' ? 'cut' : 'open'}`,
      address,
    },
  };
}

const addresses = ({ upstreams }: ServedEntry): readonly string[] =>
  Array.isArray(upstreams) ? upstreams.map((one) => (typeof one === 'string' ? one : one.address)) : [];

function whyUnknown(port: string, { ports, state }: ServiceReading): string {
  if (state.kind === 'live' && !state.isThere) return 'there is no such Service';
  return state.kind === 'live' || ports.length > 0
    ? `it has no NodePort for ${port}`
    : 'nothing is known of it yet';
}

/** What ZeroTier assigned last: while the link is away, the address stays on its device. */
function lastAddress({ config, memory }: StageInput): string | undefined {
  const assigned = memory.networks[k3sNetwork(config)]?.assignedAddresses ?? [];
  const plain = assigned.map((address) => address.split('/')[0] ?? '');
  return plain.find((one) => !one.includes(':')) ?? plain[0];
}

/** The load balancer of a running agent is the way to the API. */
function runOfK3s({ world: { units } }: StageInput): string | undefined {
  const unit = units.kind === 'answered' ? units.units[k3sUnit] : undefined;
  return unit?.activeState === 'active' ? unit.invocationId : undefined;
}

function pathOf(link: LinkState | undefined): string {
  return link?.kind === 'ready' ? `${link.link.ifindex} ${link.addresses.join(' ')}` : 'away';
}

/** The worst of all Services. Messages keep to what does not change from one answer to the next. */
function judge(input: StageInput, wanted: readonly string[], found: readonly FoundUpstreams[]): Finding {
  if (wanted.length === 0) return isTrue('NotWanted', 'every entry of the ingress lists its upstreams');
  const findings = wanted.map((service) => judgeService(input, service, found));
  return (
    findings.find(({ status }) => status === 'false') ??
    findings.find(({ status }) => status === 'unknown') ??
    isTrue(
      'Live',
      `followed in the cluster: ${found.map(({ listener, upstreams }) => `${listener} at ${upstreams.join(', ')}`).join('; ')}`,
    )
  );
}

function judgeService(input: StageInput, service: string, found: readonly FoundUpstreams[]): Finding {
  const { state, asOfMs } = input.world.services[service] ?? unknownService;
  const mine = found.filter((one) => one.service === service);
  const isKnown = mine.some(({ upstreams }) => upstreams.length > 0);
  const when = asOfMs === undefined ? '' : ` on ${new Date(asOfMs).toISOString().slice(0, 19)}Z`;
  const still = isKnown ? `the ingress goes on with what was known${when}` : 'nothing is known of it';
  switch (state.kind) {
    case 'unasked':
      return runOfK3s(input) === undefined
        ? isUnknown('WaitingForK3s', `Service ${service} is asked for while k3s runs; ${still}`)
        : isUnknown('NotAsked', `Service ${service} has not been asked for yet; ${still}`);
    case 'trouble':
      return inTrouble(state.reason, `${state.error}; ${still}`);
    case 'live': {
      if (!state.isThere)
        return isFalse('ServiceMissing', `there is no Service ${service} in the cluster; ${still}`);
      const gone = mine.filter(({ isLive, missing }) => !isLive || missing !== undefined);
      if (gone.length === 0) return isTrue('Live', '');
      const each = gone.map(
        (one) =>
          `${one.listener}: ${one.missing ?? `it has no NodePort for ${one.port} any more; the former one stays`}`,
      );
      return isFalse('NoNodePort', `Service ${service} is there, but for ${each.join('; ')}`);
    }
    default:
      return state satisfies never;
  }
}

function inTrouble(reason: ClusterTrouble, words: string): Finding {
  switch (reason) {
    case 'no-credentials':
      return isFalse('NoCredentials', words);
    case 'refused':
      return isFalse('Refused', words);
    case 'away':
      return isFalse('ApiAway', words);
    case 'unusable':
      return isFalse('Unusable', words);
    default:
      return reason satisfies never;
  }
}

/** The words for an entry that is left out. */
const leftOut = ({ listener, service, missing }: FoundUpstreams): string =>
  `${listener} (Service ${service}: ${missing})`;

/** Which entries are left out; undefined where none is. `isTheirs`: the cluster has nothing to serve them with. */
export function whatIsLeftOut(
  found: readonly FoundUpstreams[],
): { readonly words: string; readonly isTheirs: boolean } | undefined {
  const missing = found.filter((one) => one.missing !== undefined);
  if (missing.length === 0) return undefined;
  return {
    words: `left out: ${missing.map(leftOut).join(', ')}`,
    isTheirs: missing.every(({ isAbsent }) => isAbsent),
  };
}
