/** The brain against a simulated node: thousands of drawn schedules, and brains broken on purpose that must be caught. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { resolvedUnit } from '../../src/agent/world.ts';
import { device } from '../support/world.ts';
import type { Sabotage } from './sabotage.ts';
import { runSchedule, shortened } from './schedule.ts';

const schedules = 2_000;

/** The first seed up to `most` whose schedule fails, undefined where all hold. */
async function firstFailure(most: number, sabotage?: Sabotage): Promise<number | undefined> {
  for (let seed = 1; seed <= most; seed += 1) {
    const { violations } = await runSchedule(seed, sabotage);
    if (violations.length > 0) return seed;
  }
  return undefined;
}

describe('the brain', () => {
  test(`holds ${schedules} schedules of faults`, async () => {
    const seed = await firstFailure(schedules);
    if (seed === undefined) return;
    const { violations, trail } = await shortened(seed);
    assert.fail(`${violations.join('; ')}\n${trail.join('\n')}\nreplay it with: make sim SEED=${seed}`);
  });

  test('does the same for the same seed', async () => {
    const [first, second] = [await runSchedule(7), await runSchedule(7)];
    assert.deepEqual(first.trail, second.trail);
    assert.equal(first.recoveredAfterMs, second.recoveredAfterMs);
  });
});

const broken: readonly Sabotage[] = [
  {
    name: 'leaves a resolved alone that has lost the bus',
    act: (action) => ('unit' in action && action.unit === resolvedUnit ? undefined : action),
  },
  {
    name: 'keeps the ifindex that it saw first',
    observe: (world, node) => {
      const link = world.links[device];
      if (link === undefined) return world;
      node.firstIfindex ??= link.ifindex;
      return { ...world, links: { ...world.links, [device]: { ...link, ifindex: node.firstIfindex } } };
    },
  },
  {
    name: 'forgets what k3s was started under when it is restarted',
    load: () => undefined,
  },
  { name: 'has no restart budget', restart: { budget: '1000/1s', maxDelay: '1s', settle: '1ms' } },
  {
    name: 'takes an API that is away for a link that is away',
    observe: (world) => (world.zerotier.kind === 'answered' ? world : { ...world, links: {} }),
  },
  {
    name: 'takes the server being away for an outage of the link',
    observe: (world, node) => (node.isServerUp ? world : { ...world, links: {} }),
  },
  {
    name: 'restarts k3s where it should start it only',
    act: (action) =>
      action.do === 'k3s.copy-token'
        ? { do: 'unit.restart', unit: 'k3s-node.service', reason: 'config' }
        : action,
  },
  {
    name: 'believes that resolved keeps what it was once told',
    act: (() => {
      const told = new Set<string>();
      return (action) => {
        if (action.do !== 'dns.set') return action;
        const isNew = !told.has(`${action.ifindex}`);
        told.add(`${action.ifindex}`);
        return isNew ? action : undefined;
      };
    })(),
  },
  {
    name: 'never writes the config anew',
    act: (() => {
      let written = 0;
      return (action) => (action.do === 'k3s.write-config' && ++written > 1 ? undefined : action);
    })(),
  },
  {
    name: 'believes every reload of nginx',
    observe: (world) =>
      world.ingress.config.kind === 'present'
        ? {
            ...world,
            ingress: {
              ...world.ingress,
              servingGeneration: /return ([0-9a-f]{16});/.exec(world.ingress.config.text)?.[1],
            },
          }
        : world,
  },
  {
    name: 'leaves a unit that has failed',
    act: (action) => (action.do === 'unit.start' && action.reason === 'failed' ? undefined : action),
  },
  {
    name: 'leaves ZeroTier as it is, whatever somebody did to its interface',
    act: (action) =>
      action.do === 'zerotier.rejoin' || (action.do === 'unit.restart' && action.reason === 'repair')
        ? undefined
        : action,
  },
  {
    name: 'lets itself in again after it was shut out',
    load: (saved) => saved && { ...saved, networks: {} },
    observe: (world) => {
      const members = Object.entries(world.controller.members).map(([id, reading]) => [
        id,
        reading.kind === 'known' && !reading.member.authorized ? { ...reading, kind: 'absent' } : reading,
      ]);
      const { zerotier } = world;
      if (zerotier.kind !== 'answered') return world;
      const networks = zerotier.networks.map((network) =>
        network.status === 'ACCESS_DENIED'
          ? { ...network, name: '', dns: { domain: '', servers: [] } }
          : network,
      );
      return {
        ...world,
        zerotier: { ...zerotier, networks },
        controller: { ...world.controller, members: Object.fromEntries(members) },
      };
    },
  },
  { name: 'has no budget for the repairs of ZeroTier', repair: { budget: '1000/1s', maxDelay: '1s' } },
  { name: 'repairs ZeroTier as soon as it is contradicted', repair: { patience: '1s', pause: '1s' } },
  { name: 'does not wait for the link to settle', restart: { settle: '0s', budget: '1000/1s' } },
];

describe('the simulation notices a brain that', () => {
  for (const sabotage of broken) {
    test(sabotage.name, async () => {
      assert.notEqual(await firstFailure(schedules, sabotage), undefined);
    });
  }
});
