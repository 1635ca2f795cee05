/** plan(): from config, world, memory and now to actions, conditions and the next wake-up. Pure, like all below it. */
import type { ServicesAim } from '../systems/cluster/service-types.ts';
import type { ClusterAim } from '../systems/cluster/types.ts';
import type { DoorsAim } from '../systems/doors/types.ts';
import type { ProbeAim } from '../systems/home/types.ts';
import type { Action, StageName } from './actions.ts';
import { type Allowance, allowances } from './budget.ts';
import { type Condition, conditionsOf, type Finding, type Findings } from './conditions.ts';
import type { Memory } from './memory.ts';
import { cloudFinding, lastingReading } from './stages/cloud.ts';
import { contained } from './stages/contained.ts';
import { dnsStage } from './stages/dns.ts';
import { ingressStage, nothingToLookAt } from './stages/ingress.ts';
import { k3sStage } from './stages/k3s.ts';
import { k3sNetwork, nodeIp } from './stages/k3s-wanted.ts';
import { limitsStage } from './stages/limits.ts';
import { type LinkState, linkStage } from './stages/link.ts';
import { podNetworkStage } from './stages/pod-network.ts';
import { secretsFinding } from './stages/secrets.ts';
import { serverStage } from './stages/server.ts';
import { silenceStage } from './stages/silence.ts';
import { earliest, isFalse, isTrue, type StageInput } from './stages/stage.ts';
import { type FoundUpstreams, nothingFound, upstreamsStage } from './stages/upstreams.ts';
import { zerotierStage } from './stages/zerotier.ts';
import type { ConfigState } from './world.ts';

/** How long a moored node may go unobserved, before jitter. */
export const calmMs = 20_000;

export interface Plan {
  readonly actions: Readonly<Record<StageName, readonly Action[]>>;
  readonly conditions: readonly Condition[];
  readonly memory: Memory;
  /** Monotonic ms of the next pass if nothing wakes the loop earlier. */
  readonly wakeAtMs: number;
  readonly links: Readonly<Record<string, LinkState>>;
  /** Addresses, without prefixes, of the links that are ready. */
  readonly readyAddresses: readonly string[];
  /** The node's address in the cluster, while the link that k3s is bound to is ready. */
  readonly nodeIp: string | undefined;
  /** Where the health server listens for `zerotier`: what the devices carry, or carried before they went away. */
  readonly zerotierAddresses: readonly string[];
  /** What is left of the budgets for restarts. */
  readonly allowances: readonly Allowance[];
  /** What is to be asked beyond the link from now on. */
  readonly probe: ProbeAim;
  /** What is to be asked of the cluster's API. */
  readonly cluster: ClusterAim;
  /** What is to be looked at of the ingress' ports. */
  readonly doors: DoorsAim;
  /** Which Services are to be followed. */
  readonly services: ServicesAim;
  /** What is known of them, for each entry of the ingress that names one. */
  readonly upstreams: readonly FoundUpstreams[];
}

