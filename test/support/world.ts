/** Builders of configs and worlds: a moored node, and whatever a test wants to be different about it. */

import { emptyMemory, type Memory } from '../../src/agent/memory.ts';
import { type NginxHost, nginxHost } from '../../src/agent/render/nginx-conf.ts';
import { ingressUnit, k3sUnit, type World } from '../../src/agent/world.ts';
import { type Config, configSchema } from '../../src/config/schema.ts';
import type { CloudFacts } from '../../src/systems/cloud/types.ts';
import type { Link, LinksReading } from '../../src/systems/netlink/types.ts';
import type { UnitReading } from '../../src/systems/systemd/types.ts';
import type { ZeroTierNetwork, ZeroTierReading } from '../../src/systems/zerotier/types.ts';

export const networkId = '8056c2e21c000001';
export const device = 'ztabcdefgh';

/** A valid config; `overrides` replace top-level sections of the input. */
export function aConfig(overrides: Readonly<Record<string, unknown>> = {}): Config {
  return configSchema.parse({
    zerotier: { networks: [{ id: networkId }] },
    k3s: { server: 'https://k3s.home.example:6443', token: { file: '/etc/mooring/k3s-token' } },
    node: { cloud: 'none', externalIp: 'none' },
    ...overrides,
  });
}

export function aNetwork(overrides: Partial<ZeroTierNetwork> = {}): ZeroTierNetwork {
  return {
    id: networkId,
    name: 'home',
    status: 'OK',
    portDeviceName: device,
    mac: '02:00:00:00:00:01',
    mtuBytes: 2800,
    assignedAddresses: ['10.45.0.7/24'],
    dns: { domain: 'home.example', servers: ['10.45.0.1'] },
    ...overrides,
  };
}

export function zerotierAnswers(
  overrides: Partial<Extract<ZeroTierReading, { kind: 'answered' }>> = {},
): ZeroTierReading {
  return {
    kind: 'answered',
    address: '40c95ab4df',
    version: '1.14.1',
    online: true,
    interfacePrefixBlacklist: [...aConfig().zerotier.interfacePrefixBlacklist],
    listeningOn: ['10.99.0.2/9993'],
    networks: [aNetwork()],
    peers: [{ address: networkId.slice(0, 10), lastReceiveAgeMs: 23_000 }],
    ...overrides,
  };
}

/** Facts of an instance at AWS, without a public address. */
export function someFacts(overrides: Partial<CloudFacts> = {}): CloudFacts {
  return {
    provider: 'aws',
    instanceId: 'i-1',
    instanceType: 't4g.small',
    region: 'eu-central-1',
    zone: 'eu-central-1a',
    publicIpv4: undefined,
    publicIpv6: undefined,
    providerId: undefined,
    tags: undefined,
    ...overrides,
  };
}

export function aLink(overrides: Partial<Link> = {}): Link {
  return {
    name: device,
    ifindex: 7,
    up: true,
    mtuBytes: 2800,
    parentIfindex: 7,
    addresses: ['10.45.0.7/24'],
    unrouted: [],
    ...overrides,
  };
}

export function aUnit(overrides: Partial<UnitReading> = {}): UnitReading {
  return {
    loadState: 'loaded',
    activeState: 'active',
    subState: 'running',
    unitFileState: 'enabled',
    result: 'success',
    invocationId: 'a'.repeat(32),
    mainPid: 4711,
    startedMs: 0,
    statusText: '',
    job: undefined,
    ...overrides,
  };
}

/** Units of a node on which both run; give a partial reading to change one. */
export function units(k3s: Partial<UnitReading> = {}, ingress: Partial<UnitReading> = {}): World['units'] {
  return {
    kind: 'answered',
    units: { [k3sUnit]: aUnit(k3s), [ingressUnit]: aUnit({ invocationId: 'b'.repeat(32), ...ingress }) },
  };
}

/** The addresses of these links; those of `defaultRoute` carry the default routes. */
export function hostAddresses(links: LinksReading, ...defaultRoute: readonly string[]): World['addresses'] {
  return Object.values(links).flatMap(({ name, addresses }) =>
    addresses.map((cidr) => ({
      address: cidr.split('/')[0] ?? '',
      device: name,
      isLinkLocal: false,
      onDefaultRoute: defaultRoute.includes(name),
    })),
  );
}

/** Two cores, 2 GiB. */
export const aMachine: World['ingress']['machine'] = { cores: 2, memoryBytes: 2 ** 31, openFiles: 20_000 };

/** What nginx is told of that node before anything is known of its addresses. */
export const aHost: NginxHost = nginxHost(aConfig(), aWorld({ addresses: [] }), emptyMemory(0));

/** The world of a node that is joined and whose link is up; nothing of mooring's is in place yet. */
export function aWorld(overrides: Partial<World> = {}): World {
  return {
    hostname: 'edge-1',
    configState: { kind: 'accepted' },
    zerotier: zerotierAnswers(),
    links: { [device]: aLink() },
    addresses: hostAddresses({ [device]: aLink() }),
    dns: { kind: 'present', links: {}, resolvConfMode: 'stub' },
    podNetwork: [],
    units: units(
      { activeState: 'inactive', invocationId: '' },
      { activeState: 'inactive', invocationId: '' },
    ),
    k3s: { binary: '1:1:1', config: { kind: 'absent' }, token: { kind: 'present', copyInSync: true } },
    install: { kind: 'off' },
    exposed: [],
    ingress: {
      installed: true,
      program: '1:1:1 2:2:2',
      ipv6: true,
      machine: aMachine,
      config: { kind: 'absent' },
      keptGeneration: undefined,
      servingGeneration: undefined,
    },
    doors: { holders: undefined, redirected: [] },
    limits: { installed: true, loaded: { kind: 'absent' } },
    cloud: { kind: 'none' },
    home: { server: { kind: 'unprobed' }, dns: { kind: 'unasked' } },
    controller: { members: {}, quietUntilMs: undefined },
    cluster: { kind: 'unasked' },
    services: {},
    ...overrides,
  };
}

/** Memory that has seen the network of `aNetwork`. */
export function aMemory(overrides: Partial<Memory> = {}): Memory {
  const { portDeviceName, assignedAddresses, mtuBytes, dns } = aNetwork();
  return {
    ...emptyMemory(0),
    networks: { [networkId]: { device: portDeviceName, configured: true, assignedAddresses, mtuBytes, dns } },
    ...overrides,
  };
}

/** What nginx is told of it, once that network is known. */
export const aMooredHost: NginxHost = nginxHost(aConfig(), aWorld(), aMemory());

/** An instant `ms` after the boot, on both clocks. */
export const at = (ms: number) => ({ monoMs: ms, wallMs: 1_790_000_000_000 + ms });
