/** A whole moored node as the brain sees it: config, world and memory that fit each other. */
import assert from 'node:assert/strict';
import { type Plan, plan } from '../../src/agent/plan.ts';
import { renderNginxConf } from '../../src/agent/render/nginx-conf.ts';
import { ingressUnit, k3sUnit, type World } from '../../src/agent/world.ts';
import { type StatusDocument, statusDocument } from '../../src/health/status.ts';
import { aConfig, aMachine, aMemory, aMooredHost, at, aWorld, device, units } from './world.ts';

export const mooredConfig = aConfig({
  ingress: [
    { name: 'http', listen: 80, upstreams: ['127.0.0.1:31693'] },
    { name: 'quic', listen: 443, protocol: 'udp', upstreams: ['127.0.0.1:30485'] },
  ],
});
const ingress = renderNginxConf(mooredConfig.ingress, aMooredHost);
const settledMs = 100_000;

/** Two looks ten seconds apart, so that the link has settled; `overrides` hold for both. */
export function look(overrides: Partial<World> = {}): { readonly result: Plan; readonly world: World } {
  const input = { config: mooredConfig, memory: aMemory() };
  const link = { servers: ['10.45.0.1'], defaultRoute: false };
  const domains = [
    { name: 'home.example', routingOnly: false },
    { name: '0.45.10.in-addr.arpa', routingOnly: true },
  ];
  const bare = aWorld({
    units: units(),
    podNetwork: [
      {
        name: 'flannel.1',
        ifindex: 9,
        parentIfindex: 7,
        local: '10.45.0.7',
        routes: ['10.42.0.0/24', '10.42.2.0/24'],
        direct: [],
      },
    ],
    cluster: {
      kind: 'nodes',
      own: 'edge-1',
      nodes: ['10.42.0.0/24', '10.42.1.0/24', '10.42.2.0/24'].map((network, index) => ({
        name: `edge-${index}`,
        podNetworks: [network],
        flannel: { backend: 'vxlan', ipv4: true, ipv6: false },
        atMs: settledMs,
      })),
    },
    home: {
      server: { kind: 'reachable', trust: 'verified', latencyMs: 31, atMs: settledMs - 12_000 },
      dns: { kind: 'answers' },
    },
    dns: { kind: 'present', links: { 7: { ...link, domains } }, resolvConfMode: 'stub' },
    ingress: {
      installed: true,
      program: '1:1:1 2:2:2',
      ipv6: true,
      machine: aMachine,
      config: { kind: 'present', text: ingress.text, mode: 0o644 },
      keptGeneration: ingress.generation,
      servingGeneration: ingress.generation,
    },
  });
  const write = plan({ ...input, world: bare, now: at(0) }, 0.5).actions.k3s.find(
    (action) => action.do === 'k3s.write-config',
  );
  assert.ok(write?.do === 'k3s.write-config', `${device} is ready, so a config is wanted`);
  const world: World = {
    ...bare,
    k3s: { ...bare.k3s, config: { kind: 'present', text: write.text, mode: 0o600 } },
    ...overrides,
  };
  const first = plan({ ...input, world, now: at(settledMs - 10_000) }, 0.5);
  const result = plan({ ...input, world, memory: first.memory, now: at(settledMs) }, 0.5);
  return { result, world };
}

/** The status document of such a node. */
export function statusOf(overrides: Partial<World> = {}): StatusDocument {
  const { result, world } = look(overrides);
  return statusDocument(result, world, '1.2.3', { k3s: k3sUnit, ingress: ingressUnit });
}
