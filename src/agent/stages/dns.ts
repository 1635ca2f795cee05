/**
 * Stage `dns`: each network's device has the wanted per-link DNS in systemd-resolved, for today's ifindex. It needs
 * the named device and nothing more, so that names resolve from the first moment on.
 */
import { isIPv6 } from 'node:net';
import type { NetworkConfig } from '../../config/schema.ts';
import type { DnsDomain, DnsReading, LinkDns } from '../../systems/resolved/types.ts';
import { type Action, actionKey } from '../actions.ts';
import { mayTry } from '../attempts.ts';
import type { Finding } from '../conditions.ts';
import { cleared, type Memory, type RememberedNetwork, without } from '../memory.ts';
import { reverseZones } from '../reverse-zones.ts';
import { networkdUnit, resolvedUnit } from '../world.ts';
import { noLongerSilent, restartSilent, type SilentService } from './silent-service.ts';
import { earliest, isFalse, isTrue, isUnknown, type StageInput, type StageResult } from './stage.ts';

const missingResolved =
  'systemd-resolved cannot be used; install and start it: apt install systemd-resolved && systemctl enable --now systemd-resolved';

/** How long a resolved that has its name on the bus may leave calls unanswered: it is slow, or stuck. */
const stuckMs = 10_000;

export function dnsStage(
  input: StageInput,
): StageResult & { readonly findings: { readonly DnsConfigured: Finding } } {
  const { dns } = input.world;
  if (dns.kind === 'absent') return withoutResolved(input, dns);
  const parts = input.config.zerotier.networks.map((network) => networkDns(input, network, dns.links));
  const findings = parts.map((part) => part.finding);
  const finding =
    findings.find((one) => one.status === 'false') ??
    findings.find((one) => one.status === 'unknown') ??
    findings[0];
  const answers = noLongerSilent(input.memory, resolvedUnit);
  const remembered = parts.reduce((memory, part) => part.remember(memory), answers);
  const networkd = networkdOf({ ...input, memory: remembered }, parts);
  return {
    actions: [...parts.flatMap((part) => part.actions), ...networkd.actions],
    memory: networkd.memory,
    wakeAtMs: earliest(networkd.wakeAtMs, ...parts.map((part) => part.wakeAtMs)),
    findings: { DnsConfigured: finding ?? isUnknown('NoNetwork', 'no network is configured') },
  };
}

/** Nobody answers for resolved. Where PID 1 says that it runs, it has lost the bus, or is stuck, and is restarted. */
function withoutResolved(
  input: StageInput,
  { error, isOffBus }: Extract<DnsReading, { kind: 'absent' }>,
): StageResult & { readonly findings: { readonly DnsConfigured: Finding } } {
  const { config, memory, now, world } = input;
  if (world.units.kind === 'unreachable') {
    // Nobody else answers either: it is the bus, and resolved goes on with what it has.
    const finding = isUnknown('BusAway', `D-Bus cannot be asked: ${error}`);
    return { actions: [], memory, wakeAtMs: now.monoMs + 1_000, findings: { DnsConfigured: finding } };
  }
  const { repair } = config.dns;
  const patienceMs = isOffBus ? repair.patience : Math.max(stuckMs, repair.patience);
  const step = restartSilent(input, resolvedUnit, patienceMs);
  const state = world.units.units[resolvedUnit]?.activeState;
  if (state === 'activating' || state === 'deactivating')
    return {
      ...step,
      findings: { DnsConfigured: isFalse('ResolvedStarting', 'systemd-resolved is starting') },
    };
  if (state !== 'active')
    return {
      ...step,
      findings: { DnsConfigured: isFalse('ResolvedMissing', `${missingResolved} (${error})`) },
    };
  const remedy = repair.restart
    ? `mooring restarts it where that lasts ${patienceMs / 1_000} s`
    : 'mooring does not repair that (dns.repair.restart is false): systemctl restart systemd-resolved';
  const finding = isFalse(
    'ResolvedSilent',
    `systemd-resolved runs but does not answer; ${remedy} (${error})`,
  );
  return { ...step, findings: { DnsConfigured: finding } };
}

/** networkd, where a link is its own: only it can set that link's DNS, and it may have lost the bus. */
function networkdOf(input: StageInput, parts: readonly Part[]): SilentService {
  const isMissed = parts.some(({ isWithoutNetworkd }) => isWithoutNetworkd);
  if (!isMissed)
    return { actions: [], memory: noLongerSilent(input.memory, networkdUnit), wakeAtMs: undefined };
  return restartSilent(input, networkdUnit, input.config.dns.repair.patience);
}

interface Part {
  readonly actions: readonly Action[];
  readonly remember: (memory: Memory) => Memory;
  readonly wakeAtMs: number | undefined;
  readonly finding: Finding;
  /** The link is networkd's, and networkd was not on the bus when its DNS was to be set. */
  readonly isWithoutNetworkd: boolean;
}

const nothing = {
  actions: [],
  remember: (memory: Memory) => memory,
  wakeAtMs: undefined,
  isWithoutNetworkd: false,
} as const;

