/** Brains that are broken on purpose: the simulation has to notice each, or it proves nothing of the whole one. */
import { k3sUnit, resolvedUnit, type World } from '../../src/agent/world.ts';
import { device } from '../support/world.ts';
import { generationOf } from './models/nginx.ts';
import type { Sabotage } from './sabotage.ts';

/** Either rule may come first. */
const anyNeedlessStart = /k3s is (restarted although nothing|started \d+ ms after)/;

/** Made anew for each schedule, since some remember what they did. */
export const brokenBrains: readonly (() => Sabotage)[] = [
  () => ({
    name: 'looks only whether any route to other nodes is left',
    by: /not moored/,
    observe: (world) => ({ ...world, cluster: { kind: 'unknown', reason: 'refused', error: 'status 403' } }),
  }),
  () => ({
    name: 'believes that a node whose route is gone is still there',
    by: /k3s is restarted although nothing/,
    observe: (world) => {
      const { cluster } = world;
      if (cluster.kind !== 'nodes') return world;
      const nodes = cluster.nodes.map((node) => ({ ...node, atMs: Number.POSITIVE_INFINITY }));
      return { ...world, cluster: { ...cluster, nodes } };
    },
  }),
  () => ({
    name: 'leaves a resolved alone that has lost the bus',
    by: /DnsConfigured ResolvedSilent/,
    act: (action) => ('unit' in action && action.unit === resolvedUnit ? undefined : action),
  }),
  () => ({
    name: 'lets itself in again after it was shut out',
    by: /a member is let in that a person had decided about/,
    observe: (world) => {
      const { zerotier, controller } = world;
      if (zerotier.kind !== 'answered') return world;
      const networks = zerotier.networks.map((network) =>
        network.status === 'ACCESS_DENIED'
          ? ({ ...network, status: 'REQUESTING_CONFIGURATION' } as const)
          : network,
      );
      const members = Object.entries(controller.members).map(([id, reading]) => [
        id,
        reading.kind === 'known' && !reading.member.authorized ? { ...reading, kind: 'absent' } : reading,
      ]);
      return {
        ...world,
        zerotier: { ...zerotier, networks },
        controller: { ...controller, members: Object.fromEntries(members) },
      };
    },
  }),
  () => {
    let first: number | undefined;
    return {
      name: 'keeps the ifindex that it saw first',
      by: /the DNS of ifindex \d+ is wrong/,
      observe: (world) => {
        const link = world.links[device];
        if (link === undefined) return world;
        first ??= link.ifindex;
        return { ...world, links: { ...world.links, [device]: { ...link, ifindex: first } } };
      },
    };
  },
  () => ({
    name: 'forgets what k3s was started under when it is restarted',
    by: anyNeedlessStart,
    load: () => undefined,
  }),
  () => ({
    name: 'has no restart budget',
    by: /k3s began \d+ times/,
    restart: { budget: '1000/1s', maxDelay: '1s' },
  }),
  () => ({
    name: 'takes an API that is away for a link that is away',
    by: /k3s is restarted although nothing/,
    observe: (world) => (world.zerotier.kind === 'answered' ? world : { ...world, links: {} }),
  }),
  () => ({
    name: 'takes the server being away for an outage of the link',
    by: /k3s is restarted although nothing/,
    observe: (world, node) => (node.isServerUp ? world : { ...world, ...refused(world) }),
  }),
  () => ({
    name: 'restarts k3s where it should start it only',
    by: anyNeedlessStart,
    act: (action) =>
      action.do === 'k3s.copy-token' ? { do: 'unit.restart', unit: k3sUnit, reason: 'config' } : action,
  }),
  () => {
    const told = new Set<number>();
    return {
      name: 'believes that resolved keeps what it was once told',
      by: /the DNS of ifindex \d+ is wrong/,
      act: (action) => {
        if (action.do !== 'dns.set') return action;
        const isNew = !told.has(action.ifindex);
        told.add(action.ifindex);
        return isNew ? action : undefined;
      },
    };
  },
  () => {
    let written = 0;
    return {
      name: 'never writes the config anew',
      by: /not moored/,
      act: (action) => (action.do === 'k3s.write-config' && ++written > 1 ? undefined : action),
    };
  },
  () => ({
    name: 'believes every reload of nginx',
    by: /not moored/,
    observe: (world) =>
      world.ingress.config.kind === 'present'
        ? {
            ...world,
            ingress: {
              ...world.ingress,
              servingGeneration: generationOf(world.ingress.config.text),
            },
          }
        : world,
  }),
  () => ({
    name: 'leaves a unit that has failed',
    by: /not moored/,
    act: (action) => (action.do === 'unit.start' && action.reason === 'failed' ? undefined : action),
  }),
  () => ({
    name: 'leaves ZeroTier as it is, whatever somebody did to its interface',
    by: /not moored/,
    act: (action) =>
      action.do === 'zerotier.rejoin' || (action.do === 'unit.restart' && action.reason === 'repair')
        ? undefined
        : action,
  }),
  () => ({
    name: 'has no budget for the repairs of ZeroTier',
    by: /ZeroTier was repaired/,
    repair: { budget: '1000/1s', maxDelay: '1s' },
  }),
  () => ({
    name: 'repairs ZeroTier as soon as it is contradicted',
    by: /ZeroTier is repaired although/,
    repair: { patience: '1s', pause: '1s' },
  }),
  () => ({
    name: 'does not wait for the link to settle',
    by: /k3s is started \d+ ms after/,
    restart: { settle: '0s' },
  }),
  () => ({
    name: 'sets no match rules on a new connection to the bus',
    by: /the DNS of ifindex \d+ is wrong/,
    forgetsMatches: true,
  }),
  () => ({ name: 'is never woken', by: /the DNS of ifindex \d+ is wrong/, deaf: true }),
  () => ({
    name: 'restarts k3s at every wake-up',
    by: anyNeedlessStart,
    woken: () => ({ do: 'unit.restart', unit: k3sUnit, reason: 'start' }),
  }),
  () => ({
    name: 'asks for a second job beside the first',
    by: /a second job was queued/,
    beside: (action) => (action.do === 'unit.restart' && action.unit === k3sUnit ? action : undefined),
  }),
  () => ({ name: 'counts no outage', by: /not moored/, restart: { outage: '1h' } }),
  () => ({
    name: 'starts k3s by a unit without its condition',
    by: /k3s began without its address/,
    unconditional: true,
  }),
];

/** A network that ZeroTier says it was shut out of. */
function refused({ zerotier }: World): Partial<World> {
  if (zerotier.kind !== 'answered') return {};
  const networks = zerotier.networks.map((network) => ({ ...network, status: 'ACCESS_DENIED' as const }));
  return { zerotier: { ...zerotier, networks } };
}
