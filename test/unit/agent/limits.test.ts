import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { begun, ended, type Memory } from '../../../src/agent/memory.ts';
import { limitsStage } from '../../../src/agent/stages/limits.ts';
import { isTrue } from '../../../src/agent/stages/stage.ts';
import { upstreamsStage } from '../../../src/agent/stages/upstreams.ts';
import type { World } from '../../../src/agent/world.ts';
import { aConfig, aMemory, at, aWorld } from '../../support/world.ts';

const upstreams = ['127.0.0.1:31693'];
const limited = aConfig({
  ingress: [{ name: 'http', listen: 80, upstreams, newConnectionsPerClient: '20/1s' }],
});
const unlimited = aConfig({ ingress: [{ name: 'http', listen: 80, upstreams }] });
const absent = { installed: true, loaded: { kind: 'absent' } } as const;
const present = (text: string) =>
  ({ installed: true, loaded: { kind: 'present', text, mode: 0o644 } }) as const;

function ask(config: typeof limited, limits: World['limits'], memory: Memory = aMemory(), ms = 100_000) {
  const input = { config, world: aWorld({ limits }), memory, now: at(ms) };
  return limitsStage(input, upstreamsStage(input, {}, isTrue('Reachable', 'it answers')).entries);
}
const context = { nowMs: 100_000, random: 0.5, budget: { count: 5, periodMs: 600_000, maxDelayMs: 1 } };

describe('the limits of new connections', () => {
  test('are loaded where they are wanted, and in force once the copy of what nft took is what is wanted', () => {
    const first = ask(limited, absent);
    const [load] = first.actions;
    assert.equal(load?.do, 'limits.load');
    assert.match(load.text, /tcp dport 80 .* limit rate over 20\/second burst 20 packets/);
    assert.equal(first.findings.IngressLimited.reason, 'Loading');
    const memory = ended(begun(first.memory, load, context), load, { ok: true });
    const after = ask(limited, present(load.text), memory, 101_000);
    assert.deepEqual([after.actions, after.memory.attempts], [[], {}]);
    assert.equal(after.findings.IngressLimited.status, 'true');
    assert.match(after.findings.IngressLimited.message, /at http$/);
    assert.equal(ask(limited, present('another')).actions.length, 1);
  });

  test('that nft refuses are told with its words, and tried again later', () => {
    const [load] = ask(limited, absent).actions;
    assert.ok(load);
    const refused = ended(begun(aMemory(), load, context), load, {
      ok: false,
      code: 'limits-refused',
      message: 'nft refuses it: syntax error',
    });
    const again = ask(limited, absent, refused, 101_000);
    assert.deepEqual(again.actions, []);
    assert.equal(again.findings.IngressLimited.reason, 'NotLoaded');
    assert.match(again.findings.IngressLimited.message, /syntax error; no limit is in force$/);
    assert.match(
      ask(limited, present('old'), refused).findings.IngressLimited.message,
      /the former limits stay in force$/,
    );
    assert.equal(ask(limited, absent, refused, 400_000).actions.length, 1);
  });

  test('are taken away where none are wanted any more, with or without an ingress', () => {
    for (const config of [unlimited, aConfig()]) {
      assert.deepEqual(ask(config, present('old')).actions, [{ do: 'limits.remove' }]);
      assert.deepEqual(ask(config, absent).actions, []);
      assert.equal(ask(config, absent).findings.IngressLimited.reason, 'NotWanted');
    }
  });

  test('need nft, which is told', () => {
    const { actions, findings } = ask(limited, { ...absent, installed: false });
    assert.deepEqual(actions, []);
    assert.equal(findings.IngressLimited.reason, 'NftablesMissing');
    assert.match(findings.IngressLimited.message, /apt install nftables/);
    assert.equal(ask(unlimited, { ...absent, installed: false }).findings.IngressLimited.status, 'true');
  });
});
