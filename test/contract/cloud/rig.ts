/** A watch over a cloud whose metadata service is a stand-in on loopback, and what a test wants to see of the two. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type CloudOptions, type CloudWatch, createCloud } from '../../../src/systems/cloud/cloud.ts';
import { type BadHttpServer, type Behaviour, startBadHttpServer } from '../../support/bad-http-server.ts';

/** Settles with the next value given to `put`. */
export function nextOf<T>(): { readonly put: (value: T) => void; readonly next: () => Promise<T> } {
  const values: T[] = [];
  let waiting: ((value: T) => void) | undefined;
  return {
    put(value) {
      if (waiting) waiting(value);
      else values.push(value);
      waiting = undefined;
    },
    next: () =>
      new Promise((resolve) => {
        const value = values.shift();
        if (value === undefined) waiting = resolve;
        else resolve(value);
      }),
  };
}

export interface Rig {
  readonly folder: string;
  readonly cacheFile: string;
  readonly server: BadHttpServer;
  readonly wakes: ReturnType<typeof nextOf<string>>;
  readonly logs: ReturnType<typeof nextOf<string>>;
  /** Starts a watch; the test's end closes it. */
  start(options?: Partial<CloudOptions>): Promise<CloudWatch>;
  writeDmi(fields: Readonly<Record<string, string>>): Promise<void>;
}

/** All that the rig begins ends with the test. */
export async function createRig(context: TestContext, behave: Behaviour): Promise<Rig> {
  const folder = await mkdtemp(join(tmpdir(), 'mooring-cloud-'));
  const cacheFile = join(folder, 'cloud.json');
  const server = await startBadHttpServer(behave);
  const wakes = nextOf<string>();
  const logs = nextOf<string>();
  const started: CloudWatch[] = [];
  context.after(async () => {
    for (const cloud of started) await cloud.close();
    await server.close();
    await rm(folder, { recursive: true });
  });
  return {
    folder,
    cacheFile,
    server,
    wakes,
    logs,
    async start(options = {}) {
      const cloud = createCloud({
        mode: 'aws',
        cacheFile,
        wake: wakes.put,
        log: (_level, message) => logs.put(message),
        awsTagsCommand: ['false'],
        dmiDirectory: join(folder, 'dmi'),
        baseUrls: [server.url],
        requestDeadlineMs: 200,
        calmMs: 20,
        retryMs: 8,
        ...options,
      });
      started.push(cloud);
      await cloud.start();
      return cloud;
    },
    async writeDmi(fields) {
      await mkdir(join(folder, 'dmi'));
      for (const [name, value] of Object.entries(fields))
        await writeFile(join(folder, 'dmi', name), `${value}\n`);
    },
  };
}
