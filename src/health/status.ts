/** The status document: what `/status` and `mooring status --json` give. It never holds a secret. */
import type { Condition } from '../agent/conditions.ts';
import type { Plan } from '../agent/plan.ts';
import type { World } from '../agent/world.ts';

/** A condition with its time as RFC 3339 text. */
export type PublishedCondition = Omit<Condition, 'sinceMs'> & { readonly since: string };

/** One network and its link. */
export interface PublishedNetwork {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly device: string;
  readonly ifindex: number | undefined;
  readonly addresses: readonly string[];
  readonly mtuBytes: number | undefined;
  readonly link: string;
  /** How long ago ZeroTier heard from the network's controller; undefined where it never did, or nobody knows. */
  readonly controllerHeardSecondsAgo: number | undefined;
  readonly flaps: number;
  readonly outages: number;
}

export interface PublishedBudget {
  /** A unit, or `zerotier.rejoin:` and a network. */
  readonly name: string;
  readonly left: number;
  readonly of: number;
  /** RFC 3339 text; undefined where a restart may happen now. */
  readonly withheldUntil: string | undefined;
}

/** What was found in the cluster for an entry of the ingress. */
export interface PublishedUpstreams {
  readonly listener: string;
  readonly service: string;
  readonly port: string;
  readonly upstreams: readonly string[];
  /** Followed in the cluster, last known, or unknown. */
  readonly state: 'live' | 'last-known' | 'unknown';
  /** RFC 3339 text; undefined where the cluster never told. */
  readonly asOf: string | undefined;
}

/** A file that the config pins by its hash. */
export interface PublishedFile {
  readonly name: string;
  readonly version: string;
  readonly state: string;
  /** Of a download that is under way. */
  readonly bytes: number | undefined;
  readonly totalBytes: number | undefined;
}

/** What one listener of the ingress has seen since mooring's start. */
export interface PublishedListener {
  readonly name: string;
  readonly protocol: string;
  /** Accepted. */
  readonly connections: number;
  /** undefined where nobody knows. */
  readonly open: number | undefined;
  /** From and to the clients, of sessions that ended. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Those that ended, by result. */
  readonly sessions: Readonly<Record<string, number>>;
  /** Tries that came to nothing, by server. */
  readonly upstreamFailures: Readonly<Record<string, number>>;
}

export interface StatusDocument {
  readonly version: string;
  readonly time: string;
  readonly ready: boolean;
  /** One sentence, the same as systemd's STATUS. */
  readonly sentence: string;
  readonly hostname: string;
  readonly zerotierAddress: string | undefined;
  readonly conditions: readonly PublishedCondition[];
  readonly networks: readonly PublishedNetwork[];
  readonly k3s: {
    readonly state: string;
    readonly nodeIp: string | undefined;
    readonly restarts: Readonly<Record<string, number>>;
    /** Runs of k3s that began without mooring's asking, since boot. */
    readonly unaskedStarts: number;
    /** The files that the config pins; none where it pins nothing. */
    readonly pinned: readonly PublishedFile[];
  };
  /** What is left of each budget for restarts that was drawn from. */
  readonly budgets: readonly PublishedBudget[];
  /** What answers beyond the link, as of the newest question. */
  readonly home: {
    readonly server: string;
    readonly trust: string | undefined;
    readonly latencyMs: number | undefined;
    readonly error: string | undefined;
    readonly dns: string;
  };
  readonly ingress: {
    readonly state: string;
    readonly generation: string | undefined;
    /** Entries whose upstreams are found in the cluster. */
    readonly found: readonly PublishedUpstreams[];
    readonly listeners: readonly PublishedListener[];
  };
  readonly cloud: Readonly<Record<string, string>>;
}

/** Builds the document of one pass; `listeners` as they were last looked at. */
export function statusDocument(
  result: Plan,
  world: World,
  version: string,
  units: { k3s: string; ingress: string },
  listeners: readonly PublishedListener[] = [],
): StatusDocument {
  const ready = result.conditions.some(
    (condition) => condition.type === 'Ready' && condition.status === 'true',
  );
  const states = world.units.kind === 'answered' ? world.units.units : {};
  return {
    version,
    time: new Date().toISOString(),
    ready,
    sentence: sentenceOf(result, ready),
    hostname: world.hostname,
    zerotierAddress: world.zerotier.kind === 'answered' ? world.zerotier.address : undefined,
    conditions: result.conditions.map(({ sinceMs, ...condition }) => ({
      ...condition,
      since: new Date(sinceMs).toISOString(),
    })),
    networks: Object.keys(result.links).map((id) => networkOf(id, result, world)),
    k3s: {
      state: states[units.k3s]?.activeState ?? 'unknown',
      nodeIp: result.nodeIp,
      restarts: { ...result.memory.restarts },
      unaskedStarts: result.memory.unaskedStarts,
      pinned: pinnedOf(world),
    },
    budgets: result.allowances.map(({ name, left, of, withheldUntilMs }) => ({
      name,
      left,
      of,
      withheldUntil: withheldUntilMs === undefined ? undefined : new Date(withheldUntilMs).toISOString(),
    })),
    home: homeOf(world),
    ingress: {
      state: states[units.ingress]?.activeState ?? 'unknown',
      generation: world.ingress.servingGeneration,
      found: result.upstreams.map(({ listener, service, port, upstreams, isLive, asOfMs }) => ({
        listener,
        service,
        port,
        upstreams,
        state: upstreams.length === 0 ? 'unknown' : isLive ? 'live' : 'last-known',
        asOf: asOfMs === undefined ? undefined : new Date(asOfMs).toISOString(),
      })),
      listeners,
    },
    cloud: cloudOf(world),
  };
}

