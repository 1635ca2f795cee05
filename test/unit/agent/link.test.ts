import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { linkStage } from '../../../src/agent/stages/link.ts';
import type { World } from '../../../src/agent/world.ts';
import {
  aConfig,
  aLink,
  aMemory,
  aNetwork,
  at,
  aWorld,
  device,
  networkId,
  zerotierAnswers,
} from '../../support/world.ts';

const config = aConfig();
const ask = (world: Partial<World> = {}, memory = aMemory(), ms = 100_000) =>
  linkStage({ config, world: aWorld(world), memory, now: at(ms) });
const network = (overrides: Parameters<typeof aNetwork>[0]) => ({
  zerotier: zerotierAnswers({ networks: [aNetwork(overrides)] }),
});

describe('the link stage', () => {
  test('is ready where API and kernel agree, and settled only after the settle time', () => {
    const first = ask();
    assert.equal(first.findings.LinkReady.status, 'true');
    assert.ok(first.links[networkId]?.kind === 'ready' && !first.links[networkId].settled);
    assert.equal(first.wakeAtMs, 102_000);
    const later = ask({}, first.memory, 102_000);
    assert.ok(later.links[networkId]?.kind === 'ready' && later.links[networkId].settled);
    assert.equal(later.wakeAtMs, undefined);
  });

  const waits: readonly (readonly [string, Partial<World>])[] = [
    ['the link is not ready', { links: {} }],
    ['the API is away', { zerotier: { kind: 'unreachable', error: 'refused' } }],
    ['zerotier-one is offline', { zerotier: zerotierAnswers({ online: false }) }],
  ];
  for (const [what, world] of waits) {
    test(`while ${what}, it looks each second for a minute, and then more and more seldom`, () => {
      let { memory, wakeAtMs } = ask(world);
      const looks = [100_000];
      for (let ms = wakeAtMs ?? 0; ms < 1_000_000; ms = wakeAtMs ?? 0) {
        looks.push(ms);
        ({ memory, wakeAtMs } = ask(world, memory, ms));
      }
      const pauses = looks.slice(1).map((ms, index) => ms - (looks[index] ?? 0));
      assert.ok(
        pauses.slice(0, 58).every((ms) => ms === 1_000),
        JSON.stringify(pauses),
      );
      assert.deepEqual(
        pauses,
        [...pauses].sort((left, right) => left - right),
      );
      assert.equal(pauses.at(-1), 5_000);
    });
  }

  test('looks each second again once anything moves', () => {
    const bare = { links: { [device]: aLink({ addresses: [] }) } };
    const { memory } = ask(bare);
    const patient = ask(bare, memory, 1_000_000);
    assert.equal(patient.wakeAtMs, 1_005_000);
    const down = ask({ links: { [device]: aLink({ addresses: [], up: false }) } }, patient.memory, 1_001_000);
    assert.equal(down.wakeAtMs, 1_002_000);
    assert.equal(ask({}, down.memory, 1_002_000).memory.waiting, undefined);
  });

  const disagreements: readonly (readonly [string, Partial<World>, string])[] = [
    ['the interface is missing', { links: {} }, 'InterfaceMissing'],
    ['the interface is down', { links: { [device]: aLink({ up: false, addresses: [] }) } }, 'InterfaceDown'],
    ['the address is not on it', { links: { [device]: aLink({ addresses: [] }) } }, 'AddressMissing'],
    [
      'another address is on it',
      { links: { [device]: aLink({ addresses: ['10.45.0.8/24'] }) } },
      'AddressMissing',
    ],
    ['the MTU is not yet set', { links: { [device]: aLink({ mtuBytes: 1500 }) } }, 'MtuDiffers'],
    ['the network is not authorised', network({ status: 'ACCESS_DENIED' }), 'NotAuthorized'],
    ['no address is assigned', network({ assignedAddresses: [] }), 'NoAddressAssigned'],
  ];
  for (const [what, world, reason] of disagreements) {
    test(`is not ready when ${what}`, () => {
      const { findings, links } = ask(world);
      assert.equal(findings.LinkReady.status, 'false');
      assert.equal(findings.LinkReady.reason, reason);
      assert.equal(links[networkId]?.kind, 'not-ready');
    });
  }

  test('is unknown, which is no outage, while the device is up and only the API is away', () => {
    const ready = ask();
    const away = ask({ zerotier: { kind: 'unreachable', error: 'timeout' } }, ready.memory, 150_000);
    assert.equal(away.findings.LinkReady.status, 'unknown');
    const back = ask({}, away.memory, 300_000);
    assert.equal(back.memory.links[networkId]?.outages, 0);
    assert.equal(back.memory.links[networkId]?.flaps, 0);
  });

  test('counts a loss longer than the outage limit once, and a shorter one as a flap only', () => {
    const ready = ask({}, aMemory(), 100_000);
    const lost = ask({ links: {} }, ready.memory, 200_000);
    const short = ask({}, lost.memory, 230_000);
    assert.equal(short.memory.links[networkId]?.outages, 0);
    assert.equal(short.memory.links[networkId]?.flaps, 1);
    const lostAgain = ask({ links: {} }, short.memory, 300_000);
    const stillLost = ask({ links: {} }, lostAgain.memory, 320_000);
    const long = ask({}, stillLost.memory, 330_001);
    assert.equal(long.memory.links[networkId]?.outages, 1);
    assert.equal(long.memory.links[networkId]?.flaps, 2);
  });

  test('the wait for the first address is no outage', () => {
    const waiting = ask({ links: {} }, aMemory(), 0);
    const ready = ask({}, waiting.memory, 900_000);
    assert.equal(ready.memory.links[networkId]?.outages, 0);
  });

  test('settles anew under another ifindex', () => {
    const first = ask();
    const settled = ask({}, first.memory, 110_000);
    const moved = ask({ links: { [device]: aLink({ ifindex: 8 }) } }, settled.memory, 111_000);
    assert.ok(moved.links[networkId]?.kind === 'ready' && !moved.links[networkId].settled);
    assert.equal(moved.memory.links[networkId]?.flaps, 1);
  });
});
