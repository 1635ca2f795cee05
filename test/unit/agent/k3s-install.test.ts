import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { attemptBegun } from '../../../src/agent/attempts.ts';
import { begun, ended, type Memory } from '../../../src/agent/memory.ts';
import { type Plan, plan } from '../../../src/agent/plan.ts';
import { installStep } from '../../../src/agent/stages/k3s-install.ts';
import { k3sUnit, type World } from '../../../src/agent/world.ts';
import type { InstallReading, PinnedFile, PinnedWork } from '../../../src/systems/k3s/types.ts';
import { aConfig, aMemory, at, aWorld, units } from '../../support/world.ts';

const sha256 = 'a'.repeat(64);
const startMs = 1_000_000;
const version = 'v1.36.3+k3s1';
const fetchBinary = { do: 'k3s.fetch', file: 'binary', version, sha256 } as const;
const key = `k3s.fetch:binary:${'a'.repeat(16)}`;

const file = (overrides: Partial<PinnedFile> = {}): PinnedFile => ({
  name: 'binary',
  path: '/usr/local/bin/k3s',
  sha256,
  state: 'missing',
  work: undefined,
  ...overrides,
});
const images = (overrides: Partial<PinnedFile> = {}) =>
  file({
    name: 'images',
    path: '/var/lib/rancher/k3s/agent/images/i.tar',
    sha256: 'b'.repeat(64),
    ...overrides,
  });
const install = (...files: readonly PinnedFile[]): InstallReading => ({ kind: 'pinned', version, files });
const failed = (overrides: Partial<Extract<PinnedWork, { kind: 'failed' }>> = {}): PinnedWork => ({
  kind: 'failed',
  code: 'cut',
  message: 'the connection ended',
  retryAfterMs: undefined,
  gained: false,
  ...overrides,
});

const missing = { ...aWorld().k3s, binary: undefined };
function look(world: Partial<World>, memory: Memory = aMemory(), nowMs = startMs): Plan {
  return plan({ config: aConfig(), world: aWorld(world), memory, now: at(nowMs) }, 0.5);
}
const fetches = (result: Plan) => result.actions.k3s.filter((action) => action.do === 'k3s.fetch');
const told = (result: Plan, type: string) => {
  const found = result.conditions.find((condition) => condition.type === type);
  assert.ok(found);
  return found;
};

/** Memory in which the download was begun, as the loop does it. */
function tried(memory: Memory, nowMs: number, random = 0.5): Memory {
  const budget = { count: 1, periodMs: 1, maxDelayMs: 1 };
  return ended(begun(memory, fetchBinary, { nowMs, random, budget }), fetchBinary, { ok: true });
}