/** The document with the listeners as they are now. */
export function withListeners(
  document: StatusDocument,
  listeners: readonly PublishedListener[],
): StatusDocument {
  return { ...document, ingress: { ...document.ingress, listeners } };
}

/** What a person wants to know of a listener first, in words: `12 open, 345 accepted, 2 denied; 1.5 MB in, 20.0 MB out`. */
export function wordsOf({
  open,
  connections,
  sessions,
  receivedBytes,
  sentBytes,
}: PublishedListener): string {
  const troubles = Object.entries(sessions)
    .filter(([result, number]) => result !== 'ok' && number > 0)
    .map(([result, number]) => `, ${number} ${result.replaceAll('_', ' ')}`);
  const isOpen = open === undefined ? '' : `${open} open, `;
  return `${isOpen}${connections} accepted${troubles.join('')}; ${shownBytes(receivedBytes)} in, ${shownBytes(sentBytes)} out`;
}

/** In thousands, as networks are counted. */
function shownBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log10(bytes) / 3));
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}

function pinnedOf({ install }: World): readonly PublishedFile[] {
  if (install.kind !== 'pinned') return [];
  return install.files.map(({ name, state, work }) => {
    const isFetching = work?.kind === 'fetching';
    return {
      name,
      version: install.version,
      state: isFetching ? 'downloading' : state,
      bytes: isFetching ? work.bytes : undefined,
      totalBytes: isFetching ? work.totalBytes : undefined,
    };
  });
}

function networkOf(id: string, result: Plan, world: World): PublishedNetwork {
  const reading =
    world.zerotier.kind === 'answered' ? world.zerotier.networks.find((one) => one.id === id) : undefined;
  const device = reading?.portDeviceName ?? result.memory.networks[id]?.device ?? '';
  const link = world.links[device];
  const remembered = result.memory.links[id];
  return {
    id,
    name: reading?.name ?? '',
    status: reading?.status ?? 'UNKNOWN',
    device,
    ifindex: link?.ifindex,
    addresses: link?.addresses ?? [],
    mtuBytes: link?.mtuBytes,
    link: result.links[id]?.kind ?? 'unknown',
    controllerHeardSecondsAgo: controllerAge(id, world),
    flaps: remembered?.flaps ?? 0,
    outages: remembered?.outages ?? 0,
  };
}

/** The first ten digits of a network's id are its controller's address. */
function controllerAge(id: string, { zerotier }: World): number | undefined {
  if (zerotier.kind !== 'answered') return undefined;
  const ageMs = zerotier.peers.find((peer) => peer.address === id.slice(0, 10))?.lastReceiveAgeMs;
  return ageMs === undefined ? undefined : Math.round(ageMs / 1000);
}

function homeOf({ home: { server, dns } }: World): StatusDocument['home'] {
  return {
    server: server.kind,
    trust: server.kind === 'reachable' ? server.trust : undefined,
    latencyMs: server.kind === 'reachable' ? server.latencyMs : undefined,
    error: server.kind === 'unreachable' || server.kind === 'untrusted' ? server.error : undefined,
    dns: dns.kind,
  };
}

function cloudOf(world: World): Readonly<Record<string, string>> {
  if (world.cloud.kind !== 'known') return {};
  return Object.fromEntries(
    Object.entries(world.cloud.facts).flatMap(([name, value]) => {
      if (value === undefined) return [];
      return [[name, typeof value === 'string' ? value : pairsOf(value)]];
    }),
  );
}

function pairsOf(tags: Readonly<Record<string, string>>): string {
  return Object.entries(tags)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}

function sentenceOf(result: Plan, ready: boolean): string {
  if (ready) return `Moored: ${result.readyAddresses.join(', ')}; DNS, k3s and ingress in place`;
  const summary = result.conditions.find((condition) => condition.type === 'Ready');
  return summary === undefined ? 'Starting' : `Not moored (${summary.reason}): ${summary.message}`;
}
