/** Entries whose upstreams are found in the cluster: what is rendered from what is known, and what is told of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Memory } from '../../../src/agent/memory.ts';
import { plan } from '../../../src/agent/plan.ts';
import { renderNginxConf } from '../../../src/agent/render/nginx-conf.ts';
import { ingressStage } from '../../../src/agent/stages/ingress.ts';
import { upstreamsStage } from '../../../src/agent/stages/upstreams.ts';
import type { World } from '../../../src/agent/world.ts';
import type { ServicePort, ServiceReading } from '../../../src/systems/cluster/service-types.ts';
import { aConfig, aMemory, aMooredHost, at, aWorld, units } from '../../support/world.ts';

const config = aConfig({
  ingress: [
    { name: 'fixed', listen: 8080, upstreams: ['127.0.0.1:9000'] },
    { name: 'http', listen: 80, upstreams: 'auto' },
    { name: 'https', listen: 443, upstreams: { service: 'kube-system/traefik', port: 'websecure' } },
    { name: 'quic', listen: 443, protocol: 'udp', upstreams: 'auto' },
  ],
});
const aPort = (
  name: string,
  port: number,
  nodePort: number,
  protocol: 'tcp' | 'udp' = 'tcp',
  isTold = true,
): ServicePort => ({ name, port, protocol, nodePort, isTold });
const ports = [
  aPort('web', 80, 31693),
  aPort('websecure', 443, 30484),
  aPort('websecure-http3', 443, 30485, 'udp'),
];
const live: ServiceReading = {
  ports,
  asOfMs: 1_790_000_000_000,
  state: { kind: 'live', isThere: true },
  reach: { tcp: undefined, udp: undefined },
  answering: [],
};
const fine = { status: 'true', reason: 'Verified', message: '' } as const;

interface Situation {
  readonly reading?: ServiceReading | undefined;
  readonly memory?: Memory;
  readonly ms?: number;
  readonly world?: Partial<World>;
  readonly on?: typeof config;
}
const ask = ({ reading = live, memory = aMemory(), ms = 100_000, world = {}, on = config }: Situation = {}) =>
  upstreamsStage(
    {
      config: on,
      world: aWorld({ units: units(), services: { 'kube-system/traefik': reading }, ...world }),
      memory,
      now: at(ms),
    },
    {},
    fine,
  );
const upstreamsOf = (result: ReturnType<typeof ask>) =>
  Object.fromEntries(result.entries.map(({ name, upstreams }) => [name, upstreams]));

describe('upstreams that are found in the cluster', () => {
  test('are the NodePorts of the wanted port and protocol, beside lists that stay as they are', () => {
    const result = ask();
    assert.deepEqual(upstreamsOf(result), {
      fixed: ['127.0.0.1:9000'],
      http: ['127.0.0.1:31693'],
      https: ['127.0.0.1:30484'],
      quic: ['127.0.0.1:30485'],
    });
    assert.equal(result.findings.UpstreamsFound.reason, 'Live');
    assert.deepEqual(result.services.wanted, ['kube-system/traefik']);
    assert.equal(result.services.run, 'a'.repeat(32));
    assert.equal(result.wakeAtMs, undefined);
  });

  test('are not asked for where every entry has a list, nor without a running k3s', () => {
    const lists = ask({ on: aConfig({ ingress: [{ name: 'a', listen: 80, upstreams: ['10.0.0.1:80'] }] }) });
    assert.deepEqual([lists.services.wanted, lists.services.run], [[], undefined]);
    assert.equal(lists.findings.UpstreamsFound.reason, 'NotWanted');
    const idle = ask({
      world: { units: units({ activeState: 'activating' }) },
      reading: { ...live, state: { kind: 'unasked' } },
    });
    assert.equal(idle.services.run, undefined);
    assert.equal(idle.findings.UpstreamsFound.reason, 'WaitingForK3s');
    assert.equal(idle.entries.length, 4, 'what is known serves');
  });

  /** What the ingress stage says once nginx serves what is known. */
  const servedWith = (reading: ServiceReading) => {
    const result = ask({ reading });
    const conf = renderNginxConf(result.entries, aMooredHost);
    const ingress = {
      ...aWorld().ingress,
      config: { kind: 'present', text: conf.text, mode: 0o644 },
      keptGeneration: conf.generation,
      servingGeneration: conf.generation,
    } as const;
    const { findings, actions } = ingressStage(
      { config, world: aWorld({ ingress, units: units() }), memory: aMemory(), now: at(100_000) },
      result,
    );
    assert.deepEqual(actions, []);
    return { result, finding: findings.IngressRunning };
  };

  test('that the Service does not have are left out and told, and the others serve', () => {
    const { result, finding } = servedWith({ ...live, ports: ports.slice(0, 2) });
    assert.deepEqual(Object.keys(upstreamsOf(result)), ['fixed', 'http', 'https']);
    assert.equal(result.findings.UpstreamsFound.reason, 'NoNodePort');
    assert.match(result.findings.UpstreamsFound.message, /quic: it has no NodePort for 443\/udp/);
    assert.deepEqual([finding.status, finding.reason], ['true', 'ServingPartly']);
    assert.match(
      finding.message,
      /left out: quic \(Service kube-system\/traefik: .*443\/udp\); nginx serves fixed on 8080\/tcp, http/,
    );
  });

  test('that nothing is known of keep the ingress from being in order, though the others serve', () => {
    const trouble = { kind: 'trouble', reason: 'away', error: '' } as const;
    for (const reading of [
      { ...live, ports: [], state: { kind: 'unasked' } as const },
      { ...live, ports: ports.slice(0, 2), state: trouble },
      { ...live, ports: [], state: { kind: 'live', isThere: false } as const },
      { ...live, ports: [aPort('web', 80, 8080), ...ports.slice(1)] },
    ]) {
      const { finding } = servedWith(reading);
      assert.deepEqual([finding.status, finding.reason], ['false', 'NoUpstream']);
      assert.match(finding.message, /left out: .*; nginx serves fixed on 8080\/tcp/);
    }
  });

  test('of which nothing was ever told leave a config without these doors', () => {
    const result = ask({ world: { services: {} } });
    assert.deepEqual(Object.keys(upstreamsOf(result)), ['fixed']);
    assert.equal(result.findings.UpstreamsFound.status, 'unknown');
    const nothing = ask({
      on: aConfig({ ingress: [{ name: 'http', listen: 80, upstreams: 'auto' }] }),
      world: { services: {} },
    });
    assert.doesNotMatch(renderNginxConf(nothing.entries, aMooredHost).text, /listen 80/);
  });

  for (const [reason, trouble] of [
    ['ApiAway', 'away'],
    ['Refused', 'refused'],
    ['NoCredentials', 'no-credentials'],
    ['Unusable', 'unusable'],
  ] as const) {
    test(`stay the last known, told as of when, while the API is in trouble: ${trouble}`, () => {
      const result = ask({
        reading: { ...live, state: { kind: 'trouble', reason: trouble, error: 'that is why' } },
      });
      assert.equal(result.entries.length, 4);
      assert.equal(result.findings.UpstreamsFound.reason, reason);
      assert.match(
        result.findings.UpstreamsFound.message,
        /that is why; .*what was known on 2026-09-21T14:13:20Z/,
      );
      assert.ok(result.found.every(({ isLive }) => !isLive));
    });
  }

  test('stay the last known when the Service, or its port, is gone from the cluster', () => {
    const gone = ports.map((one) => ({ ...one, isTold: false }));
    const missing = ask({ reading: { ...live, ports: gone, state: { kind: 'live', isThere: false } } });
    assert.equal(missing.entries.length, 4);
    assert.equal(missing.findings.UpstreamsFound.reason, 'ServiceMissing');
    const portGone = ask({ reading: { ...live, ports: [...ports.slice(0, 2), ...gone.slice(2)] } });
    assert.equal(portGone.entries.length, 4);
    assert.equal(portGone.findings.UpstreamsFound.reason, 'NoNodePort');
    assert.match(portGone.findings.UpstreamsFound.message, /quic: .* the former one stays/);
  });

  test('are those of the newest answer where a former port has the same number', () => {
    const reading = { ...live, ports: [aPort('old', 80, 30001, 'tcp', false), ...ports] };
    assert.deepEqual(upstreamsOf(ask({ reading }))['http'], ['127.0.0.1:31693']);
  });

  test('are not taken where the NodePort is a port of the ingress or of mooring itself', () => {
    for (const own of [80, 8080, 9810]) {
      const result = ask({ reading: { ...live, ports: [aPort('web', 80, own), ...ports.slice(1)] } });
      assert.equal(upstreamsOf(result)['http'], undefined, `port ${own}`);
      assert.match(result.findings.UpstreamsFound.message, /http: its NodePort \d+ is that of/);
    }
    const udp = ask({ reading: { ...live, ports: [...ports.slice(0, 2), aPort('h3', 443, 9810, 'udp')] } });
    assert.deepEqual(upstreamsOf(udp)['quic'], ['127.0.0.1:9810'], 'which is another port over UDP');
  });

  describe('whose NodePort changes', () => {
    const moved = { ...live, ports: [aPort('web', 80, 32000), ...ports.slice(1)] };

    test('are both for 30 s, neither of which is ever taken out, and then the one of now', () => {
      const before = ask();
      const during = ask({ reading: moved, memory: before.memory, ms: 200_000 });
      assert.deepEqual(upstreamsOf(during)['http'], ['127.0.0.1:32000', '127.0.0.1:31693']);
      assert.deepEqual(upstreamsOf(during)['https'], ['127.0.0.1:30484']);
      assert.equal(during.wakeAtMs, 230_000);
      const text = renderNginxConf(during.entries, aMooredHost).text;
      assert.match(text, /server 127\.0\.0\.1:32000 max_fails=0;\n +server 127\.0\.0\.1:31693 max_fails=0;/);
      const late = ask({ reading: moved, memory: during.memory, ms: 229_999 });
      assert.deepEqual(upstreamsOf(late)['http'], upstreamsOf(during)['http']);
      assert.equal(late.wakeAtMs, 230_000);
      const after = ask({ reading: moved, memory: late.memory, ms: 230_000 });
      assert.deepEqual(upstreamsOf(after)['http'], ['127.0.0.1:32000']);
      assert.equal(after.wakeAtMs, undefined);
    });

    test('are one after the other for UDP, once the new one is seen to be served', () => {
      const other = [...ports.slice(0, 2), aPort('websecure-http3', 443, 32_444, 'udp')];
      const answering = ['tcp 31693', 'tcp 30484'];
      const first = ask({ reading: { ...live, ports: other, answering }, memory: ask().memory, ms: 200_000 });
      assert.deepEqual(upstreamsOf(first)['quic'], ['127.0.0.1:30485']);
      const seen = { ...live, ports: other, answering: [...answering, 'udp 32444'] };
      const then = ask({ reading: seen, memory: first.memory, ms: 201_000 });
      assert.deepEqual(upstreamsOf(then)['quic'], ['127.0.0.1:32444']);
      const unseen = ask({ reading: { ...live, ports: other }, memory: first.memory, ms: 230_000 });
      assert.deepEqual(
        upstreamsOf(unseen)['quic'],
        ['127.0.0.1:32444'],
        'which is not waited for without end',
      );
    });

    test('again and again keep a short list, and back again are not listed twice', () => {
      let memory = ask().memory;
      let result = ask();
      for (const [index, port] of [32001, 32002, 32003, 32004, 32005, 32003].entries()) {
        const reading = { ...live, ports: [aPort('web', 80, port)] };
        result = ask({ reading, memory, ms: 200_000 + index });
        memory = result.memory;
      }
      const listed = upstreamsOf(result)['http'];
      assert.deepEqual(
        listed,
        [32003, 32005, 32004, 32002].map((port) => `127.0.0.1:${port}`),
      );
    });

    test('are followed also over a restart of mooring, by its memory', () => {
      const memory: Memory = JSON.parse(JSON.stringify(ask().memory));
      const during = ask({ reading: moved, memory, ms: 200_000 });
      assert.deepEqual(upstreamsOf(during)['http'], ['127.0.0.1:32000', '127.0.0.1:31693']);
    });
  });

  test("are at the node's address where loopback does not serve them, its newest first", () => {
    const reachedAt = (reach: Partial<ServiceReading['reach']>): ServiceReading => ({
      ...live,
      reach: { tcp: undefined, udp: undefined, ...reach },
    });
    const reading = reachedAt({ tcp: { kind: 'node', address: '10.45.0.9' } });
    assert.deepEqual(upstreamsOf(ask({ reading }))['http'], ['10.45.0.7:31693']);
    assert.deepEqual(
      upstreamsOf(ask({ reading }))['quic'],
      ['10.45.0.7:30485'],
      'as TCP where nothing tells',
    );
    const memory = { ...aMemory(), networks: {} };
    assert.deepEqual(upstreamsOf(ask({ reading, memory }))['http'], ['10.45.0.9:31693']);
    const v6 = reachedAt({ tcp: { kind: 'node', address: 'fd00::9' } });
    assert.deepEqual(upstreamsOf(ask({ reading: v6, memory }))['http'], ['[fd00::9]:31693']);
    const split = upstreamsOf(
      ask({ reading: reachedAt({ tcp: { kind: 'loopback' }, udp: { kind: 'node', address: '10.45.0.7' } }) }),
    );
    assert.deepEqual([split['http'], split['quic']], [['127.0.0.1:31693'], ['10.45.0.7:30485']]);
  });

  test('are followed anew once the way to the server changes', () => {
    const world = aWorld({ units: units(), services: { 'kube-system/traefik': live } });
    const input = { config, world, memory: aMemory(), now: at(100_000) };
    const open = plan(input, 0.5).services;
    const reachable = {
      server: { kind: 'unreachable', stage: 'http', error: 'refused', heard: true, sinceMs: 0 },
    } as const;
    const cut = plan({ ...input, world: { ...world, home: { ...world.home, ...reachable } } }, 0.5).services;
    const away = plan({ ...input, world: { ...world, links: {} } }, 0.5).services;
    assert.equal(new Set([open.path, cut.path, away.path]).size, 3);
    assert.equal(open.address, '10.45.0.7');
  });
});
