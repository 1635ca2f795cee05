import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { begun, ended, type Memory } from '../../../src/agent/memory.ts';
import { renderNginxConf } from '../../../src/agent/render/nginx-conf.ts';
import { listensOf } from '../../../src/agent/render/nginx-listens.ts';
import { ingressStage } from '../../../src/agent/stages/ingress.ts';
import { takenPorts } from '../../../src/agent/stages/ingress-ports.ts';
import { ingressUnit, type World } from '../../../src/agent/world.ts';
import type { Holder } from '../../../src/systems/doors/types.ts';
import { aConfig, aMemory, aMooredHost, at, aWorld, units } from '../../support/world.ts';

const { ingress: former } = aConfig({
  ingress: [{ name: 'http', listen: 80, upstreams: ['127.0.0.1:31693'] }],
});
const config = aConfig({
  ingress: [
    { name: 'http', listen: 80, upstreams: ['127.0.0.1:31693'] },
    { name: 'more', listen: 8082, upstreams: ['127.0.0.1:31693'] },
    { name: 'quic', listen: 443, protocol: 'udp', upstreams: ['127.0.0.1:30485'] },
  ],
});
const wanted = renderNginxConf(config.ingress, aMooredHost);
const served = renderNginxConf(former, aMooredHost);
const holder = (overrides: Partial<Holder> = {}): Holder => ({
  protocol: 'tcp',
  address: '0.0.0.0',
  port: 8082,
  user: 'games',
  sockets: 1,
  ...overrides,
});
const own = holder({ port: 80, user: 'root' });
/** nginx serves the former config, and the wanted one is in place. */
const refusing: World['ingress'] = {
  ...aWorld().ingress,
  config: { kind: 'present', text: wanted.text, mode: 0o644 },
  keptGeneration: served.generation,
  servingGeneration: served.generation,
};
const ask = (world: Partial<World>, memory: Memory = aMemory()) =>
  ingressStage(
    { config, world: aWorld({ units: units(), ...world }), memory, now: at(200_000) },
    { entries: config.ingress, found: [] },
  );
/** It was asked to take the wanted config over, some time ago. */
const reloaded = [
  { do: 'ingress.replace', ...wanted } as const,
  { do: 'unit.reload', unit: ingressUnit } as const,
].reduce(
  (memory, action) =>
    ended(
      begun(memory, action, {
        nowMs: 100_000,
        random: 0.5,
        budget: { count: 5, periodMs: 600_000, maxDelayMs: 1 },
      }),
      action,
      { ok: true },
    ),
  aMemory({ ingressListens: listensOf(served.text) }),
);

describe('what a config listens at', () => {
  test('is read from its listen lines, without the unix socket', () => {
    assert.deepEqual(
      listensOf(wanted.text).map(({ protocol, address, port }) => `${protocol} ${address} ${port}`),
      ['tcp 0.0.0.0 80', 'tcp :: 80', 'tcp 0.0.0.0 8082', 'tcp :: 8082', 'udp 0.0.0.0 443', 'udp :: 443'],
    );
    assert.deepEqual(
      listensOf('  listen 10.0.0.1:80 so_keepalive=on;\n  listen *:81 udp;\n  listen 1.2.3:4;\n listen x;\n'),
      [
        { protocol: 'tcp', address: '10.0.0.1', port: 80 },
        { protocol: 'udp', address: '0.0.0.0', port: 81 },
      ],
    );
  });
});

