import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { plan } from '../../../src/agent/plan.ts';
import { lastingReading } from '../../../src/agent/stages/cloud.ts';
import type { CloudReading } from '../../../src/systems/cloud/types.ts';
import { aConfig, aMemory, at, aWorld, someFacts } from '../../support/world.ts';

const facts = someFacts({ publicIpv4: '203.0.113.7' });
const known: CloudReading = { kind: 'known', facts, stale: undefined };
const silent: CloudReading = { kind: 'unavailable', provider: 'aws', error: 'no answer' };
const config = aConfig({ node: { externalIp: 'auto', cloud: 'auto' } });

function look(cloud: CloudReading, memory = aMemory(), ms = 100_000) {
  const result = plan({ config, world: aWorld({ cloud }), memory, now: at(ms) }, 0.5);
  const write = result.actions.k3s.find((action) => action.do === 'k3s.write-config');
  return { result, text: write?.do === 'k3s.write-config' ? write.text : '' };
}

describe('the facts of the cloud', () => {
  test('stay in the k3s config when the metadata service falls silent, also over a restart of mooring', () => {
    const first = look(known);
    assert.match(first.text, /203\.0\.113\.7/);
    const kept: typeof first.result.memory = JSON.parse(JSON.stringify(first.result.memory));
    const later = look(silent, kept, 200_000);
    assert.equal(later.text, first.text);
    const condition = later.result.conditions.find(({ type }) => type === 'CloudFactsKnown');
    assert.deepEqual([condition?.status, condition?.reason], ['unknown', 'Stale']);
  });

  test('are replaced by newer ones, and by an address that was taken away', () => {
    const first = look(known);
    const without = { ...facts, publicIpv4: undefined };
    const later = look({ kind: 'known', facts: without, stale: undefined }, first.result.memory);
    assert.doesNotMatch(later.text, /node-external-ip/);
  });

  test('are forgotten where no cloud is to be asked any more', () => {
    const first = look(known);
    const off = look({ kind: 'none' }, first.result.memory);
    assert.equal(off.result.memory.cloudFacts, undefined);
    assert.doesNotMatch(off.text, /node-external-ip|topology/);
  });

  test('that are stale are used but not remembered, since a copied disk may bring those of another instance', () => {
    const { reading, remember } = lastingReading({ kind: 'known', facts, stale: 'kept' }, undefined);
    assert.equal(reading.kind, 'known');
    assert.equal(remember, undefined);
    assert.equal(lastingReading(silent, undefined).reading.kind, 'unavailable');
  });
});