function networkDns(
  input: StageInput,
  network: NetworkConfig,
  current: Readonly<Record<number, LinkDns>>,
): Part {
  const known = input.memory.networks[network.id];
  const link = known === undefined ? undefined : input.world.links[known.device];
  if (known === undefined || link === undefined) {
    return { ...nothing, finding: isUnknown('NoInterface', `network ${network.id} has no interface yet`) };
  }
  if (!known.configured && network.dns === 'auto') {
    const message = `network ${network.id} has not told its DNS yet`;
    return { ...nothing, finding: isUnknown('NotConfigured', message) };
  }
  const { name: device, ifindex } = link;
  const found = current[ifindex];
  const want = wantedDns(network.dns, known);
  if (want === undefined) return unwanted(input, device, ifindex, found, network);
  const action: Action = { do: 'dns.set', device, ifindex, want };
  const key = actionKey(action);
  if (found !== undefined && sameDns(found, want)) {
    const servers = want.servers.join(', ');
    return {
      ...nothing,
      remember: (memory) =>
        forgetOthers(cleared({ ...memory, dnsSet: { ...memory.dnsSet, [device]: ifindex } }, [key]), key),
      finding: isTrue(
        'InForce',
        `${device} (ifindex ${ifindex}) asks ${servers} for ${domainNames(want.domains)}`,
      ),
    };
  }
  const attempt = input.memory.attempts[key];
  const why = attempt?.error === undefined ? '' : `: ${attempt.error}`;
  return {
    actions: mayTry(attempt, input.now.monoMs) ? [action] : [],
    remember: (memory) => memory,
    wakeAtMs: attempt === undefined ? undefined : Math.max(attempt.notBeforeMs, input.now.monoMs + 200),
    isWithoutNetworkd: attempt?.code === 'networkd-absent',
    finding: isFalse(
      'NotInForce',
      `resolved does not have the DNS of ${device} (ifindex ${ifindex}) yet${why}`,
    ),
  };
}

/** Nothing is wanted on the link: what mooring set earlier is taken back. */
function unwanted(
  input: StageInput,
  device: string,
  ifindex: number,
  found: LinkDns | undefined,
  network: NetworkConfig,
): Part {
  const finding =
    network.dns === 'none'
      ? isTrue('Off', `zerotier.networks[].dns is none for ${network.id}`)
      : isTrue(
          'NothingPushed',
          `network ${network.id} pushes no DNS; set zerotier.networks[].dns where it should have one`,
        );
  const isOurs = input.memory.dnsSet[device] === ifindex;
  if (!isOurs || found === undefined) return { ...nothing, finding };
  const action: Action = { do: 'dns.revert', device, ifindex };
  const attempt = input.memory.attempts[actionKey(action)];
  return { ...nothing, actions: mayTry(attempt, input.now.monoMs) ? [action] : [], finding };
}

/** Drops the records of attempts on former ifindexes of the device. */
function forgetOthers(memory: Memory, key: string): Memory {
  const prefix = key.slice(0, key.lastIndexOf(':') + 1);
  const stale = Object.keys(memory.attempts).filter((other) => other.startsWith(prefix) && other !== key);
  return stale.length === 0 ? memory : { ...memory, attempts: without(memory.attempts, ...stale) };
}

/** What the link should have, undefined for nothing. */
export function wantedDns(spec: NetworkConfig['dns'], known: RememberedNetwork): LinkDns | undefined {
  if (spec === 'none') return undefined;
  const servers = spec === 'auto' ? known.dns.servers : spec.servers;
  if (servers.length === 0) return undefined;
  const named = spec === 'auto' ? [known.dns.domain] : spec.domains;
  const reverse = spec === 'auto' || spec.reverseZones ? known.assignedAddresses.flatMap(reverseZones) : [];
  const domains = [
    ...named.filter((name) => name !== '').map(parseDomain),
    ...reverse.map((name) => ({ name, routingOnly: true })),
  ];
  return {
    servers: [...new Set(servers.map(canonicalAddress))],
    domains: domains.filter(
      (domain, index) => domains.findIndex((other) => other.name === domain.name) === index,
    ),
    defaultRoute: spec === 'auto' ? false : spec.defaultRoute,
  };
}

/** One text for one address (RFC 5952 for IPv6), as resolved's is read back. */
function canonicalAddress(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]/`).hostname.slice(1, -1) : address;
}

/** resolved's notation: a leading `~` routes a domain without searching it. Names are kept without a trailing dot. */
function parseDomain(text: string): DnsDomain {
  const name = text.replace(/^~/, '');
  return {
    name: name === '.' ? '.' : name.replace(/\.$/, '').toLowerCase(),
    routingOnly: text.startsWith('~'),
  };
}

/** Order of servers counts (resolved starts with the first); order of domains does not. */
export function sameDns(left: LinkDns, right: LinkDns): boolean {
  const domains = (dns: LinkDns) =>
    dns.domains
      .map((domain) => `${domain.routingOnly ? '~' : ''}${domain.name}`)
      .sort()
      .join(' ');
  return (
    left.servers.join(' ') === right.servers.join(' ') &&
    domains(left) === domains(right) &&
    left.defaultRoute === right.defaultRoute
  );
}

function domainNames(domains: readonly DnsDomain[]): string {
  return (
    domains.map((domain) => (domain.routingOnly ? `~${domain.name}` : domain.name)).join(', ') ||
    'no domain of its own'
  );
}