describe('a port that another program holds', () => {
  test('is asked about as long as there is an ingress', () => {
    assert.deepEqual(ask({ ingress: refusing }, reloaded).doors.holdersOf, listensOf(wanted.text));
    const fine = { ...refusing, servingGeneration: wanted.generation };
    assert.deepEqual(ask({ ingress: fine }).doors.holdersOf, listensOf(wanted.text), 'it may be shared');
    const none = { config: aConfig(), world: aWorld({ units: units() }), memory: aMemory(), now: at(0) };
    assert.deepEqual(ingressStage(none, { entries: [], found: [] }).doors.holdersOf, []);
  });

  test('is named with its user, and nginx’ own sockets are not', () => {
    const world = { ingress: refusing, doors: { holders: [own, holder()], redirected: [] } };
    const { IngressRunning } = ask(world, reloaded).findings;
    assert.equal(IngressRunning.reason, 'PortTaken');
    assert.equal(
      IngressRunning.message,
      "8082/tcp is taken by another program (socket 0.0.0.0:8082 of games): see whose with ss -ltnp 'sport = :8082', then end that program, or change the entry's listen; nginx keeps serving its former config",
    );
  });

  test('is still named once the former config is back in place', () => {
    const restoring = ask({ ingress: refusing }, reloaded);
    const [restore] = restoring.actions;
    assert.equal(restore?.do, 'ingress.restore');
    const memory = begun(restoring.memory, restore, {
      nowMs: 200_000,
      random: 0.5,
      budget: { count: 5, periodMs: 600_000, maxDelayMs: 1 },
    });
    const ingress = { ...refusing, config: { kind: 'present', text: served.text, mode: 0o644 } as const };
    const { IngressRunning } = ask(
      { ingress, doors: { holders: [own, holder()], redirected: [] } },
      memory,
    ).findings;
    assert.equal(IngressRunning.reason, 'PortTaken');
    assert.match(IngressRunning.message, /^8082\/tcp .*former config stays in force$/);
  });

  test('explains an nginx that does not start, also between two of systemd’s tries', () => {
    const ingress = { ...refusing, servingGeneration: undefined };
    for (const state of [
      { activeState: 'failed', result: 'exit-code' },
      { activeState: 'activating', subState: 'auto-restart' },
    ]) {
      const { IngressRunning } = ask({
        ingress,
        units: units({}, state),
        doors: { holders: [own], redirected: [] },
      }).findings;
      assert.equal(IngressRunning.reason, 'PortTaken');
      assert.match(IngressRunning.message, /^80\/tcp .* of root\).*nginx does not run$/);
    }
    const starting = units({}, { activeState: 'activating', subState: 'start' });
    const { IngressRunning } = ask({
      ingress,
      units: starting,
      doors: { holders: [own], redirected: [] },
    }).findings;
    assert.equal(IngressRunning.reason, 'Starting', 'the socket may be the starting nginx’ own');
  });

  test('is nobody’s where nobody knows which sockets are nginx’ own', () => {
    const unknown = { ...refusing, servingGeneration: 'f'.repeat(16) };
    const forgotten = { ...reloaded, ingressListens: undefined };
    const world = { ingress: unknown, doors: { holders: [own, holder()], redirected: [] } };
    assert.equal(ask(world, forgotten).findings.IngressRunning.reason, 'ReloadRefused');
    assert.equal(ask(world, reloaded).findings.IngressRunning.reason, 'PortTaken');
  });
});

describe('a port that nginx listens at', () => {
  const ingress = { ...refusing, servingGeneration: wanted.generation };

  test('is tried while it is served, and by each config anew', () => {
    assert.deepEqual(ask({ ingress }).doors, {
      holdersOf: listensOf(wanted.text),
      tried: listensOf(wanted.text),
      servedBy: wanted.generation,
    });
    const other = ask({ ingress: refusing }, reloaded).doors;
    assert.deepEqual(other.tried, listensOf(wanted.text), 'what is known of them is kept meanwhile');
    assert.equal(other.servedBy, undefined);
  });

  test('and that is led elsewhere is told with what to do, and nothing is restarted for it', () => {
    const redirected = [
      { address: '10.99.0.2', port: 80 },
      { address: '10.99.0.2', port: 8082 },
      { address: 'fd00::2', port: 80 },
    ];
    const led = ask({ ingress, doors: { holders: undefined, redirected } });
    const { IngressRunning } = led.findings;
    assert.equal(IngressRunning.status, 'false');
    assert.equal(IngressRunning.reason, 'PortRedirected');
    assert.match(
      IngressRunning.message,
      /^80\/tcp, 8082\/tcp: .* to 10\.99\.0\.2 and fd00::2 end elsewhere.*enablelb=true/,
    );
    assert.deepEqual(
      led.actions.map((action) => action.do),
      ['ingress.keep'],
      'as where all is well',
    );
    assert.equal(led.doors.servedBy, wanted.generation, 'it goes on being tried');
    const none = ask({ ingress, doors: { holders: undefined, redirected: [] } });
    assert.equal(none.findings.IngressRunning.reason, 'Serving');
  });
});

