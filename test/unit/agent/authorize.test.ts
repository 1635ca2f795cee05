import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Action } from '../../../src/agent/actions.ts';
import type { Attempt } from '../../../src/agent/attempts.ts';
import { emptyMemory, type Memory } from '../../../src/agent/memory.ts';
import { zerotierStage } from '../../../src/agent/stages/zerotier.ts';
import type { World } from '../../../src/agent/world.ts';
import type { Member, MemberReading } from '../../../src/systems/controller/types.ts';
import type { ZeroTierNetwork } from '../../../src/systems/zerotier/types.ts';
import {
  aConfig,
  aMemory,
  aNetwork,
  at,
  aWorld,
  networkId,
  someFacts,
  zerotierAnswers,
} from '../../support/world.ts';

const token = { credential: 'zerotier-api-token' };
const member = '40c95ab4df';
const nowMs = 100_000;
const look: Action = { do: 'controller.look', network: networkId, member };
const blank = { name: '', assignedAddresses: [], dns: { domain: '', servers: [] } };
const denied: Partial<ZeroTierNetwork> = { status: 'ACCESS_DENIED', ...blank };

function configWith(authorize: object = { controller: 'central', token }, network: object = {}) {
  return aConfig({ zerotier: { networks: [{ id: networkId, ...network }], authorize } });
}

function aMember(overrides: Partial<Member> = {}): Member {
  return {
    authorized: false,
    hasLeft: false,
    lastAuthorizedMs: 0,
    lastDeauthorizedMs: 0,
    name: '',
    addresses: [],
    noAutoAssignIps: false,
    ...overrides,
  };
}

const known = (overrides: Partial<Member> = {}, ageMs = 100): MemberReading => ({
  kind: 'known',
  atMs: nowMs - ageMs,
  member: aMember(overrides),
});

interface Scene {
  readonly network?: Partial<ZeroTierNetwork>;
  readonly reading?: MemberReading;
  readonly quietUntilMs?: number;
  readonly memory?: Memory;
  readonly config?: ReturnType<typeof aConfig>;
  readonly world?: Partial<World>;
}

function ask(scene: Scene) {
  const { network = denied, reading, quietUntilMs, memory = emptyMemory(0), config = configWith() } = scene;
  const world = aWorld({
    zerotier: zerotierAnswers({ networks: [aNetwork(network)] }),
    controller: { members: reading === undefined ? {} : { [networkId]: reading }, quietUntilMs },
    ...scene.world,
  });
  const { actions, findings } = zerotierStage({ config, world, memory, now: at(nowMs) });
  return { actions, finding: findings.NetworkAuthorized };
}

/** Memory of an action that failed. */
function failed(action: 'look' | 'authorize', attempt: Partial<Attempt>): Memory {
  const record = { count: 1, lastMs: 0, notBeforeMs: 0, error: 'because', ...attempt };
  return { ...emptyMemory(0), attempts: { [`controller.${action}:${networkId}`]: record } };
}

