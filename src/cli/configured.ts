/**
 * The systems that depend on the config. Each is made from a part of it, and made anew when that part changes: the new one is
 * started before it is read, since one that has not looked yet would say that there is nothing; the former one is closed then.
 */
import type { Config } from '../config/schema.ts';
import { secretPath } from '../config/secrets.ts';
import { systemNow } from '../systems/clock.ts';
import { type CloudWatch, createCloud } from '../systems/cloud/cloud.ts';
import { createAgentApi } from '../systems/cluster/api.ts';
import { type ClusterWatch, createClusterWatch } from '../systems/cluster/cluster-watch.ts';
import { createServiceWatch, type ServiceWatch } from '../systems/cluster/service-watch.ts';
import { createController } from '../systems/controller/controller.ts';
import type { Controller } from '../systems/controller/types.ts';
import { createHomeProbe, type HomeWatch } from '../systems/home/home-probe.ts';
import { createK3sFiles } from '../systems/k3s/k3s-files.ts';
import type { K3sInstallation } from '../systems/k3s/k3s-install.ts';
import type { K3sFiles } from '../systems/k3s/types.ts';
import type { Log } from '../systems/log.ts';
import type { Wake } from '../systems/wake.ts';
import { installKey, openInstall, pinOf } from './install.ts';
import { paths } from './paths.ts';

/** Each as the config of now has it. */
export interface Configured {
  readonly k3s: K3sFiles;
  readonly install: K3sInstallation;
  readonly cloud: CloudWatch;
  readonly home: HomeWatch;
  readonly controller: Controller;
  readonly cluster: ClusterWatch;
  readonly services: ServiceWatch;
  /** Makes anew what another config asks for. */
  follow(next: Config): Promise<void>;
}

export interface ConfiguredOptions {
  readonly wake: Wake;
  readonly log: Log;
  readonly credentialsDirectory: string | undefined;
}

/** For a child that lives for a second: few threads, and no more memory than it must have. */
const smallHeap = ['--v8-pool-size=1', '--max-semi-space-size=1'];

/** Where k3s' agent keeps its state. */
const dataDirOf = (options: Config['k3s']['config']) => String(options['data-dir'] ?? '/var/lib/rancher/k3s');

const now = () => systemNow().monoMs;
const random = Math.random;

/** Makes them; nothing is started. */
export function openConfigured(
  config: Config,
  { wake, log, credentialsDirectory }: ConfiguredOptions,
): Configured {
  const k3s = remade(config, {
    partOf: ({ k3s: { binary, token } }) => [binary, token],
    make: ({ k3s: { binary, token } }) =>
      createK3sFiles({
        binaryPath: binary,
        configPath: paths.k3sConfig,
        tokenSourcePath: secretPath(token, credentialsDirectory),
        tokenCopyPath: paths.k3sToken,
      }),
  });
  const install = remade(config, {
    partOf: installKey,
    make: (wanted) => openInstall(wanted, { wake, log }),
    close: (former, next) => former.close(pinOf(next)),
  });
  const cloud = remade(config, {
    partOf: ({ node }) => [node.cloud, node.tags],
    make: ({ node }) =>
      createCloud({
        mode: node.cloud,
        tagPrefix: node.tags?.prefix,
        cacheFile: paths.cloudCache,
        awsTagsCommand: [process.execPath, ...smallHeap, paths.awsTags],
        wake,
        log,
      }),
    start: (made) => made.start(),
    close: (former) => former.close(),
  });
  const home = remade(config, {
    partOf: ({ k3s: { server, token, probe } }) => [server, token, probe],
    make: ({ k3s: { server, token, probe } }) =>
      createHomeProbe({
        server,
        tokenPath: secretPath(token, credentialsDirectory),
        deadlineMs: probe.deadline,
        calmMs: probe.calm,
        eagerMs: probe.eager,
        now,
        random,
        wake,
        log,
      }),
    start: (made) => made.start(),
    close: (former) => former.close(),
  });
  const controller = remade(config, {
    // With another name or other addresses for the member it is asked anew.
    partOf: ({ zerotier: { authorize, networks }, k3s: { nodeName } }) => [
      authorize,
      networks.map(({ id, addresses }) => [id, addresses]),
      nodeName,
    ],
    make: ({ zerotier: { authorize } }) =>
      createController({
        controller: authorize?.controller,
        tokenPath: authorize && secretPath(authorize.token, credentialsDirectory),
        leftFile: paths.left,
        now,
        random,
      }),
  });
  const cluster = remade(config, {
    partOf: ({ k3s: { server, config: options, podNetwork } }) => [
      server,
      options['data-dir'],
      podNetwork.refresh,
    ],
    make: ({ k3s: { config: options, podNetwork } }) =>
      createClusterWatch({
        api: createAgentApi(dataDirOf(options)),
        refreshMs: podNetwork.refresh,
        now,
        random,
        wake,
        log,
      }),
    start: (made) => made.start(),
    close: (former) => former.close(),
  });
  const services = remade(config, {
    partOf: ({ k3s: { server, config: options } }) => [server, options['data-dir']],
    make: ({ k3s: { config: options } }) =>
      createServiceWatch({
        api: createAgentApi(dataDirOf(options)),
        file: paths.services,
        now,
        wallNow: () => systemNow().wallMs,
        random,
        wake,
        log,
      }),
    start: (made) => made.start(),
    close: (former) => former.close(),
  });
  return {
    get k3s() {
      return k3s.current;
    },
    get install() {
      return install.current;
    },
    get cloud() {
      return cloud.current;
    },
    get home() {
      return home.current;
    },
    get controller() {
      return controller.current;
    },
    get cluster() {
      return cluster.current;
    },
    get services() {
      return services.current;
    },
    async follow(next) {
      for (const one of [cloud, k3s, install, home, controller, cluster, services]) await one.follow(next);
    },
  };
}

interface Remade<T> {
  readonly current: T;
  follow(next: Config): Promise<void>;
}

interface Recipe<T> {
  /** What it is made from; plain data. */
  readonly partOf: (config: Config) => unknown;
  readonly make: (config: Config) => T;
  readonly start?: (made: T) => Promise<void> | void;
  readonly close?: (former: T, next: Config) => Promise<void>;
}

function remade<T>(config: Config, { partOf, make, start, close }: Recipe<T>): Remade<T> {
  const keyOf = (of: Config) => JSON.stringify(partOf(of));
  let key = keyOf(config);
  let current = make(config);
  return {
    get current() {
      return current;
    },
    async follow(next) {
      if (keyOf(next) === key) return;
      key = keyOf(next);
      const former = current;
      const made = make(next);
      await start?.(made);
      current = made;
      await close?.(former, next);
    },
  };
}
