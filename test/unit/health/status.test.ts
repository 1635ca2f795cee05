import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { conditionTypes } from '#src/agent/conditions.ts';
import { describe as linesOf } from '#src/cli/status.ts';
import { statusPage } from '#src/health/page.ts';
import { withListeners, wordsOf } from '#src/health/status.ts';
import { statusOf } from '../../support/moored.ts';
import { aLink, aNetwork, device, networkId, units, zerotierAnswers } from '../../support/world.ts';

describe('the status document', () => {
  test('tells of a moored node in one sentence, with its link, units and counters', () => {
    const document = statusOf();
    assert.equal(document.ready, true);
    assert.equal(document.sentence, 'Moored: 10.45.0.7; DNS, k3s and ingress in place');
    assert.deepEqual(document.networks, [
      {
        id: networkId,
        name: 'home',
        status: 'OK',
        device,
        ifindex: 7,
        addresses: ['10.45.0.7/24'],
        mtuBytes: 2800,
        link: 'ready',
        controllerHeardSecondsAgo: 23,
        flaps: 0,
        outages: 0,
      },
    ]);
    assert.deepEqual(
      [document.hostname, document.zerotierAddress, document.version, document.k3s.state],
      ['edge-1', '40c95ab4df', '1.2.3', 'active'],
    );
  });

  test('has every condition once, with times as RFC 3339', () => {
    const { conditions, time } = statusOf();
    assert.deepEqual(
      conditions.map((condition) => condition.type),
      conditionTypes,
    );
    for (const text of [time, ...conditions.map((condition) => condition.since)])
      assert.equal(new Date(text).toISOString(), text);
  });

  test('says in its sentence what is missing first', () => {
    const document = statusOf({ units: units({ activeState: 'failed', result: 'exit-code' }) });
    assert.equal(document.ready, false);
    assert.match(document.sentence, /^Not moored \(K3sRunning\): /);
  });

  test('tells what is remembered of a network while ZeroTier cannot be asked', () => {
    const [network] = statusOf({ zerotier: { kind: 'unreachable', error: 'refused' } }).networks;
    assert.deepEqual([network?.device, network?.status, network?.link], [device, 'UNKNOWN', 'unknown']);
  });

  test('survives JSON, as the page and mooring status read it', () => {
    const document = statusOf({ links: {} });
    const read: typeof document = JSON.parse(JSON.stringify(document));
    assert.equal(read.ready, false);
    assert.equal(read.conditions.length, conditionTypes.length);
  });

  test('holds nothing of the files that it was made from', () => {
    const text = JSON.stringify(statusOf());
    for (const secretPlace of ['token-file', '/etc/mooring/k3s-token', 'server:'])
      assert.ok(!text.includes(secretPlace), secretPlace);
  });
});

const https = {
  name: 'https',
  protocol: 'tcp',
  connections: 345,
  open: 12,
  receivedBytes: 999,
  sentBytes: 20_000_000,
  sessions: { ok: 330, denied: 2, upstream_failed: 1, limited: 0 },
  upstreamFailures: {},
};

describe('a listener of the ingress', () => {
  test('is told in words: open, accepted, what went wrong, bytes', () => {
    assert.equal(wordsOf(https), '12 open, 345 accepted, 2 denied, 1 upstream failed; 999 B in, 20.0 MB out');
  });

  test('that nobody can look at and nobody came to is told as well', () => {
    const none = {
      ...https,
      open: undefined,
      connections: 0,
      sessions: {},
      receivedBytes: 0,
      sentBytes: 1e21,
    };
    assert.equal(wordsOf(none), '0 accepted; 0 B in, 1000000.0 PB out');
  });

  test('has a row on the page and a line in mooring status', () => {
    const document = withListeners(statusOf(), [{ ...https, name: '<b>' }]);
    assert.match(statusPage(document), /<td>&lt;b&gt;<\/td><td>tcp<\/td><td>12 open, 345 accepted/);
    assert.ok(linesOf(document).includes(`  <b>/tcp: ${wordsOf(https)}`));
  });
});

describe('the page for people', () => {
  test('escapes whatever the node, its network or an error is called', () => {
    const hostile = '<script>alert("1")</script>&\'';
    const page = statusPage(
      statusOf({
        hostname: hostile,
        zerotier: zerotierAnswers({ networks: [aNetwork({ name: hostile })] }),
        links: { [device]: aLink() },
        cloud: { kind: 'unavailable', provider: 'aws', error: hostile },
      }),
    );
    assert.ok(!page.includes('<script'));
    assert.ok(page.includes('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;'));
  });

  test('has a row for each condition', () => {
    const page = statusPage(statusOf());
    for (const type of conditionTypes) assert.ok(page.includes(`<td>${type}</td>`), type);
    assert.match(page, /<title>edge-1: moored<\/title>/);
  });

  test('is there before the first pass', () => {
    assert.match(statusPage(undefined), /<title>mooring: starting<\/title>/);
  });
});
