import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { begun, ended, type Memory } from '../../../src/agent/memory.ts';
import { renderNginxConf } from '../../../src/agent/render/nginx-conf.ts';
import { ingressStage } from '../../../src/agent/stages/ingress.ts';
import { ingressUnit, type World } from '../../../src/agent/world.ts';
import { aConfig, aMachine, aMemory, aMooredHost, at, aWorld, units } from '../../support/world.ts';

const config = aConfig({
  ingress: [
    { name: 'http', listen: 80, upstreams: ['127.0.0.1:31693'] },
    { name: 'quic', listen: 443, protocol: 'udp', upstreams: ['127.0.0.1:30485'] },
  ],
});
const conf = renderNginxConf(config.ingress, aMooredHost);
const inPlace: World['ingress'] = {
  installed: true,
  program: '1:1:1 2:2:2',
  ipv6: true,
  machine: aMachine,
  config: { kind: 'present', text: conf.text, mode: 0o644 },
  keptGeneration: conf.generation,
  servingGeneration: conf.generation,
};
const stopped = units({}, { activeState: 'inactive', invocationId: '' });
const ask = (world: Partial<World> = {}, memory: Memory = aMemory(), ms = 100_000) =>
  ingressStage(
    {
      config,
      world: aWorld({ ingress: inPlace, units: units(), ...world }),
      memory,
      now: at(ms),
    },
    { entries: config.ingress, found: [] },
  );
const context = {
  nowMs: 100_000,
  random: 0.5,
  budget: { count: 5, periodMs: 600_000, maxDelayMs: 1 },
};

