import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nginxSize, workerConnections } from '#src/agent/render/nginx-size.ts';
import type { Config } from '#src/config/schema.ts';
import { aConfig, aMachine } from '../../support/world.ts';

const auto = aConfig().nginx;
const GiB = 2 ** 30;
const sizeOf = (machine: Partial<typeof aMachine>, wanted: Partial<Config['nginx']> = {}) =>
  nginxSize({ ...auto, ...wanted }, { ...aMachine, ...machine });
/** Connections that all workers together pass on, each side one of nginx' own. */
const passedOn = (size: ReturnType<typeof nginxSize>, sockets: number) =>
  size.workers * Math.floor((workerConnections(size, sockets) - sockets - 16) / 2);

describe("nginx' size", () => {
  test('uses at least 95 % of what the open files allow, where the memory does', () => {
    const size = sizeOf({ cores: 2, memoryBytes: 24 * GiB, openFiles: 20_000 });
    const allowed = (2 * 20_000) / 2;
    assert.ok(passedOn(size, 5) >= 0.95 * allowed, `${passedOn(size, 5)} of ${allowed}`);
  });

  test('never asks for more files than a process may have, whatever the config says', () => {
    for (const connections of ['auto', 1_000_000] as const)
      for (const sockets of [1, 129])
        for (const openFiles of [1_024, 20_000, 524_288])
          assert.ok(
            workerConnections(sizeOf({ openFiles, memoryBytes: 256 * GiB }, { connections }), sockets) <=
              openFiles,
          );
  });

  test('takes no more than a quarter of the memory, at 80 KiB a connection', () => {
    for (const [memoryBytes, cores, most] of [
      [GiB / 2, 1, 1_638],
      [2 * GiB, 2, 6_553],
      [4 * GiB, 4, 13_107],
      [512 * GiB, 64, 100_000],
    ] as const) {
      const { workers, perWorker } = sizeOf({ memoryBytes, cores, openFiles: 524_288 });
      const share = most / workers;
      assert.ok(
        perWorker >= share && perWorker <= share + 4 * Math.sqrt(share) + 1,
        `${perWorker} of ${share}`,
      );
    }
    assert.equal(sizeOf({ memoryBytes: 1, cores: 1 }).perWorker, 512);
  });

  test('has a worker a core, up to sixteen, or as many as the config says', () => {
    assert.deepEqual(
      [1, 4, 96].map((cores) => sizeOf({ cores }).workers),
      [1, 4, 16],
    );
    assert.equal(sizeOf({ cores: 2 }, { workers: 5 }).workers, 5);
  });

  test('has the connections that the config asks for', () => {
    assert.equal(sizeOf({ cores: 1 }, { connections: 700 }).perWorker, 700);
    assert.equal(sizeOf({ cores: 2 }, { connections: 5_000 }).perWorker, 2_700);
  });
});
