import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { World } from '#src/agent/world.ts';
import { describe as linesOf } from '#src/cli/status.ts';
import { statusOf } from '../../support/moored.ts';
import { aLink, aNetwork, device, someFacts, units, zerotierAnswers } from '../../support/world.ts';
import { assertGolden } from '../golden-file.ts';

const facts = someFacts({ instanceId: 'i-0123456789abcdef0' });
const refused = zerotierAnswers({
  networks: [aNetwork({ status: 'ACCESS_DENIED', assignedAddresses: [], name: '' })],
});

const situations: readonly (readonly [string, Partial<World>])[] = [
  ['moored', {}],
  [
    'refused',
    {
      zerotier: refused,
      links: { [device]: aLink({ addresses: [] }) },
      units: units({ activeState: 'inactive', invocationId: '' }),
    },
  ],
  ['zerotier-missing', { zerotier: { kind: 'no-token' }, links: {}, cloud: { kind: 'none' } }],
  [
    'last-good',
    {
      configState: { kind: 'last-good', problems: ['config.yaml:3: k3s.server: found nothing'] },
      cloud: { kind: 'known', facts, stale: 'no answer within 1500 ms' },
    },
  ],
];

describe('mooring status, for people', () => {
  for (const [name, world] of situations) {
    test(`tells of a node that is ${name}`, () => {
      assertGolden(`status/${name}.txt`, `${linesOf(statusOf(world)).join('\n')}\n`);
    });
  }

  test('marks what is fine, what is not, and what nobody knows', () => {
    const lines = linesOf(statusOf({ zerotier: { kind: 'no-token' }, links: {} }));
    assert.ok(lines.some((line) => line.startsWith('  ok  ConfigAccepted ')));
    assert.ok(lines.some((line) => line.startsWith('  !!  ZeroTierOnline ')));
    assert.ok(lines.some((line) => line.startsWith('  ??  BlacklistInForce ')));
  });

  test('names the cause beside its consequences', () => {
    const lines = linesOf(statusOf({ zerotier: { kind: 'no-token' }, links: {} }));
    const consequences = lines.filter((line) => line.includes('[because of ZeroTierOnline]'));
    assert.ok(consequences.some((line) => line.includes('LinkReady')));
    assert.ok(!lines.some((line) => line.includes(' ZeroTierOnline ') && line.includes('because of')));
  });
});