describe('a node that may authorise itself', () => {
  test('asks nobody unless the config says so', () => {
    const { actions, finding } = ask({ config: aConfig() });
    assert.deepEqual(actions, []);
    assert.equal(finding.reason, 'AccessDenied');
  });

  for (const status of ['ACCESS_DENIED', 'REQUESTING_CONFIGURATION'] as const) {
    test(`asks the controller about itself while it is ${status}`, () => {
      assert.deepEqual(ask({ network: { ...denied, status } }).actions, [look]);
    });
  }

  for (const status of ['NOT_FOUND', 'PORT_ERROR', 'CLIENT_TOO_OLD', 'UNKNOWN'] as const) {
    test(`asks nobody while it is ${status}, which no authorisation mends`, () => {
      assert.deepEqual(ask({ network: { ...denied, status } }).actions, []);
    });
  }

  for (const [what, reading] of [
    ['that the controller has not heard of', { kind: 'absent', atMs: nowMs - 100 }],
    ['that nobody has decided about', known()],
  ] as const) {
    test(`authorises a member ${what}, with its name, where and when`, () => {
      const facts = someFacts({ instanceId: 'i-0123' });
      const cloud = { kind: 'known', facts, stale: undefined } as const;
      const { actions, finding } = ask({ reading, world: { cloud } });
      const change = {
        authorized: true,
        name: 'edge-1',
        description: 'authorised by mooring 2026-09-21, aws eu-central-1a i-0123',
      };
      assert.deepEqual(actions, [{ do: 'controller.authorize', network: networkId, member, change }]);
      assert.equal(finding.reason, 'Authorizing');
    });
  }

  test('gives fixed addresses to the controller, and no names to one that keeps none', () => {
    const config = configWith(
      { controller: 'https://zt.home.example', token },
      { addresses: ['10.45.0.19', '10.45.0.17'] },
    );
    const [action] = ask({ config, reading: known() }).actions;
    assert.ok(action?.do === 'controller.authorize');
    assert.deepEqual(action.change, { authorized: true, addresses: ['10.45.0.17', '10.45.0.19'] });
  });

  test('leaves name and description alone where the config empties them', () => {
    const config = configWith({ controller: 'central', token, name: '', description: '' });
    const [action] = ask({ config, reading: known() }).actions;
    assert.ok(action?.do === 'controller.authorize');
    assert.deepEqual(action.change, { authorized: true });
  });

  test('does not act upon an answer that a person may have overtaken', () => {
    assert.deepEqual(ask({ reading: known({}, 10_000) }).actions, [look]);
  });

  test('waits for ZeroTier to hear that it is let in, and asks again when that lasts', () => {
    const waiting = ask({ reading: known({ authorized: true }, 59_000) });
    assert.deepEqual(waiting.actions, []);
    assert.equal(waiting.finding.reason, 'Authorizing');
    assert.deepEqual(ask({ reading: known({ authorized: true }, 60_000) }).actions, [look]);
  });

  test('asks neither before its backoff nor before the controller wants to be asked', () => {
    assert.deepEqual(ask({ memory: failed('look', { notBeforeMs: nowMs + 1 }) }).actions, []);
    assert.deepEqual(ask({ quietUntilMs: nowMs + 1 }).actions, []);
    assert.deepEqual(ask({ quietUntilMs: nowMs }).actions, [look]);
    assert.deepEqual(
      ask({ reading: known(), memory: failed('authorize', { notBeforeMs: nowMs + 1 }) }).actions,
      [],
    );
    assert.deepEqual(
      ask({ memory: failed('authorize', { notBeforeMs: nowMs + 1 }) }).actions,
      [],
      'nor for what it could not act upon',
    );
  });
});

describe('a person who shut the node out wins', () => {
  for (const [what, scene] of [
    ['what the controller has on record', { reading: known({ lastDeauthorizedMs: 1 }) }],
    ['having been let in before', { reading: known({ lastAuthorizedMs: 1 }) }],
    ['what ZeroTier keeps of the network', { network: { status: 'ACCESS_DENIED' } }],
    ['what mooring was told earlier', { memory: aMemory() }],
  ] as const) {
    test(`by ${what}`, () => {
      const { actions, finding } = ask(scene);
      assert.deepEqual(actions, []);
      assert.equal(finding.reason, 'Deauthorized');
      assert.match(finding.message, /40c95ab4df .*authorise it/);
    });
  }

  test('but not by what the node itself did when it left', () => {
    const reading = known({ hasLeft: true, lastAuthorizedMs: 1, lastDeauthorizedMs: 2 });
    assert.equal(ask({ reading }).actions[0]?.do, 'controller.authorize');
  });

  test('and one that lets it in again has nothing more to do', () => {
    const { actions, finding } = ask({ network: {}, memory: aMemory(), reading: known({ name: 'edge-1' }) });
    assert.deepEqual(actions, []);
    assert.equal(finding.status, 'true');
  });
});