/** `random` in [0, 1) spreads the calm wake-ups of many nodes. */
export function plan(seen: StageInput, random: number): Plan {
  const cloud = lastingReading(seen.world.cloud, seen.memory.cloudFacts);
  const input: StageInput = {
    ...seen,
    world: { ...seen.world, cloud: cloud.reading },
    memory: { ...seen.memory, cloudFacts: cloud.remember },
  };
  const zerotier = zerotierStage(input);
  const link = linkStage({ ...input, memory: zerotier.memory });
  const dns = contained(
    'dns',
    link.memory,
    input,
    (found) => ({ findings: { DnsConfigured: found } }),
    () => dnsStage({ ...input, memory: link.memory }),
  );
  const server = serverStage({ ...input, memory: dns.memory }, link.links);
  const silence = silenceStage({ ...input, memory: dns.memory }, link.links, server.findings.ServerReachable);
  const podNetwork = podNetworkStage({ ...input, memory: silence.memory }, link.links);
  const k3s = contained(
    'k3s',
    podNetwork.memory,
    input,
    (found) => ({ findings: { K3sInstalled: found, K3sUpToDate: found, K3sRunning: found } }),
    () =>
      k3sStage({ ...input, memory: podNetwork.memory }, link.links, {
        server: server.findings.ServerReachable,
        podNetworkBroken: podNetwork.wantsRestart,
      }),
  );
  const ingress = contained(
    'ingress',
    k3s.memory,
    input,
    (found) => ({
      findings: { UpstreamsFound: found, IngressRunning: found },
      doors: nothingToLookAt,
      ...nothingFound(input.config),
    }),
    () => {
      const upstreams = upstreamsStage(
        { ...input, memory: k3s.memory },
        link.links,
        server.findings.ServerReachable,
      );
      const served = ingressStage({ ...input, memory: upstreams.memory }, upstreams);
      return {
        ...served,
        wakeAtMs: earliest(upstreams.wakeAtMs, served.wakeAtMs),
        findings: { ...upstreams.findings, ...served.findings },
        services: upstreams.services,
        found: upstreams.found,
        entries: upstreams.entries,
      };
    },
  );
  const limits = contained(
    'ingress',
    ingress.memory,
    input,
    (found) => ({ findings: { IngressLimited: found } }),
    () => limitsStage({ ...input, memory: ingress.memory }, ingress.entries),
  );
  const findings: Findings = {
    ConfigAccepted: configFinding(input.world.configState),
    SecretsProtected: secretsFinding(input),
    ...zerotier.findings,
    ...link.findings,
    ...dns.findings,
    CloudFactsKnown: cloudFinding(input.config.node, input.world.cloud),
    ...k3s.findings,
    ...server.findings,
    ...podNetwork.findings,
    ...ingress.findings,
    ...limits.findings,
  };
  const conditions = conditionsOf(findings, input.memory.conditions, input.now.wallMs);
  const calmAtMs = input.now.monoMs + Math.round(calmMs * (0.9 + 0.2 * random));
  const stages = [zerotier, link, dns, silence, podNetwork, k3s, ingress, limits];
  return {
    actions: {
      zerotier: zerotier.actions,
      link: link.actions,
      dns: dns.actions,
      k3s: k3s.actions,
      // The doors come first: whatever the limits come to keeps none of them shut.
      ingress: [...ingress.actions, ...limits.actions],
    },
    conditions,
    memory: { ...limits.memory, conditions },
    wakeAtMs: earliest(calmAtMs, ...stages.map((stage) => stage.wakeAtMs)) ?? calmAtMs,
    links: link.links,
    readyAddresses: Object.values(link.links).flatMap((state) =>
      state.kind === 'ready' ? state.addresses.map(bare) : [],
    ),
    nodeIp: nodeIp(link.links[k3sNetwork(input.config)]),
    zerotierAddresses: input.config.zerotier.networks.flatMap(({ id }) => {
      const known = link.memory.networks[id];
      if (known === undefined) return [];
      const carried = input.world.links[known.device]?.addresses ?? [];
      return (carried.length > 0 ? carried : known.assignedAddresses).map(bare);
    }),
    allowances: allowances(ingress.memory.budgets, input.config, input.now),
    probe: server.probe,
    cluster: podNetwork.cluster,
    doors: ingress.doors,
    services: ingress.services,
    upstreams: ingress.found,
  };
}

/** `address/prefix` without the prefix. */
const bare = (cidr: string) => cidr.split('/')[0] ?? '';

function configFinding(state: ConfigState): Finding {
  return state.kind === 'accepted'
    ? isTrue('Accepted', 'the config on disk is in force')
    : isFalse(
        'Refused',
        `the last good config stays in force; mend this, then systemctl reload mooring: ${state.problems.join('; ')}`,
      );
}
