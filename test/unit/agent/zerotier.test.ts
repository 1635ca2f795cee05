import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { emptyMemory } from '../../../src/agent/memory.ts';
import { zerotierStage } from '../../../src/agent/stages/zerotier.ts';
import type { NetworkStatus } from '../../../src/systems/zerotier/types.ts';
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
const ask = (world = aWorld(), memory = emptyMemory(0), ms = 10_000) =>
  zerotierStage({ config, world, memory, now: at(ms) });

describe('the zerotier stage', () => {
  test('is content with a network that is OK and a blacklist in force', () => {
    const result = ask();
    assert.deepEqual(result.actions, []);
    assert.equal(result.findings.ZeroTierOnline.status, 'true');
    assert.equal(result.findings.BlacklistInForce.status, 'true');
    assert.equal(result.findings.NetworkAuthorized.status, 'true');
  });

  test('takes what answers through the link for proof that ZeroTier works, before it says so itself', () => {
    const starting = { zerotier: zerotierAnswers({ online: false }) };
    assert.equal(ask(aWorld(starting)).findings.ZeroTierOnline.reason, 'Offline');
    const reachable = { kind: 'reachable', trust: 'verified', latencyMs: 3, atMs: 9_000 } as const;
    const unreachable = {
      kind: 'unreachable',
      stage: 'connect',
      error: 'no answer',
      heard: false,
      sinceMs: 9_000,
    } as const;
    for (const [home, reason] of [
      [{ server: reachable, dns: { kind: 'unasked' } }, 'LinkCarries'],
      [{ server: unreachable, dns: { kind: 'refuses' } }, 'LinkCarries'],
      [{ server: unreachable, dns: { kind: 'silent', sinceMs: 9_000 } }, 'Offline'],
    ] as const)
      assert.equal(ask(aWorld({ ...starting, home })).findings.ZeroTierOnline.reason, reason);
  });

  test('remembers device, addresses and DNS for the moments in which the API is away', () => {
    const { memory } = ask();
    assert.deepEqual(memory.networks[networkId], aMemory().networks[networkId]);
    const away = ask(aWorld({ zerotier: { kind: 'unreachable', error: 'refused' } }), memory);
    assert.deepEqual(away.memory.networks, memory.networks);
  });

  test('keeps the former addresses while a network that lost its configuration asks for it again', () => {
    const blank = aNetwork({
      status: 'REQUESTING_CONFIGURATION',
      name: '',
      assignedAddresses: [],
      dns: { domain: '', servers: [] },
    });
    const { memory } = ask(aWorld({ zerotier: zerotierAnswers({ networks: [blank] }) }), aMemory());
    assert.deepEqual(memory.networks[networkId]?.assignedAddresses, ['10.45.0.7/24']);
    assert.deepEqual(memory.networks[networkId]?.dns.servers, ['10.45.0.1']);
  });

  test('does not join a network that is missing from the list only in the first second', () => {
    const world = aWorld({ zerotier: zerotierAnswers({ networks: [] }) });
    const first = ask(world, emptyMemory(0), 10_000);
    assert.deepEqual(first.actions, []);
    assert.equal(first.findings.NetworkAuthorized.reason, 'NotJoined');
    const later = ask(world, first.memory, 11_000);
    assert.deepEqual(later.actions, [{ do: 'zerotier.join', network: networkId }]);
  });

  test('starts counting anew when zerotier-one was away in between, since it is slow to list its networks', () => {
    const missing = aWorld({ zerotier: zerotierAnswers({ networks: [] }) });
    const first = ask(missing, emptyMemory(0), 10_000);
    const away = ask(aWorld({ zerotier: { kind: 'unreachable', error: 'refused' } }), first.memory, 10_500);
    const back = ask(missing, away.memory, 20_000);
    assert.deepEqual(back.actions, []);
    assert.equal(ask(missing, back.memory, 21_000).actions.length, 1);
  });

  test('starts counting anew when a missing network was seen in between', () => {
    const missing = aWorld({ zerotier: zerotierAnswers({ networks: [] }) });
    const first = ask(missing, emptyMemory(0), 10_000);
    const seen = ask(aWorld(), first.memory, 10_500);
    assert.deepEqual(ask(missing, seen.memory, 11_200).actions, []);
  });

  test('asks for missing prefixes and keeps the ones that the user has', () => {
    const zerotier = zerotierAnswers({ interfacePrefixBlacklist: ['wg', 'flannel'] });
    const { actions, findings } = ask(aWorld({ zerotier }));
    const [action] = actions;
    assert.ok(action?.do === 'zerotier.blacklist');
    assert.deepEqual(action.prefixes.slice(0, 2), ['wg', 'flannel']);
    assert.ok(config.zerotier.interfacePrefixBlacklist.every((prefix) => action.prefixes.includes(prefix)));
    assert.equal(findings.BlacklistInForce.reason, 'NotYetInForce');
  });

  test('says so while ZeroTier still listens on an excluded interface', () => {
    const links = {
      [device]: aLink(),
      'flannel.1': aLink({ name: 'flannel.1', ifindex: 9, addresses: ['10.42.1.0/32'] }),
    };
    const zerotier = zerotierAnswers({ listeningOn: ['10.99.0.2/9993', '10.42.1.0/9993'] });
    const { findings } = ask(aWorld({ links, zerotier }));
    assert.equal(findings.BlacklistInForce.reason, 'StillBound');
    assert.match(findings.BlacklistInForce.message, /flannel\.1/);
  });

  const table: readonly (readonly [NetworkStatus, string, RegExp])[] = [
    ['REQUESTING_CONFIGURATION', 'unknown', /8056c2e21c/],
    ['ACCESS_DENIED', 'false', /authorise member 40c95ab4df/],
    ['NOT_FOUND', 'false', /check zerotier\.networks/],
    ['PORT_ERROR', 'false', /\/dev\/net\/tun/],
    ['CLIENT_TOO_OLD', 'false', /--only-upgrade zerotier-one/],
    ['AUTHENTICATION_REQUIRED', 'false', /SSO/],
    ['UNKNOWN', 'unknown', /no status/],
  ];
  for (const [status, expected, words] of table) {
    test(`tells what to do about ${status}`, () => {
      const zerotier = zerotierAnswers({ networks: [aNetwork({ status })] });
      const { NetworkAuthorized } = ask(aWorld({ zerotier })).findings;
      assert.equal(NetworkAuthorized.status, expected);
      assert.match(NetworkAuthorized.message, words);
    });
  }

  for (const [zerotier, reason] of [
    [{ kind: 'no-token' }, 'NoToken'],
    [{ kind: 'unauthorized' }, 'TokenRefused'],
    [{ kind: 'unreachable', error: 'refused' }, 'Unreachable'],
  ] as const) {
    test(`does nothing while the API is ${zerotier.kind}`, () => {
      const result = ask(aWorld({ zerotier }));
      assert.equal(result.findings.ZeroTierOnline.reason, reason);
      assert.deepEqual(result.actions, []);
    });
  }
});