describe('a member that is let in', () => {
  const named = { authorized: true, lastAuthorizedMs: 1, name: 'edge-1' };

  test('is looked at once, and has a wrong name set', () => {
    assert.deepEqual(ask({ network: {} }).actions, [look]);
    assert.deepEqual(ask({ network: {}, reading: known(named, 90_000) }).actions, []);
    assert.deepEqual(ask({ network: {}, reading: known({ ...named, name: 'other' }, 90_000) }).actions, [
      { do: 'controller.authorize', network: networkId, member, change: { name: 'edge-1' } },
    ]);
  });

  test('has its fixed addresses set, where they differ or the pools would add to them', () => {
    const config = configWith({ controller: 'central', token }, { addresses: ['10.45.0.17'] });
    const set = (reading: MemberReading) => ask({ network: {}, config, reading }).actions;
    const change = { addresses: ['10.45.0.17'] };
    const expected = [{ do: 'controller.authorize', network: networkId, member, change }];
    assert.deepEqual(set(known({ ...named, addresses: ['10.45.0.9'], noAutoAssignIps: true })), expected);
    assert.deepEqual(set(known({ ...named, addresses: ['10.45.0.17'] })), expected);
    assert.deepEqual(set(known({ ...named, addresses: ['10.45.0.17'], noAutoAssignIps: true })), []);
  });

  test('is not told again what it has, however the config spells its addresses', () => {
    const addresses = ['2001:DB8:0::0:1', '10.45.0.17', '2001:db8::1', 'FD00::ffff:10.0.0.1'];
    const config = configWith({ controller: 'central', token }, { addresses });
    const right = ['10.45.0.17', '2001:db8::1', 'fd00::ffff:a00:1'];
    const network = { assignedAddresses: right.map((address) => `${address}/64`) };
    const asked = (reading: MemberReading) => ask({ config, network, reading }).actions;
    assert.deepEqual(asked(known({ ...named, addresses: right, noAutoAssignIps: true }, 900_000)), []);
    const change = { addresses: right };
    assert.deepEqual(asked(known(named)), [
      { do: 'controller.authorize', network: networkId, member, change },
    ]);
  });

  test('is asked about again when its interface has had other addresses for long', () => {
    const config = configWith({ controller: 'central', token }, { addresses: ['10.45.0.17'] });
    const right = { ...named, addresses: ['10.45.0.17'], noAutoAssignIps: true };
    const actions = (ageMs: number) =>
      ask({ network: {}, config, reading: { ...known(right), atMs: nowMs - ageMs } }).actions;
    assert.deepEqual(actions(599_000), []);
    assert.deepEqual(actions(600_000), [look]);
  });

  test('is no reason to ask for ever where the token was withdrawn, nor to complain', () => {
    const { actions, finding } = ask({ network: {}, memory: failed('look', { count: 3 }) });
    assert.deepEqual(actions, []);
    assert.equal(finding.status, 'true');
  });
});

describe('what keeps a node from authorising itself is told with what to do', () => {
  for (const [code, reason, words] of [
    ['controller-no-token', 'AuthorizeNoToken', /mend zerotier\.authorize\.token/],
    ['controller-refused', 'AuthorizeRefused', /put a token that may change network/],
    ['controller-not-found', 'AuthorizeNotFound', /check zerotier\.authorize\.controller/],
    ['controller-busy', 'AuthorizeFailed', /tried again/],
    ['controller-away', 'AuthorizeFailed', /tried again/],
  ] as const) {
    for (const action of ['look', 'authorize'] as const) {
      test(`${code}, at ${action}`, () => {
        const { finding } = ask({ memory: failed(action, { code, notBeforeMs: nowMs + 1 }) });
        assert.equal(finding.status, 'false');
        assert.equal(finding.reason, reason);
        assert.match(finding.message, words);
        assert.match(finding.message, /because.*authorise member 40c95ab4df by hand/);
      });
    }
  }
});
