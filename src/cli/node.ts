/**
 * The composition root: the real systems of this node, behind the interfaces that the brain knows. Those that depend on the
 * config are in configured.ts; the bus, and the watch on the kernel, outlive its changes.
 */
import { hostname } from 'node:os';
import type { Action, Outcome } from '../agent/actions.ts';
import type { Memory } from '../agent/memory.ts';
import type { Plan } from '../agent/plan.ts';
import {
  type ConfigState,
  ingressUnit,
  k3sUnit,
  limitsUnit,
  type World,
  watchedUnits,
} from '../agent/world.ts';
import { type Config, defaultInterfacePrefixBlacklist } from '../config/schema.ts';
import { secretFiles, secretPath } from '../config/secrets.ts';
import { systemNow } from '../systems/clock.ts';
import { createBus } from '../systems/dbus/bus.ts';
import { createDoors } from '../systems/doors/doors.ts';
import { messageOf, SystemError } from '../systems/error.ts';
import { exposedFiles } from '../systems/files/secret.ts';
import type { Log } from '../systems/log.ts';
import { createFlannelReader } from '../systems/netlink/flannel.ts';
import { readHostAddresses } from '../systems/netlink/host-addresses.ts';
import { createNetlink } from '../systems/netlink/netlink.ts';
import type { LinksReading } from '../systems/netlink/types.ts';
import { createLimits } from '../systems/nginx/limits.ts';
import { createNginx } from '../systems/nginx/nginx.ts';
import { createSessionCounts } from '../systems/nginx/sessions.ts';
import type { SessionCounts } from '../systems/nginx/types.ts';
import { createResolved, resolvedMatches } from '../systems/resolved/resolved.ts';
import { createSystemd, systemdMatches } from '../systems/systemd/systemd.ts';
import type { Wake } from '../systems/wake.ts';
import type { ZeroTierReading } from '../systems/zerotier/types.ts';
import { createZeroTier } from '../systems/zerotier/zerotier.ts';
import { carryOut } from './carry-out.ts';
import { openConfigured } from './configured.ts';
import { paths, zerotierTokenCredential } from './paths.ts';

/** Tests a candidate of the ingress' config, with the privileges that takes. */
const checkUnit = 'mooring-ingress-check.service';
/** Has a running nginx carry on as the program that is installed. */
const renewUnit = 'mooring-ingress-renew.service';

export interface NodeOptions {
  readonly config: Config;
  readonly wake: Wake;
  readonly log: Log;
  /** Where systemd put this unit's credentials; undefined outside a unit. */
  readonly credentialsDirectory: string | undefined;
  /** ZeroTier's API token where there is no credential, as in a verb that root runs by hand. */
  readonly zerotierTokenFile?: string;
}

export interface Node {
  observe(memory: Memory, configState: ConfigState): Promise<World>;
  /** The interfaces alone. */
  glance(): Promise<LinksReading>;
  /** Never rejects. */
  apply(action: Action): Promise<Outcome>;
  /** Takes another config from the next observation on. */
  reconfigure(config: Config): Promise<void>;
  /** Makes ready for a single observation, without watching or asking anybody. */
  look(): Promise<void>;
  /** Watches for changes from now on; to be awaited before the first observation that counts. */
  watch(): Promise<void>;
  /** Tells the watches over home and the cluster what the brain wants to know. */
  aim(aims: Pick<Plan, 'probe' | 'cluster' | 'doors' | 'services'>): void;
  revertDns(ifindex: number): Promise<void>;
  readonly busConnections: () => number;
  /** What passes the ingress. */
  readonly sessions: SessionCounts;
  close(): Promise<void>;
}

