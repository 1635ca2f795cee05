/**
 * Whether the k3s server is there, and, where it is not, which side is cut: the server alone, all of home, or the link. An
 * outage of the server restarts nothing; silence of everything beyond the link is evidence against the link (silence.ts).
 */
import type { ProbeAim, ServerReading } from '../../systems/home/types.ts';
import type { Finding } from '../conditions.ts';
import { k3sNetwork } from './k3s-wanted.ts';
import type { LinkState } from './link.ts';
import { isFalse, isTrue, isUnknown, type StageInput } from './stage.ts';

export interface ServerResult {
  readonly findings: { readonly ServerReachable: Finding };
  /** What is to be asked from now on. */
  readonly probe: ProbeAim;
}

export function serverStage(input: StageInput, links: Readonly<Record<string, LinkState>>): ServerResult {
  const state = links[k3sNetwork(input.config)];
  const device = state?.kind === 'not-ready' ? undefined : state?.link;
  if (device === undefined) {
    const finding = isUnknown('WaitingForLink', 'the server is asked once the link carries its address');
    return {
      findings: { ServerReachable: finding },
      probe: { pace: 'off', path: '', dnsServers: [], firstWithinMs: 0 },
    };
  }
  const { config } = input;
  const { home, dns } = input.world;
  const isFine = home.server.kind === 'reachable' && home.dns.kind !== 'silent';
  return {
    findings: { ServerReachable: judge(input) },
    probe: {
      pace: isFine ? 'calm' : 'eager',
      path: `${device.ifindex} ${device.addresses.join(' ')}`,
      dnsServers: dns.kind === 'present' ? (dns.links[device.ifindex]?.servers ?? []) : [],
      firstWithinMs: isAfterOutage(input) ? config.k3s.restart.spread : config.k3s.probe.eager,
    },
  };
}

/** A link that comes back from an outage does so on all nodes of a home at once, so their first questions are spread. */
function isAfterOutage({ config, memory }: StageInput): boolean {
  const outages = memory.links[k3sNetwork(config)]?.outages ?? 0;
  return memory.bound !== undefined && memory.bound.epoch.outages !== outages;
}

/** Messages keep to what does not change from one answer to the next. */
function judge(input: StageInput): Finding {
  const { server } = input.world.home;
  const url = input.config.k3s.server;
  switch (server.kind) {
    case 'unprobed':
      return isUnknown('NotProbed', `${url} has not been asked yet`);
    case 'reachable':
      return reachable(url, server.trust);
    case 'untrusted':
      return server.reason === 'ca'
        ? isFalse(
            'WrongCa',
            `${url} answers, but ${server.error}: take the token from that server anew (/var/lib/rancher/k3s/server/token), or find out who answers there`,
          )
        : isFalse(
            'CertificateInvalid',
            `${url} answers with the right CA, but its certificate is not valid (${server.error}): is that name among the server's tls-san, and this node's clock right?`,
          );
    case 'unreachable':
      return unreachable(input, url, server);
    default:
      return server satisfies never;
  }
}

function reachable(url: string, trust: Extract<ServerReading, { kind: 'reachable' }>['trust']): Finding {
  switch (trust) {
    case 'verified':
      return isTrue('Verified', `${url} answers, and is the one that the token names`);
    case 'no-hash':
      return isTrue(
        'Unverified',
        `${url} answers; the token has no CA hash (K10…::), so nobody checked who it is`,
      );
    case 'no-token':
      return isTrue('Unverified', `${url} answers; the token cannot be read, so nobody checked who it is`);
    default:
      return trust satisfies never;
  }
}

type Unreachable = Extract<ServerReading, { kind: 'unreachable' }>;

function unreachable(input: StageInput, url: string, server: Unreachable): Finding {
  const { dns } = input.world.home;
  const what = `${url}: ${server.error}`;
  const dnsIsThere = dns.kind === 'answers' || dns.kind === 'refuses';
  if (server.stage === 'http')
    return isFalse('NotServing', `${what}; something is there, but k3s does not serve (yet)`);
  if (server.stage === 'dns' && dns.kind === 'answers')
    return isFalse('NameUnknown', `${what}, though the DNS of home answers: has it that name?`);
  if (server.heard || dnsIsThere) {
    const witness = server.heard ? 'its host' : 'the DNS of home';
    return isFalse('ServerAway', `${what}. The server is away, not the link: ${witness} answers through it`);
  }
  const isFresh = controllerIsFresh(input);
  if (dns.kind === 'unasked') {
    if (isFresh === undefined)
      return isFalse('NoAnswer', `${what}. Nothing else beyond the link can be asked, so either may be cut`);
    if (isFresh)
      return isFalse('ServerAway', `${what}. ZeroTier hears its controller, so the server seems to be away`);
  } else if (isFresh === true) {
    return isFalse(
      'HomeSilent',
      `${what}, and the DNS of home is silent too, while ZeroTier hears its controller: home, or its ZeroTier, seems to be away`,
    );
  }
  const also = dns.kind === 'silent' ? 'the server, the DNS of home' : 'the server';
  const controller = isFresh === false ? ' and the ZeroTier controller' : '';
  return isFalse(
    'LinkSilent',
    `${what}. The link carries no traffic, though ZeroTier and the kernel call it fine: ${also}${controller} are silent. Does UDP 9993 get through, at home as well?`,
  );
}

/** Whether ZeroTier heard from the network's controller lately; undefined where nobody knows. */
function controllerIsFresh(input: StageInput): boolean | undefined {
  const { zerotier } = input.world;
  if (zerotier.kind !== 'answered') return undefined;
  const controller = k3sNetwork(input.config).slice(0, 10);
  const ageMs = zerotier.peers.find((peer) => peer.address === controller)?.lastReceiveAgeMs;
  return ageMs === undefined ? undefined : ageMs <= input.config.k3s.probe.controllerSilence;
}
