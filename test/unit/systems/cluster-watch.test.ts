/** When the cluster's API is asked for what, in virtual time: the list now and then, doubted nodes soon, failures seldom. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import type { ClusterApi } from '../../../src/systems/cluster/api.ts';
import { type ClusterWatch, createClusterWatch } from '../../../src/systems/cluster/cluster-watch.ts';
import { SystemError } from '../../../src/systems/error.ts';

const refreshMs = 1_800_000;
const listPath = '/api/v1/nodes?limit=250';

describe('the watch over the cluster', () => {
  let watch: ClusterWatch;
  let names: string[];
  let failure: SystemError | undefined;
  let hold: Promise<void> | undefined;
  /** What was asked, and when. */
  let asked: { path: string; atMs: number }[];
  let wakes: string[];
  let complaints: string[];

  const nodeText = (name: string) => ({ metadata: { name }, spec: { podCIDRs: ['10.42.0.0/24'] } });
  const api: Omit<ClusterApi, 'watch'> = {
    async get(path) {
      asked.push({ path, atMs: Date.now() });
      await hold;
      if (failure !== undefined) throw failure;
      if (path === listPath) return JSON.stringify({ metadata: {}, items: names.map(nodeText) });
      const name = path.slice('/api/v1/nodes/'.length);
      if (!names.includes(name)) throw new SystemError('cluster-not-found', 'no such node');
      return JSON.stringify(nodeText(name));
    },
    nodeName: async () => 'edge-1',
    close: async () => undefined,
  };
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  const pass = async (ms: number) => {
    // In steps, so that what follows a timer sets its own in time.
    for (let left = ms; left > 0; left -= 500) {
      mock.timers.tick(Math.min(500, left));
      await settle();
    }
  };
  const aim = async (...doubted: string[]) => {
    watch.aim({ wanted: true, doubted });
    await settle();
  };
  const known = () => {
    const reading = watch.read();
    return reading.kind === 'nodes' ? reading.nodes.map(({ name, atMs }) => `${name}@${atMs}`) : reading.kind;
  };

  beforeEach(async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 });
    names = ['edge-1', 'edge-2'];
    failure = undefined;
    hold = undefined;
    asked = [];
    wakes = [];
    complaints = [];
    watch = createClusterWatch({
      api,
      refreshMs,
      now: () => Date.now(),
      random: () => 0.5,
      wake: (reason) => wakes.push(reason),
      log: (_level, message) => complaints.push(message),
      pause: (ms, signal) =>
        new Promise((resolve) => {
          const timer = setTimeout(resolve, ms);
          const end = () => {
            clearTimeout(timer);
            resolve();
          };
          if (signal.aborted) end();
          signal.addEventListener('abort', end, { once: true });
        }),
    });
    watch.start();
    await settle();
  });
  afterEach(async () => {
    await watch.close();
    mock.timers.reset();
  });

  test('asks nobody while k3s does not run', async () => {
    await pass(100_000);
    watch.aim({ wanted: false, doubted: ['edge-2'] });
    await pass(100_000);
    assert.deepEqual(asked, []);
    assert.equal(watch.read().kind, 'unasked');
  });

  test('lists after a part of a tenth of the refresh, then once a refresh', async () => {
    await aim();
    await pass(2 * refreshMs);
    assert.deepEqual(asked, [
      { path: listPath, atMs: 90_000 },
      { path: listPath, atMs: 90_000 + refreshMs },
    ]);
    assert.deepEqual(wakes, ['cluster: nodes', 'cluster: nodes']);
  });

  test('does not list again because k3s was restarted', async () => {
    await aim();
    await pass(100_000);
    watch.aim({ wanted: false, doubted: [] });
    await aim();
    await pass(refreshMs / 2);
    assert.equal(asked.length, 1);
  });

  test('asks soon for a node in doubt, and for that one alone', async () => {
    await aim();
    await pass(100_000);
    names = ['edge-1'];
    await aim('edge-2');
    await pass(3_000);
    assert.deepEqual(asked.slice(1), [{ path: '/api/v1/nodes/edge-2', atMs: 101_500 }]);
    assert.deepEqual(known(), ['edge-1@90000']);
  });

  test('tells as of when a doubted node is known, and does not ask again without a doubt', async () => {
    await aim();
    await pass(100_000);
    await aim('edge-2');
    await pass(2_000);
    assert.deepEqual(known(), ['edge-1@90000', 'edge-2@101500']);
    await aim();
    await pass(200_000);
    assert.equal(asked.length, 2);
  });

  test('lists where many are doubted', async () => {
    await aim();
    await pass(100_000);
    await aim(...Array.from({ length: 9 }, (_, n) => `n${n}`));
    await pass(2_000);
    assert.deepEqual(
      asked.slice(1).map(({ path }) => path),
      [listPath],
    );
  });

  test('asks an API that is away more and more seldom, and keeps what it knew', async () => {
    await aim();
    await pass(100_000);
    failure = new SystemError('cluster-away', 'connection refused');
    await aim('edge-2');
    await pass(100_000);
    assert.deepEqual(
      asked.slice(1).map(({ atMs }) => atMs - 100_000),
      [1_500, 11_500, 31_500, 71_500],
    );
    assert.deepEqual(known(), ['edge-1@90000', 'edge-2@90000']);
    await pass(1_200_000);
    const times = asked.map(({ atMs }) => atMs);
    assert.equal((times.at(-1) ?? 0) - (times.at(-2) ?? 0), 300_000);
    failure = undefined;
    await pass(300_000);
    assert.equal(known()[1]?.startsWith('edge-2@'), true);
    assert.notEqual(known()[1], 'edge-2@90000');
  });

  for (const [code, reason] of [
    ['cluster-forbidden', 'refused'],
    ['cluster-unauthorized', 'refused'],
    ['cluster-no-credentials', 'no-credentials'],
    ['cluster-unexpected', 'unusable'],
  ] as const) {
    test(`tells ${reason}, and knows no nodes then, after ${code}`, async () => {
      await aim();
      await pass(100_000);
      failure = new SystemError(code, 'words');
      await aim('edge-2');
      await pass(3_000);
      assert.deepEqual(watch.read(), { kind: 'unknown', reason, error: 'words' });
      failure = undefined;
      await pass(20_000);
      assert.equal(watch.read().kind, 'nodes');
    });
  }

  test('tells that the API is away where it never answered, and asks anew when k3s runs anew', async () => {
    failure = new SystemError('cluster-busy', 'status 503');
    await aim();
    await pass(400_000);
    const reading = watch.read();
    assert.equal(reading.kind === 'unknown' && reading.reason, 'away');
    failure = undefined;
    watch.aim({ wanted: false, doubted: [] });
    await pass(1_000);
    const count = asked.length;
    await aim();
    await pass(91_000);
    assert.equal(asked.length, count + 1);
  });

  test('complains of a fault in mooring, and goes on', async () => {
    hold = Promise.reject(new TypeError('a fault'));
    hold.catch(() => undefined);
    await aim();
    await pass(91_000);
    assert.match(complaints[0] ?? '', /fault in mooring: a fault/);
    hold = undefined;
    await pass(20_000);
    assert.equal(watch.read().kind, 'nodes');
  });

  test('believes nothing that comes after its end', async () => {
    let release: () => void = () => undefined;
    hold = new Promise((resolve) => {
      release = resolve;
    });
    await aim();
    await pass(91_000);
    const closing = watch.close();
    release();
    await closing;
    assert.equal(watch.read().kind, 'unasked');
    assert.deepEqual(wakes, []);
  });
});
