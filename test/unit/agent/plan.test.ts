import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ConditionType } from '../../../src/agent/conditions.ts';
import { plan } from '../../../src/agent/plan.ts';
import { aConfig, aMemory, at, aWorld } from '../../support/world.ts';

const of = (result: ReturnType<typeof plan>, type: ConditionType) =>
  result.conditions.find((condition) => condition.type === type);

describe('the plan', () => {
  test('of a stage with a fault is none, and the other stages go on', () => {
    const config = aConfig({ ingress: [{ name: 'http', listen: 80, upstreams: ['127.0.0.1:1'] }] });
    const [entry] = config.ingress;
    assert.ok(entry);
    const broken = { ...config, ingress: [{ ...entry, listen: Number.NaN }] };
    const result = plan({ config: broken, world: aWorld(), memory: aMemory(), now: at(5_000) }, 0.5);
    assert.equal(of(result, 'IngressRunning')?.reason, 'Fault');
    assert.match(of(result, 'IngressRunning')?.message ?? '', /stage ingress.*NaN|stage ingress.*port/);
    assert.equal(of(result, 'Ready')?.status, 'false');
    assert.deepEqual(result.actions.ingress, []);
    assert.equal(result.actions.dns[0]?.do, 'dns.set');
    assert.equal(of(result, 'LinkReady')?.status, 'true');
  });

  test('spreads the calm wake-ups of many nodes', () => {
    const ask = (random: number) =>
      plan(
        {
          config: aConfig(),
          world: aWorld({ configState: { kind: 'accepted' } }),
          memory: aMemory(),
          now: at(0),
        },
        random,
      );
    assert.ok(ask(0).wakeAtMs <= ask(0.99).wakeAtMs);
    assert.ok(ask(0.99).wakeAtMs <= 22_000);
  });
});