describe('a pinned k3s', () => {
  test('is downloaded where there is none, and nothing is started meanwhile', () => {
    const result = look({ k3s: missing, install: install(file()) });
    assert.deepEqual(fetches(result), [fetchBinary]);
    assert.equal(told(result, 'K3sInstalled').reason, 'Downloading');
    assert.equal(told(result, 'K3sUpToDate').cause, 'K3sInstalled');
    assert.deepEqual(
      result.actions.k3s.filter((action) => action.do.startsWith('unit.')),
      [],
    );
  });

  test('is left alone where it is in place', () => {
    const result = look({ install: install(file({ state: 'in-place' })) });
    assert.deepEqual(fetches(result), []);
    assert.equal(told(result, 'K3sUpToDate').reason, 'InPlace');
    assert.equal(told(result, 'K3sInstalled').status, 'true');
  });

  test('tells how far it is every few seconds, and begins no second download', () => {
    const work = { kind: 'fetching', bytes: 28_000_000, totalBytes: 70_000_000 } as const;
    const result = look({ k3s: missing, install: install(file({ work })) });
    assert.deepEqual(fetches(result), []);
    assert.match(told(result, 'K3sInstalled').message, /40 % \(28\.0 of 70\.0 MB\)/);
    const world = aWorld({ install: install(file({ work })) });
    const step = installStep({ config: aConfig(), world, memory: aMemory(), now: at(startMs) });
    assert.equal(step.wakeAtMs, startMs + 5_000);
    const unknown = look({
      k3s: missing,
      install: install(file({ work: { ...work, totalBytes: undefined } })),
    });
    assert.match(told(unknown, 'K3sInstalled').message, /28\.0 MB so far/);
  });

  test('replaces another one while that runs on, and Ready does not suffer', () => {
    const world = { units: units(), install: install(file({ state: 'other' })) };
    const result = look(world);
    assert.deepEqual(fetches(result), [fetchBinary]);
    assert.equal(told(result, 'K3sInstalled').status, 'true');
    assert.equal(told(result, 'K3sUpToDate').status, 'false');
    assert.equal(told(result, 'K3sUpToDate').severity, 'warning');
    assert.equal(told(result, 'K3sRunning').status, 'true');
  });

  test('lets another one be started meanwhile, but none that is being checked', () => {
    const reasons = (state: PinnedFile['state']) => {
      const first = look({ install: install(file({ state })) }, aMemory(), startMs - 10_000);
      const write = first.actions.k3s.find((action) => action.do === 'k3s.write-config');
      assert.ok(write?.do === 'k3s.write-config');
      const config = { kind: 'present', text: write.text, mode: 0o600 } as const;
      const world = { k3s: { ...aWorld().k3s, config }, install: install(file({ state })) };
      const settled = look(world, look(world, first.memory, startMs - 5_000).memory);
      return [
        settled.actions.k3s.find((action) => action.do === 'unit.start'),
        told(settled, 'K3sRunning').reason,
      ];
    };
    assert.deepEqual(reasons('other')[0], { do: 'unit.start', unit: k3sUnit, reason: 'start' });
    assert.deepEqual(reasons('checking'), [undefined, 'WaitingForInstall']);
  });

  test('waits for its images, but not for ever', () => {
    const waiting = look({ install: install(images(), file({ state: 'in-place' })) });
    assert.equal(told(waiting, 'K3sRunning').reason, 'WaitingForInstall');
    const imagesKey = `k3s.fetch:images:${'b'.repeat(16)}`;
    const attempts = {
      [imagesKey]: attemptBegun(undefined, startMs, { firstMs: 5_000, maxMs: 10_000 }, 0.5),
    };
    const broken = install(images({ work: failed() }), file({ state: 'in-place' }));
    const result = look({ install: broken }, aMemory({ attempts }), startMs + 1_000);
    assert.notEqual(told(result, 'K3sRunning').reason, 'WaitingForInstall');
    assert.equal(told(result, 'K3sUpToDate').reason, 'DownloadFailed');
  });

  test('gets the images first, one file at a time, and goes on to the binary where they fail', () => {
    const both = look({ k3s: missing, install: install(images(), file()) });
    assert.deepEqual(
      fetches(both).map((action) => action.do === 'k3s.fetch' && action.file),
      ['images'],
    );
    const work = { kind: 'fetching', bytes: 1, totalBytes: 2 } as const;
    assert.deepEqual(fetches(look({ k3s: missing, install: install(images({ work }), file()) })), []);
    const begunOnce = both.actions.k3s.find((action) => action.do === 'k3s.fetch');
    assert.ok(begunOnce);
    const context = { nowMs: startMs, random: 0.5, budget: { count: 1, periodMs: 1, maxDelayMs: 1 } };
    const memory = ended(begun(both.memory, begunOnce, context), begunOnce, { ok: true });
    const after = look(
      { k3s: missing, install: install(images({ work: failed() }), file()) },
      memory,
      startMs + 500,
    );
    assert.deepEqual(fetches(after), [fetchBinary]);
  });

  test('is tried again with backoff, counted from the failure on', () => {
    const world = (work: PinnedWork) => ({ k3s: missing, install: install(file({ work })) });
    const memory = tried(aMemory(), startMs);
    const drawnMs = (memory.attempts[key]?.notBeforeMs ?? 0) - startMs;
    // It took ten minutes to fail.
    const failedMs = startMs + 600_000;
    const result = look(world(failed()), memory, failedMs);
    assert.deepEqual(fetches(result), []);
    assert.equal(told(result, 'K3sInstalled').reason, 'DownloadFailed');
    assert.match(told(result, 'K3sInstalled').message, /the connection ended; next try at 20\d\d-/);
    assert.equal(result.memory.attempts[key]?.notBeforeMs, failedMs + drawnMs);
    // Noted once: later looks at the same failure do not put it off.
    const later = look(world(failed()), result.memory, failedMs + drawnMs - 1);
    assert.deepEqual([fetches(later), later.wakeAtMs], [[], failedMs + drawnMs]);
    assert.deepEqual(fetches(look(world(failed()), later.memory, failedMs + drawnMs)), [fetchBinary]);
  });

  test('is tried again within two minutes where the line fails, and seldom where the hash is wrong', () => {
    const waits = (work: PinnedWork) => {
      let memory = aMemory();
      for (let times = 0; times < 12; times += 1) {
        memory = tried(memory, startMs, 0.999);
        memory = look({ k3s: missing, install: install(file({ work })) }, memory).memory;
      }
      return (memory.attempts[key]?.notBeforeMs ?? 0) - startMs;
    };
    assert.equal(waits(failed()), 120_000);
    assert.ok(waits(failed({ code: 'wrong-hash' })) > 1_000_000);
    // More came each time.
    assert.ok(waits(failed({ gained: true })) <= 10_000);
    assert.equal(waits(failed({ code: 'busy', retryAfterMs: 3_000_000 })), 3_000_000);
  });

  test('tells a wrong hash, and what cannot be written, by their reasons', () => {
    const reasonOf = (code: string) => {
      const world = { k3s: missing, install: install(file({ work: failed({ code }) })) };
      return told(look(world, tried(aMemory(), startMs)), 'K3sInstalled').reason;
    };
    assert.equal(reasonOf('wrong-hash'), 'WrongHash');
    for (const code of ['disk-full', 'read-only-filesystem', 'permission-denied', 'not-a-file'])
      assert.equal(reasonOf(code), 'NotWritable');
    for (const code of ['busy', 'not-found', 'stalled', 'fault', 'too-large'])
      assert.equal(reasonOf(code), 'DownloadFailed');
  });

  test('begins anew for another version, whatever became of the former one', () => {
    const memory = look(
      { k3s: missing, install: install(file({ work: failed({ code: 'wrong-hash' }) })) },
      tried(aMemory(), startMs),
    ).memory;
    const other = file({ sha256: 'c'.repeat(64) });
    const result = look({ k3s: missing, install: install(other) }, memory, startMs + 1);
    assert.deepEqual(fetches(result), [{ ...fetchBinary, sha256: 'c'.repeat(64) }]);
    assert.equal(result.memory.attempts[key], undefined);
  });

  test('needs a hash for the machine, and says which key is missing', () => {
    const reading: InstallReading = { kind: 'no-hash', version, key: 'k3s.install.sha256.arm64' };
    const result = look({ k3s: missing, install: reading });
    assert.equal(told(result, 'K3sInstalled').reason, 'HashMissing');
    assert.match(told(result, 'K3sInstalled').message, /add k3s\.install\.sha256\.arm64/);
    const running = look({ install: reading });
    assert.equal(told(running, 'K3sInstalled').status, 'true');
    assert.equal(told(running, 'K3sUpToDate').reason, 'HashMissing');
  });

  test('is looked after while systemd is away, too', () => {
    const result = look({
      k3s: missing,
      install: install(file()),
      units: { kind: 'unreachable', error: 'no bus' },
    });
    assert.deepEqual(fetches(result), [fetchBinary]);
  });

  test('leads to one restart once it is in place', () => {
    const config = { kind: 'present', text: '', mode: 0o600 } as const;
    const old = {
      units: units(),
      k3s: { ...aWorld().k3s, config },
      install: install(file({ state: 'other' })),
    };
    const first = look(old, aMemory(), startMs - 60_000);
    const write = first.actions.k3s.find((action) => action.do === 'k3s.write-config');
    assert.ok(write?.do === 'k3s.write-config');
    const written = { ...old.k3s, config: { ...config, text: write.text } };
    const before = look({ ...old, k3s: written }, aMemory(), startMs - 50_000);
    const renewed = {
      ...old,
      k3s: { ...written, binary: '2:2:2' },
      install: install(file({ state: 'in-place' })),
    };
    const seen = look(renewed, before.memory, startMs);
    const due = look(renewed, seen.memory, startMs + 3_000);
    assert.deepEqual(
      [...seen.actions.k3s, ...due.actions.k3s],
      [{ do: 'unit.restart', unit: k3sUnit, reason: 'binary' }],
    );
  });
});
