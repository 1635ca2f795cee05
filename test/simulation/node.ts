/** A whole node in memory: mooring's daemon on top, models of the systems below, chance and time in between. */
import { ingressUnit, k3sUnit, resolvedUnit, zerotierUnit } from '../../src/agent/world.ts';
import type { Config } from '../../src/config/schema.ts';
import { type Random, seeded } from '../support/random.ts';
import { VirtualClock } from './clock.ts';
import { Daemon } from './daemon.ts';
import { Judge } from './judge.ts';
import { BusModel } from './models/bus.ts';
import { ClusterModel } from './models/cluster.ts';
import { ControllerModel } from './models/controller.ts';
import { DoorsModel } from './models/doors.ts';
import { DiskModel, K3sFilesModel } from './models/files.ts';
import { FlannelModel } from './models/flannel.ts';
import { HomeModel } from './models/home.ts';
import { K3sAgentModel } from './models/k3s-agent.ts';
import { K3sInstallModel } from './models/k3s-install.ts';
import { KernelModel } from './models/kernel.ts';
import { LimitsModel } from './models/limits.ts';
import { NginxModel } from './models/nginx.ts';
import { ResolvedModel } from './models/resolved.ts';
import { SystemdModel } from './models/systemd.ts';
import { ZeroTierModel } from './models/zerotier.ts';
import type { Sabotage } from './sabotage.ts';
import { settingsOf } from './settings.ts';

export class SimNode {
  readonly clock = new VirtualClock();
  readonly random: Random;
  readonly kernel = new KernelModel();
  readonly flannel = new FlannelModel(this.kernel, () => [...this.cluster.others.values()]);
  readonly bus = new BusModel();
  readonly disk = new DiskModel();
  readonly resolved: ResolvedModel;
  readonly zerotier: ZeroTierModel;
  readonly k3sFiles: K3sFilesModel;
  readonly install: K3sInstallModel;
  readonly k3s: K3sAgentModel;
  readonly nginx: NginxModel;
  readonly limits = new LimitsModel();
  readonly doors: DoorsModel;
  readonly systemd: SystemdModel;
  readonly home: HomeModel;
  readonly cluster: ClusterModel;
  readonly controller: ControllerModel;
  readonly judge: Judge;
  readonly daemon: Daemon;
  isServerUp = true;
  /** What the config says; a daemon that is broken on purpose may believe otherwise. */
  settings: Config = settingsOf(true);

  constructor(seed: number, sabotage: Sabotage = { name: 'none' }) {
    const { clock, kernel, flannel, bus, disk } = this;
    const random = seeded(seed);
    const toldByBus = (reason: string) => () => this.daemon.hear(reason);
    this.random = random;
    this.daemon = new Daemon(this, sabotage);
    this.resolved = new ResolvedModel(bus, kernel, toldByBus('resolved'));
    this.zerotier = new ZeroTierModel(clock, kernel, random);
    this.controller = new ControllerModel(clock, this.zerotier, (what) => this.judge.violate(what));
    this.k3sFiles = new K3sFilesModel(disk, () => this.judge.changed());
    this.install = new K3sInstallModel(clock, random, {
      files: this.k3sFiles,
      disk,
      ended: () => this.daemon.wake('install'),
    });
    this.k3s = new K3sAgentModel(clock, random, {
      kernel,
      files: this.k3sFiles,
      flannel,
      isServerThere: () => this.isServerUp && this.zerotier.carries(),
      changed: toldByBus('unit'),
      isUnconditional: sabotage.unconditional,
      begun: (binding) => this.judge.k3sBegun(binding),
    });
    this.nginx = new NginxModel(clock, random, disk, toldByBus('unit'));
    this.doors = new DoorsModel(this.nginx);
    this.systemd = new SystemdModel(bus, {
      [k3sUnit]: this.k3s.unit,
      [ingressUnit]: this.nginx.unit,
      [resolvedUnit]: this.resolved.unit,
      [zerotierUnit]: this.zerotier.unit,
    });
    this.cluster = new ClusterModel(clock, random, {
      answers: () => this.k3s.unit.active === 'active' && this.isServerUp && this.zerotier.carries(),
      changed: () => this.daemon.wake('cluster'),
    });
    this.home = new HomeModel(clock, random, {
      carries: () => this.zerotier.carries(),
      isServerUp: () => this.isServerUp,
      changed: () => this.daemon.wake('home'),
    });
    this.judge = new Judge(this);
    kernel.onChanged(() => {
      this.judge.changed();
      this.judge.trackLoss();
      this.daemon.wake('link');
    });
  }

  /** Power on. */
  boot(): void {
    this.zerotier.start();
    this.daemon.start();
  }

  /** Another node leaves the cluster, or joins it: a running flannel follows. */
  otherNode(name: string, network: string, isThere: boolean): void {
    if (isThere) this.cluster.others.set(name, network);
    else this.cluster.others.delete(name);
    if (this.k3s.unit.active !== 'active') return;
    if (isThere) this.flannel.addRoute(network);
    else this.flannel.removeRoute(network);
    this.daemon.wake('route');
  }

  /** A person pins another k3s, and sends SIGHUP. */
  pin(id: string): void {
    this.install.pin(id);
    this.daemon.wake('SIGHUP');
  }

  /** A person changes the config, and sends SIGHUP. */
  reconfigure(): void {
    const hasHttps = this.settings.ingress.length === 1;
    this.settings = settingsOf(hasHttps);
    this.daemon.reconfigure(hasHttps);
  }
}