describe('the ingress stage', () => {
  test('is true only when the running workers answer with the wanted generation', () => {
    const { actions, findings } = ask();
    assert.deepEqual(actions, []);
    assert.equal(findings.IngressRunning.status, 'true');
    assert.match(findings.IngressRunning.message, /http on 80\/tcp, quic on 443\/udp/);
  });

  test('has another config tested and swapped in before anything else', () => {
    const { actions } = ask({
      ingress: { ...inPlace, config: { kind: 'absent' }, servingGeneration: undefined },
      units: stopped,
    });
    assert.deepEqual(actions, [{ do: 'ingress.replace', text: conf.text, generation: conf.generation }]);
  });

  test('starts a unit that does not run, and resets a failed one', () => {
    assert.deepEqual(ask({ units: stopped }).actions, [
      { do: 'unit.start', unit: ingressUnit, reason: 'start' },
    ]);
    const failed = units({}, { activeState: 'failed', result: 'exit-code' });
    assert.deepEqual(ask({ units: failed }).actions, [
      { do: 'unit.start', unit: ingressUnit, reason: 'failed' },
    ]);
  });

  test('reloads when the workers serve another generation, and believes no reload that they do not confirm', () => {
    const old = { ingress: { ...inPlace, servingGeneration: '0'.repeat(16) } };
    const first = ask(old);
    assert.deepEqual(first.actions, [{ do: 'unit.reload', unit: ingressUnit }]);
    const [action] = first.actions;
    assert.ok(action);
    const reloaded = ended(begun(first.memory, action, context), action, { ok: true });
    const soon = ask(old, reloaded, 100_300);
    assert.deepEqual(soon.actions, []);
    assert.equal(soon.findings.IngressRunning.reason, 'Reloading');
    const late = ask(old, reloaded, 106_000);
    assert.equal(late.findings.IngressRunning.reason, 'ReloadRefused');
  });

  test('takes a lost answer for nothing, and reloads only after a lasting silence', () => {
    const silent = { ingress: { ...inPlace, servingGeneration: undefined } };
    const first = ask(silent);
    assert.deepEqual(first.actions, []);
    assert.equal(first.findings.IngressRunning.status, 'unknown');
    const answered = ask({}, first.memory, 103_000);
    assert.equal(answered.memory.ingressSilentSinceMs, undefined);
    assert.deepEqual(ask(silent, answered.memory, 106_000).actions, []);
    assert.deepEqual(ask(silent, first.memory, 105_000).actions, [{ do: 'unit.reload', unit: ingressUnit }]);
  });

  test('gives the new workers time before it reloads again, and goes on calling a refused reload refused', () => {
    const old = { ingress: { ...inPlace, servingGeneration: '0'.repeat(16) } };
    const reload = { do: 'unit.reload', unit: ingressUnit } as const;
    const once = begun(aMemory(), reload, { ...context, random: 0 });
    assert.deepEqual(ask(old, once, 104_900).actions, []);
    assert.deepEqual(ask(old, once, 105_000).actions, [reload]);
    const twice = begun(once, reload, { ...context, nowMs: 105_000, random: 0 });
    const again = ask(old, twice, 105_300);
    assert.deepEqual(again.actions, []);
    assert.equal(again.findings.IngressRunning.reason, 'ReloadRefused');
  });

  test('forgets the attempts at a config once it is served', () => {
    const replace = { do: 'ingress.replace', text: conf.text, generation: conf.generation } as const;
    assert.deepEqual(ask({}, begun(aMemory(), replace, context)).memory.attempts, {});
  });

  test('starts an nginx that crashes again and again only within the restart budget', () => {
    const failed = { units: units({}, { activeState: 'failed', result: 'exit-code' }) };
    let memory = aMemory();
    let starts = 0;
    for (let ms = 100_000; ms < 160_000; ms += 1_000) {
      // In between it ran for a moment, which ends the backoff of the attempts.
      const { actions } = ask(failed, { ...memory, attempts: {} }, ms);
      for (const action of actions) {
        memory = begun(memory, action, { ...context, nowMs: ms });
        starts += 1;
      }
    }
    assert.equal(starts, 5);
    const spent = ask(failed, { ...memory, attempts: {} }, 160_000);
    assert.match(spent.findings.IngressRunning.message, /budget is used up/);
    const later = ask(failed, { ...memory, attempts: {} }, 160_000 + 600_000);
    assert.equal(later.actions.length, 1);
  });

  test("shows nginx's words for a refused config and does not try the same again at once", () => {
    const world = { ingress: { ...inPlace, config: { kind: 'absent' } as const } };
    const [action] = ask(world).actions;
    assert.ok(action);
    const refused = ended(begun(aMemory(), action, context), action, {
      ok: false,
      code: 'ingress-config-refused',
      message: 'unknown directive',
    });
    const again = ask(world, refused, 101_000);
    assert.deepEqual(again.actions, []);
    assert.equal(again.findings.IngressRunning.reason, 'ConfigRefused');
    assert.match(
      again.findings.IngressRunning.message,
      /unknown directive; the former config stays in force/,
    );
  });

  test('keeps what is served as the config to fall back to', () => {
    const { actions } = ask({ ingress: { ...inPlace, keptGeneration: undefined } });
    assert.deepEqual(actions, [{ do: 'ingress.keep', generation: conf.generation }]);
  });

  test('reloads for a config that takes the place of another, whose reload is still under way', () => {
    const old = { ...inPlace, servingGeneration: '0'.repeat(16) };
    const reload = { do: 'unit.reload', unit: ingressUnit } as const;
    const replace = { do: 'ingress.replace', text: conf.text, generation: conf.generation } as const;
    const before = ended(begun(aMemory(), reload, context), reload, { ok: true });
    assert.deepEqual(ask({ ingress: old }, before, 100_500).actions, [], 'it is given time');
    const refused = ended(begun(before, replace, context), replace, { ok: false, code: 'x', message: 'y' });
    assert.ok('unit.reload:mooring-ingress.service' in refused.attempts);
    const replaced = ended(begun(before, replace, context), replace, { ok: true });
    assert.deepEqual(ask({ ingress: old }, replaced, 100_500).actions, [reload]);
  });

  test('puts the kept config back in place of one that nginx cannot take over, and says so until it can', () => {
    const old = '0'.repeat(16);
    const ingress = { ...inPlace, keptGeneration: old, servingGeneration: old };
    const replace = { do: 'ingress.replace', text: conf.text, generation: conf.generation } as const;
    const reload = { do: 'unit.reload', unit: ingressUnit } as const;
    const tried = [replace, reload].reduce(
      (memory, action) => ended(begun(memory, action, context), action, { ok: true }),
      aMemory(),
    );
    const refused = ask({ ingress }, tried, 106_000);
    assert.deepEqual(refused.actions, [{ do: 'ingress.restore', refused: conf.generation }]);
    const [restore] = refused.actions;
    assert.ok(restore);
    const restored = begun(refused.memory, restore, context);
    const waiting = ask(
      { ingress: { ...ingress, config: { kind: 'present', text: 'old', mode: 0o644 } } },
      restored,
      106_500,
    );
    assert.deepEqual(waiting.actions, []);
    assert.equal(waiting.findings.IngressRunning.reason, 'ReloadRefused');
    const again = ask(
      { ingress: { ...ingress, config: { kind: 'present', text: 'old', mode: 0o644 } } },
      restored,
      400_000,
    );
    assert.deepEqual(again.actions, [replace]);
    const inPlaceAgain = begun(again.memory, replace, { ...context, nowMs: 400_000 });
    assert.deepEqual(ask({ ingress }, inPlaceAgain, 400_100).actions, [reload]);
  });

  test('starts nginx from the kept config when it does not start from the new one', () => {
    const failed = units({}, { activeState: 'failed', result: 'exit-code' });
    const ingress = { ...inPlace, keptGeneration: '0'.repeat(16), servingGeneration: undefined };
    const start = { do: 'unit.start', unit: ingressUnit, reason: 'failed' } as const;
    assert.deepEqual(ask({ ingress, units: failed }).actions, [start]);
    const tried = begun(aMemory(), start, context);
    assert.deepEqual(ask({ ingress, units: failed }, tried, 200_000).actions, [
      { do: 'ingress.restore', refused: conf.generation },
      start,
    ]);
  });

  test('renews a running nginx once another program has been installed for a while, and knows when it is done', () => {
    const first = ask();
    const updated = { ingress: { ...inPlace, program: '9:9:9 2:2:2' } };
    const seen = ask(updated, first.memory, 200_000);
    assert.deepEqual(seen.actions, []);
    assert.equal(seen.findings.IngressRunning.status, 'true');
    assert.equal(seen.wakeAtMs, 210_000);
    const due = ask(updated, seen.memory, 210_000);
    assert.deepEqual(due.actions, [{ do: 'ingress.renew', program: '9:9:9 2:2:2' }]);
    const [renew] = due.actions;
    assert.ok(renew);
    const begunAt = begun(due.memory, renew, { ...context, nowMs: 210_000 });
    const failed = ended(begunAt, renew, { ok: false, code: 'ingress-not-renewed', message: 'no' });
    assert.deepEqual(ask(updated, failed, 211_000).actions, []);
    assert.match(ask(updated, failed, 211_000).findings.IngressRunning.message, /renewed.*\(no\)$/);
    const done = ended(begunAt, renew, { ok: true });
    assert.deepEqual(ask(updated, done, 212_000).actions, []);
    assert.equal(ask(updated, done, 212_000).wakeAtMs, undefined);
  });

  test('takes an nginx that was started after the update for the installed program', () => {
    const ingress = { ...inPlace, program: '9:9:9 2:2:2' };
    const updated = ask({ ingress }, ask().memory, 200_000);
    const anew = { units: units({}, { invocationId: 'e'.repeat(32), startedMs: 205_000 }), ingress };
    const after = ask(anew, updated.memory, 400_000);
    assert.deepEqual(after.actions, []);
    const before = { units: units({}, { invocationId: 'e'.repeat(32), startedMs: 199_000 }), ingress };
    assert.equal(ask(before, updated.memory, 400_000).actions[0]?.do, 'ingress.renew');
  });

  test('forgets a refused candidate when the wanted config is another one', () => {
    const memory = aMemory({
      attempts: { 'ingress.replace:ffff': { count: 3, notBeforeMs: 1e9, lastMs: 0, error: 'x' } },
    });
    const { memory: next, actions } = ask({ ingress: { ...inPlace, config: { kind: 'absent' } } }, memory);
    assert.deepEqual(next.attempts, {});
    assert.equal(actions.length, 1);
  });

  test('stops nginx when no ingress is configured, and only then', () => {
    const none = (activeState: string) =>
      ingressStage(
        {
          config: aConfig(),
          world: aWorld({ units: units({}, { activeState }) }),
          memory: aMemory(),
          now: at(0),
        },
        { entries: [], found: [] },
      );
    assert.deepEqual(none('active').actions, [{ do: 'unit.stop', unit: ingressUnit }]);
    assert.deepEqual(none('inactive').actions, []);
    assert.equal(none('inactive').findings.IngressRunning.reason, 'NotWanted');
  });

  for (const [what, world, reason] of [
    ['nginx is missing', { ingress: { ...inPlace, installed: false } }, 'NginxMissing'],
    [
      'the unit is masked',
      { units: units({}, { loadState: 'masked', activeState: 'inactive' }) },
      'UnitMasked',
    ],
    [
      'the unit is disabled',
      { units: units({}, { unitFileState: 'disabled', activeState: 'inactive' }) },
      'UnitDisabled',
    ],
    ['the unit is disabled and runs', { units: units({}, { unitFileState: 'disabled' }) }, 'LeftAlone'],
    ['the unit is missing', { units: units({}, { loadState: 'not-found' }) }, 'UnitMissing'],
    ['systemd cannot be asked', { units: { kind: 'unreachable', error: 'x' } }, 'SystemdAway'],
    ['the unit is starting', { units: units({}, { activeState: 'activating' }) }, 'Starting'],
  ] as const) {
    test(`does nothing and says why when ${what}`, () => {
      const { actions, findings } = ask(world);
      assert.deepEqual(actions, []);
      assert.equal(findings.IngressRunning.reason, reason);
    });
  }
});
