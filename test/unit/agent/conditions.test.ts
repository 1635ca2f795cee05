import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type ConditionType,
  conditionsOf,
  conditionTypes,
  type Finding,
  type Findings,
} from '../../../src/agent/conditions.ts';

const fine: Finding = { status: 'true', reason: 'Fine', message: 'fine' };
const bad = (message: string): Finding => ({ status: 'false', reason: 'Bad', message });

function findings(overrides: Partial<Record<ConditionType, Finding>> = {}): Findings {
  const all: Findings = {
    ConfigAccepted: fine,
    SecretsProtected: fine,
    ZeroTierOnline: fine,
    BlacklistInForce: fine,
    NetworkAuthorized: fine,
    LinkReady: fine,
    DnsConfigured: fine,
    CloudFactsKnown: fine,
    K3sInstalled: fine,
    K3sUpToDate: fine,
    K3sRunning: fine,
    ServerReachable: fine,
    PodNetworkReady: fine,
    UpstreamsFound: fine,
    IngressLimited: fine,
    IngressRunning: fine,
  };
  return { ...all, ...overrides };
}
const find = (list: ReturnType<typeof conditionsOf>, type: ConditionType) => {
  const found = list.find((condition) => condition.type === type);
  assert.ok(found);
  return found;
};

describe('conditions', () => {
  test('are Ready when every critical one is true, whatever the others are', () => {
    const list = conditionsOf(
      findings({ CloudFactsKnown: bad('no answer'), ConfigAccepted: bad('typo') }),
      [],
      1,
    );
    assert.equal(find(list, 'Ready').status, 'true');
  });

  test('an unknown critical one keeps the node from being Ready', () => {
    const list = conditionsOf(
      findings({ LinkReady: { status: 'unknown', reason: 'Away', message: 'away' } }),
      [],
      1,
    );
    assert.equal(find(list, 'Ready').status, 'false');
  });

  test('name the root cause, and Ready tells the cause and not its consequence', () => {
    const list = conditionsOf(
      findings({
        NetworkAuthorized: bad('authorise it'),
        LinkReady: bad('no address'),
        K3sRunning: bad('waiting'),
        DnsConfigured: bad('no device'),
      }),
      [],
      1,
    );
    assert.equal(find(list, 'LinkReady').cause, 'NetworkAuthorized');
    assert.equal(find(list, 'K3sRunning').cause, 'NetworkAuthorized');
    assert.equal(find(list, 'NetworkAuthorized').cause, undefined);
    assert.deepEqual(
      [find(list, 'Ready').reason, find(list, 'Ready').message],
      ['NetworkAuthorized', 'authorise it'],
    );
  });

  test('keep their time while the status stays, also when the reason changes', () => {
    const first = conditionsOf(findings({ K3sRunning: bad('a') }), [], 100);
    const second = conditionsOf(findings({ K3sRunning: { ...bad('b'), reason: 'Worse' } }), first, 200);
    const third = conditionsOf(findings(), second, 300);
    assert.equal(find(second, 'K3sRunning').sinceMs, 100);
    assert.equal(find(third, 'K3sRunning').sinceMs, 300);
    assert.equal(find(third, 'LinkReady').sinceMs, 100);
  });

  test('are all published, each once', () => {
    assert.deepEqual(
      conditionsOf(findings(), [], 1).map((condition) => condition.type),
      conditionTypes,
    );
    assert.equal(new Set(conditionTypes).size, 17);
  });
});
