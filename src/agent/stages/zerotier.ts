/**
 * Stage `zerotier`: the blacklist is in force, and each configured network is joined and authorised. While ZeroTier is away, or
 * a network is not in order, its link is not ready, and the stage `link` looks again.
 */
import type { NetworkStatus, ZeroTierReading } from '../../systems/zerotier/types.ts';
import { type Action, actionKey } from '../actions.ts';
import { mayTry } from '../attempts.ts';
import type { Finding } from '../conditions.ts';
import { cleared, type Memory, without } from '../memory.ts';
import type { World } from '../world.ts';
import { authorization } from './authorize.ts';
import { earliest, isFalse, isTrue, isUnknown, type StageInput, type StageResult } from './stage.ts';

type Answered = Extract<ZeroTierReading, { kind: 'answered' }>;

/**
 * How long a network must be missing from the list before it is joined. zerotier-one answers before it has read its
 * networks (measured: 3-100 ms after its start), and a join in that window would overwrite the cached configuration.
 */
const absentBeforeJoinMs = 1_000;
const waitingMs = 3_000;

export interface ZeroTierFindings {
  readonly ZeroTierOnline: Finding;
  readonly BlacklistInForce: Finding;
  readonly NetworkAuthorized: Finding;
}

export function zerotierStage(input: StageInput): StageResult & { readonly findings: ZeroTierFindings } {
  const { world } = input;
  if (world.zerotier.kind !== 'answered') {
    const away = isUnknown('ZeroTierAway', 'zerotier-one cannot be asked');
    const findings = {
      ZeroTierOnline: notAnswering(world.zerotier),
      BlacklistInForce: away,
      NetworkAuthorized: away,
    };
    // What was missing before it went away may have been joined meanwhile: counted anew once it answers.
    const memory: Memory = { ...input.memory, absentSinceMs: {} };
    return { actions: [], memory, wakeAtMs: undefined, findings };
  }
  const remembered = rememberNetworks(input.memory, world.zerotier);
  const blacklist = blacklistOf(input, world.zerotier, remembered);
  const networks = networksOf(input, world.zerotier, blacklist.memory);
  return {
    actions: [...blacklist.actions, ...networks.actions],
    memory: networks.memory,
    wakeAtMs: earliest(blacklist.wakeAtMs, networks.wakeAtMs),
    findings: {
      ZeroTierOnline: onlineFinding(world.zerotier, world.home),
      BlacklistInForce: blacklist.finding,
      NetworkAuthorized: networks.finding,
    },
  };
}

/**
 * ZeroTier's own word comes some five seconds after each start. What came back through the link of now is as good: it cannot
 * have come otherwise, since home is asked over a ready link alone, and anew over each new one.
 */
function onlineFinding(reading: Answered, home: World['home']): Finding {
  const what = `zerotier-one ${reading.version}`;
  if (reading.online) return isTrue('Online', `${what} is online as ${reading.address}`);
  if (isLinkCarrying(home))
    return isTrue(
      'LinkCarries',
      `home answers through the link; ${what} has not told yet that it reaches a root server`,
    );
  return isFalse(
    'Offline',
    'zerotier-one runs but reaches no root server yet; check that UDP 9993 may leave this VM',
  );
}

function isLinkCarrying({ server, dns }: World['home']): boolean {
  const isServerHeard = server.kind === 'reachable' || server.kind === 'untrusted';
  return isServerHeard || dns.kind === 'answers' || dns.kind === 'refuses';
}

function notAnswering(reading: Exclude<ZeroTierReading, Answered>): Finding {
  switch (reading.kind) {
    case 'no-token':
      return isFalse(
        'NoToken',
        'zerotier-one has not written its API token yet; install it (package zerotier-one) and start zerotier-one.service',
      );
    case 'unauthorized':
      return isFalse(
        'TokenRefused',
        'zerotier-one refuses the API token; it is re-read when authtoken.secret changes: systemctl restart zerotier-one, then mooring',
      );
    case 'unreachable':
      return isFalse(
        'Unreachable',
        `zerotier-one does not answer on its local API (${reading.error}); see systemctl status zerotier-one`,
      );
    default:
      return reading satisfies never;
  }
}

/** Keeps what was learnt of each network that has a device; a network without addresses keeps its former ones. */
function rememberNetworks(memory: Memory, reading: Answered): Memory {
  const networks = { ...memory.networks };
  for (const network of reading.networks) {
    if (network.portDeviceName === '') continue;
    const configured = network.status === 'OK' || network.name !== '' || network.dns.servers.length > 0;
    const before = networks[network.id];
    networks[network.id] = {
      device: network.portDeviceName,
      configured: configured || before?.configured === true,
      assignedAddresses: configured ? network.assignedAddresses : (before?.assignedAddresses ?? []),
      mtuBytes: network.mtuBytes,
      dns: configured ? network.dns : (before?.dns ?? network.dns),
    };
  }
  return { ...memory, networks };
}

interface Part extends StageResult {
  readonly finding: Finding;
}