/** Opens the systems. Nothing is asked before the first observation. */
export function openNode(options: NodeOptions): Node {
  const { wake, log } = options;
  const credential = (name: string) => secretPath({ credential: name }, options.credentialsDirectory);
  const driven = [...watchedUnits, checkUnit, renewUnit, limitsUnit];
  const bus = createBus({ matches: [...resolvedMatches, ...systemdMatches(driven)], wake, log });
  const resolved = createResolved({ bus, wake });
  const systemd = createSystemd({ bus, wake, units: driven });
  const nginx = createNginx({ systemd, checkUnit, renewUnit });
  const [wantedPath, lastPath] = paths.ingressLimits;
  const limits = createLimits({ systemd, unit: limitsUnit, wantedPath, lastPath });
  const doors = createDoors({ wake, log, random: Math.random });
  const sessions = createSessionCounts({ log, now: () => systemNow().monoMs });
  const zerotier = createZeroTier({
    tokenFile: options.zerotierTokenFile ?? credential(zerotierTokenCredential),
  });
  let config = options.config;
  let devices = new Set<string>();
  const netlink = createNetlink({
    wake,
    log,
    interesting: (name) =>
      /^(zt|flannel[.-])/.test(name) ||
      devices.has(name) ||
      (asksForAddresses(config) && !isContainers(name)),
  });
  const flannel = createFlannelReader();
  const systems = openConfigured(config, { wake, log, credentialsDirectory: options.credentialsDirectory });

  async function observe(memory: Memory, configState: ConfigState): Promise<World> {
    const { k3s, install, cloud, home, controller, cluster, services } = systems;
    const ports = doors.read();
    const others = Promise.all([systemd.read(watchedUnits), k3s.read(), nginx.read(), install.read()]);
    const secrets = exposedFiles(secretFiles(config));
    const [zerotierReading, links] = await Promise.all([zerotier.read(), netlink.read()]);
    devices = devicesOf(config, memory, zerotierReading);
    const ifindexes = [...devices].flatMap((name) => links[name]?.ifindex ?? []);
    const [dns, podNetwork, [units, k3sReading, ingress, installReading]] = await Promise.all([
      resolved.read(ifindexes),
      flannel.read(links),
      others,
    ]);
    return {
      hostname: hostname(),
      configState,
      zerotier: zerotierReading,
      links,
      addresses: readHostAddresses(),
      dns,
      units,
      podNetwork,
      k3s: k3sReading,
      install: installReading,
      exposed: await secrets,
      ingress,
      doors: await ports,
      limits: await limits.read(),
      cloud: cloud.read(),
      home: home.read(),
      controller: controller.read(),
      cluster: cluster.read(),
      services: services.read(),
    };
  }

  return {
    observe,
    glance: () => netlink.read(),
    async apply(action) {
      try {
        const { controller, k3s, install } = systems;
        await carryOut(action, { zerotier, controller, resolved, systemd, k3s, install, nginx, limits });
        return { ok: true };
      } catch (error) {
        const code = error instanceof SystemError ? error.code : 'fault';
        return { ok: false, code, message: messageOf(error) };
      }
    },
    async reconfigure(next) {
      await systems.follow(next);
      config = next;
    },
    async look() {
      await Promise.all([systems.cloud.look(), systems.install.look(), systems.services.look()]);
    },
    async watch() {
      netlink.start();
      sessions.start();
      systems.home.start();
      doors.start();
      systems.cluster.start();
      await Promise.all([systems.cloud.start(), systems.services.start()]);
    },
    aim(aims) {
      systems.home.aim(aims.probe);
      systems.cluster.aim(aims.cluster);
      doors.aim(aims.doors);
      systems.services.aim(aims.services);
    },
    revertDns: (ifindex) => resolved.revert(ifindex),
    busConnections: () => bus.connections,
    sessions,
    async close() {
      const { cloud, home, cluster, services, install } = systems;
      const watches = [netlink, cloud, home, cluster, services, zerotier, install, doors, sessions];
      await Promise.all(watches.map((watch) => watch.close()));
      bus.close();
    },
  };
}

/** Whether an entry of the ingress listens at addresses that may come and go. */
const asksForAddresses = ({ ingress }: Config) =>
  ingress.some(({ addresses }) => addresses.some((choice) => choice !== 'all'));

/** Interfaces of containers, which come with each pod: none of them carries a default route. */
const isContainers = (name: string) =>
  defaultInterfacePrefixBlacklist.some((prefix) => name.startsWith(prefix));

/** Names of the configured networks' interfaces, as told now or as remembered. */
function devicesOf(config: Config, memory: Memory, reading: ZeroTierReading): Set<string> {
  const names = config.zerotier.networks.map(({ id }) => {
    const told =
      reading.kind === 'answered' ? reading.networks.find((network) => network.id === id) : undefined;
    return told?.portDeviceName || memory.networks[id]?.device || '';
  });
  return new Set(names.filter((name) => name !== ''));
}

/** The units that mooring drives, by role. */
export const unitNames = { k3s: k3sUnit, ingress: ingressUnit } as const;