describe('a port that another program of root shares with nginx', () => {
  const ingress = { ...refusing, servingGeneration: wanted.generation };
  /** Of a machine with two cores. */
  const doors = (sockets: number) => ({ holders: [{ ...own, sockets }], redirected: [] });

  test('has more sockets than nginx has workers, and is told once that lasts', () => {
    const first = ask({ ingress, doors: doors(3) });
    assert.equal(first.findings.IngressRunning.reason, 'Serving');
    const lasting = { ...first.memory, ingressSharedSinceMs: 185_000 };
    const { findings, actions } = ask({ ingress, doors: doors(3) }, lasting);
    assert.equal(findings.IngressRunning.reason, 'PortShared');
    assert.match(findings.IngressRunning.message, /^80\/tcp: .* of root .*ss -ltnp 'sport = :80'/);
    assert.deepEqual(
      actions.map((action) => action.do),
      ['ingress.keep'],
      'as where all is well',
    );
  });

  test('is nginx’ own where each worker has one', () => {
    const { findings, memory } = ask({ ingress, doors: doors(2) }, aMemory({ ingressSharedSinceMs: 1 }));
    assert.equal(findings.IngressRunning.reason, 'Serving');
    assert.equal(memory.ingressSharedSinceMs, undefined);
  });
});

describe('a socket is in the way', () => {
  const listens = listensOf(wanted.text);
  const one = [{ protocol: 'tcp', address: '10.0.0.1', port: 8082 }] as const;
  for (const [what, taken, of, isInTheWay] of [
    ['of the same address', holder(), listens, true],
    ['of one address, where all are wanted', holder({ address: '10.9.9.9' }), listens, true],
    ['of all addresses, where one is wanted', holder(), one, true],
    ['of all of IPv6, which may be IPv4 as well', holder({ address: '::' }), one, true],
    ['of another address than the wanted one', holder({ address: '10.0.0.2' }), one, false],
    ['of one IPv6 address, where one of IPv4 is wanted', holder({ address: '::1' }), one, false],
    ['of the other protocol', holder({ protocol: 'udp' }), listens, false],
    ['of UDP', holder({ protocol: 'udp', port: 443 }), listens, true],
    ['of a port that nobody wants', holder({ port: 9 }), listens, false],
  ] as const)
    test(`${isInTheWay ? 'where it is' : 'unless it is'} ${what}`, () => {
      assert.equal(takenPorts(of, [], { holders: [taken], redirected: [] }) !== undefined, isInTheWay);
    });

  test('and many of them are told in few words', () => {
    const many = Array.from({ length: 9 }, (_, i) => holder({ address: `10.0.0.${i}` }));
    assert.match(
      takenPorts(listens, [], { holders: many, redirected: [] }) ?? '',
      /10\.0\.0\.2:8082 of games\) and 6 more: /,
    );
    assert.match(
      takenPorts(listens, [], {
        holders: [holder({ protocol: 'udp', port: 443, address: '::' })],
        redirected: [],
      }) ?? '',
      /^443\/udp .*socket \[::\]:443 .*ss -lunp 'sport = :443'/,
    );
  });
});