function blacklistOf(input: StageInput, reading: Answered, memory: Memory): Part {
  const wanted = input.config.zerotier.interfacePrefixBlacklist;
  const inForce = reading.interfacePrefixBlacklist;
  const missing = wanted.filter((prefix) => !inForce.includes(prefix));
  const action: Action = { do: 'zerotier.blacklist', prefixes: [...new Set([...inForce, ...wanted])] };
  const key = actionKey(action);
  const nowMs = input.now.monoMs;
  if (missing.length > 0) {
    const attempt = memory.attempts[key];
    const why = attempt?.error === undefined ? '' : `: ${attempt.error}`;
    return {
      actions: mayTry(attempt, nowMs) ? [action] : [],
      memory,
      wakeAtMs: nowMs + waitingMs,
      finding: isFalse(
        'NotYetInForce',
        `ZeroTier may still bind to interfaces named ${missing.join(', ')}…; asked it to change that, it takes up to 40 s${why}`,
      ),
    };
  }
  const bound = boundButExcluded(wanted, reading, input.world);
  if (bound.length > 0) {
    return {
      actions: [],
      memory: cleared(memory, [key]),
      wakeAtMs: nowMs + waitingMs,
      finding: isFalse('StillBound', `ZeroTier still listens on ${bound.join(', ')}; it lets go within 30 s`),
    };
  }
  const finding = isTrue('InForce', `ZeroTier keeps off interfaces named ${wanted.join(', ')}…`);
  return { actions: [], memory: cleared(memory, [key]), wakeAtMs: undefined, finding };
}

/** Interfaces with an excluded name whose address ZeroTier still listens on. */
function boundButExcluded(prefixes: readonly string[], reading: Answered, world: World): readonly string[] {
  const listening = new Set(reading.listeningOn.map((entry) => entry.slice(0, entry.lastIndexOf('/'))));
  return Object.values(world.links)
    .filter((link) => prefixes.some((prefix) => link.name.startsWith(prefix)))
    .filter((link) => link.addresses.some((address) => listening.has(address.split('/')[0] ?? '')))
    .map((link) => link.name);
}

function networksOf(input: StageInput, reading: Answered, memory: Memory): Part {
  const nowMs = input.now.monoMs;
  const actions: Action[] = [];
  /** Questions to a controller far away keep nothing else waiting. */
  const lastActions: Action[] = [];
  const findings: Finding[] = [];
  let wakeAtMs: number | undefined;
  let next = memory;
  for (const { id } of input.config.zerotier.networks) {
    const network = reading.networks.find((candidate) => candidate.id === id);
    const join: Action = { do: 'zerotier.join', network: id };
    if (network !== undefined) {
      next = cleared({ ...next, absentSinceMs: without(next.absentSinceMs, id) }, [actionKey(join)]);
      const own = authorization({ ...input, memory: next }, { network, member: reading.address });
      next = own.memory;
      lastActions.push(...own.actions);
      findings.push(own.finding ?? statusFinding(id, network.status, reading.address));
      continue;
    }
    const since = next.absentSinceMs[id] ?? nowMs;
    next = { ...next, absentSinceMs: { ...next.absentSinceMs, [id]: since } };
    const attempt = next.attempts[actionKey(join)];
    const atMs = Math.max(since + absentBeforeJoinMs, attempt?.notBeforeMs ?? 0);
    if (nowMs >= atMs) actions.push(join);
    else wakeAtMs = earliest(wakeAtMs, atMs);
    findings.push(isFalse('NotJoined', `joining network ${id}${attempt?.error ? `: ${attempt.error}` : ''}`));
  }
  const finding =
    findings.find((one) => one.status === 'false') ??
    findings.find((one) => one.status === 'unknown') ??
    isTrue(
      'Authorized',
      `authorised on ${input.config.zerotier.networks.map((network) => network.id).join(', ')}`,
    );
  return { actions: [...actions, ...lastActions], memory: next, wakeAtMs, finding };
}

/** Each status of zerotier-one's enum, with what a person has to do. */
function statusFinding(id: string, status: NetworkStatus, address: string): Finding {
  switch (status) {
    case 'OK':
      return isTrue('Authorized', `authorised on ${id}`);
    case 'REQUESTING_CONFIGURATION':
      return isUnknown(
        'RequestingConfiguration',
        `waiting for the controller of network ${id}; if this lasts, check that the controller ${id.slice(0, 10)} is running and that UDP 9993 may leave this VM`,
      );
    case 'ACCESS_DENIED':
      return isFalse(
        'AccessDenied',
        `network ${id} does not let this node in: authorise member ${address} at the network's controller (in ZeroTier Central: Members, tick Auth)`,
      );
    case 'NOT_FOUND':
      return isFalse(
        'NotFound',
        `network ${id} does not exist at its controller: check zerotier.networks[].id`,
      );
    case 'PORT_ERROR':
      return isFalse(
        'PortError',
        `zerotier-one cannot make the interface of network ${id}: check /dev/net/tun (modprobe tun)`,
      );
    case 'CLIENT_TOO_OLD':
      return isFalse(
        'ClientTooOld',
        `network ${id} demands a newer zerotier-one: apt-get install --only-upgrade zerotier-one`,
      );
    case 'AUTHENTICATION_REQUIRED':
      return isFalse(
        'AuthenticationRequired',
        `network ${id} demands a single sign-on, which a server cannot do: exempt member ${address} from SSO at the controller`,
      );
    case 'UNKNOWN':
      return isUnknown(
        'UnknownStatus',
        `zerotier-one reports no status for network ${id} that mooring knows`,
      );
    default:
      return status satisfies never;
  }
}
