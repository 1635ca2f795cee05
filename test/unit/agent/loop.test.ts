import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Outcome } from '../../../src/agent/actions.ts';
import { Loop } from '../../../src/agent/loop.ts';
import { virtualShell } from '../../support/virtual-shell.ts';
import { aLink, aMemory, aWorld, device } from '../../support/world.ts';

const isDnsSet = (action: { do: string }) => action.do === 'dns.set';

describe('the loop', () => {
  test('saves the memory before an action begins', async () => {
    const end = new AbortController();
    const shell = virtualShell({
      observe: () => aWorld(),
      apply: (action, self) => {
        if (isDnsSet(action)) {
          assert.equal(self.saved.at(-1)?.dnsSet[device], 7);
          end.abort();
        }
        return { ok: true };
      },
    });
    await new Loop(shell, aMemory()).run(end.signal);
    assert.ok(shell.applied.some(isDnsSet));
  });

  test('makes one more pass for any number of edges during a pass', async () => {
    const end = new AbortController();
    const passes: (readonly string[])[] = [];
    const shell = virtualShell({
      observe: () => {
        if (passes.length === 0) for (let edge = 0; edge < 100; edge += 1) loop.wake('edge');
        return aWorld({
          units: { kind: 'unreachable', error: 'no bus' },
          dns: { kind: 'absent', error: 'none', isOffBus: true },
        });
      },
      onPublish: (self) => {
        passes.push(self.published.at(-1)?.pass.reasons ?? []);
        if (passes.length === 3) end.abort();
      },
    });
    const loop = new Loop(shell, aMemory());
    await loop.run(end.signal);
    assert.deepEqual(passes, [
      ['start'],
      ['edge', 'k3s acted'].filter((word) => passes[1]?.includes(word)),
      passes[2],
    ]);
    assert.ok(!passes[2]?.includes('edge'));
  });

  test('dispatches nothing for a stage whose lane is busy, while the others go on', async () => {
    const end = new AbortController();
    let release: (outcome: Outcome) => void = () => undefined;
    const held = new Promise<Outcome>((resolve) => {
      release = resolve;
    });
    const shell = virtualShell({
      observe: () => aWorld(),
      apply: (action) => (isDnsSet(action) ? held : { ok: true }),
      onPublish: (self) => {
        if (self.published.length < 5) return;
        release({ ok: true });
        end.abort();
      },
    });
    await new Loop(shell, aMemory()).run(end.signal);
    assert.equal(shell.applied.filter(isDnsSet).length, 1);
    assert.ok(shell.applied.some((action) => action.do === 'k3s.write-config'));
  });

  test('goes on after a pass that threw, and says that it is a fault', async () => {
    const end = new AbortController();
    let looks = 0;
    const shell = virtualShell({
      observe: () => {
        looks += 1;
        if (looks === 1) throw new TypeError('boom');
        return aWorld();
      },
      onPublish: () => end.abort(),
    });
    await new Loop(shell, aMemory()).run(end.signal);
    assert.equal(looks, 2);
    assert.match(shell.logged[0] ?? '', /error a pass failed, which is a fault in mooring: TypeError: boom/);
  });

  test('a failed action is kept as an outcome and ends the actions of its stage for this pass', async () => {
    const end = new AbortController();
    const shell = virtualShell({
      observe: () =>
        aWorld({
          k3s: { binary: '1', config: { kind: 'absent' }, token: { kind: 'present', copyInSync: false } },
        }),
      apply: (action) =>
        action.do === 'k3s.copy-token' ? { ok: false, code: 'disk-full', message: 'no space' } : { ok: true },
      onPublish: (self) => {
        const error = self.published.at(-1)?.result.memory.attempts['k3s.copy-token']?.error;
        if (error !== undefined) end.abort();
      },
    });
    await new Loop(shell, aMemory()).run(end.signal);
    const copy = shell.applied.findIndex((action) => action.do === 'k3s.copy-token');
    assert.notEqual(copy, -1);
    assert.notEqual(shell.applied[copy + 1]?.do, 'k3s.write-config');
    const error = shell.published.at(-1)?.result.memory.attempts['k3s.copy-token']?.error;
    assert.equal(error, 'no space');
  });

  test('knows a stuck pass from a calm one', async () => {
    const end = new AbortController();
    const shell = virtualShell({
      observe: (self) => {
        assert.equal(loop.isTurning(30_000), true);
        self.nowMs += 31_000;
        assert.equal(loop.isTurning(30_000), false);
        return aWorld();
      },
      onPublish: () => end.abort(),
    });
    const loop = new Loop(shell, aMemory());
    await loop.run(end.signal);
    assert.equal(loop.isTurning(30_000), true);
  });

  test('tries at once what waits for its next try when a person asks', async () => {
    const end = new AbortController();
    const copies: number[] = [];
    const shell = virtualShell({
      observe: () =>
        aWorld({
          k3s: { binary: '1', config: { kind: 'absent' }, token: { kind: 'present', copyInSync: false } },
        }),
      apply: (action, self) => {
        if (action.do === 'k3s.copy-token') copies.push(self.nowMs);
        return { ok: false, code: 'disk-full', message: 'no space' };
      },
      onPublish: (self) => {
        if (self.logged.some((line) => line.includes('no space'))) loop.retryNow('SIGHUP');
        if (copies.length === 3) end.abort();
      },
    });
    const loop = new Loop(shell, aMemory());
    const startedMs = shell.nowMs;
    await loop.run(end.signal);
    assert.deepEqual(copies.slice(0, 3), [startedMs, startedMs, startedMs]);
  });

  test('sets the DNS of a device that came back while a pass waits for a slow system, and once', async () => {
    const end = new AbortController();
    let finishSlowRead: () => void = () => undefined;
    const slowRead = new Promise<void>((resolve) => {
      finishSlowRead = resolve;
    });
    let returned = false;
    const linksNow = () => ({ [device]: aLink({ ifindex: returned ? 8 : 7 }) });
    const shell = virtualShell({
      observe: async () => {
        const links = linksNow();
        if (!returned) {
          returned = true;
          loop.wake('netlink');
          await slowRead;
        }
        return aWorld({ links });
      },
      glance: linksNow,
      apply: (action, self) => {
        if (isDnsSet(action)) {
          assert.equal(self.published.length, 0);
          assert.equal(self.saved.at(-1)?.dnsSet[device], 8);
          finishSlowRead();
        }
        return { ok: true };
      },
      onPublish: (self) => {
        if (self.published.length === 1) end.abort();
      },
    });
    const loop = new Loop(shell, aMemory({ dnsSet: { [device]: 7 } }));
    await loop.run(end.signal);
    const set = shell.applied.filter(isDnsSet);
    assert.deepEqual(
      set.map((action) => action.do === 'dns.set' && action.ifindex),
      [8],
    );
  });

  test('starts nothing after its end', async () => {
    const end = new AbortController();
    let glances = 0;
    const shell = virtualShell({
      observe: () => aWorld(),
      glance: () => {
        glances += 1;
        return {};
      },
      onPublish: () => end.abort(),
    });
    const loop = new Loop(shell, aMemory());
    await loop.run(end.signal);
    const before = glances;
    loop.wake('late');
    assert.equal(glances, before);
  });
});
