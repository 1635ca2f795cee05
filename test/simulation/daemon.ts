/**
 * mooring's process on the simulated node: the real loop and brain over the models. It can be killed at any moment; what
 * it saved stays, what it was about to do may or may not have happened.
 */
import type { Action, Outcome } from '../../src/agent/actions.ts';
import { Loop, type Shell } from '../../src/agent/loop.ts';
import { emptyMemory, type Memory, parseMemory } from '../../src/agent/memory.ts';
import { type World, watchedUnits } from '../../src/agent/world.ts';
import { carryOut } from '../../src/cli/carry-out.ts';
import type { Config } from '../../src/config/schema.ts';
import { messageOf, SystemError } from '../../src/systems/error.ts';
import { at, device, hostAddresses } from '../support/world.ts';
import type { SimNode } from './node.ts';
import type { Sabotage } from './sabotage.ts';
import { settingsOf } from './settings.ts';

/** systemd brings a killed mooring back after this (RestartSec=). */
const restartSecMs = 3_000;

/** mooring.service starts it again so soon after an orderly end. */
const restartMs = 200;

interface Life {
  isAlive: boolean;
  readonly end: AbortController;
  loop: Loop | undefined;
}

export class Daemon {
  private readonly node: SimNode;
  private readonly sabotage: Sabotage;
  private config: Config;
  /** Plain data that nobody changes: it becomes text only when it is read again. */
  private saved: Memory | undefined;
  /** Connections to the bus that this process has had. */
  private connections = 0;
  /** Its match rules stand on the connection of now. */
  private isHearing = false;
  private life: Life = { isAlive: false, end: new AbortController(), loop: undefined };

  constructor(node: SimNode, sabotage: Sabotage) {
    this.node = node;
    this.sabotage = sabotage;
    this.config = settingsOf(true, sabotage);
    node.bus.onTurned((isUp) => {
      this.isHearing = false;
      this.wake('dbus disconnected');
      if (isUp) node.clock.after(node.random.between(0, 800), () => this.connect());
    });
  }

  get isAlive(): boolean {
    return this.life.isAlive;
  }

  private connect(): void {
    if (!this.life.isAlive || !this.node.bus.isUp || this.isHearing) return;
    this.connections += 1;
    this.isHearing = this.connections === 1 || this.sabotage.forgetsMatches !== true;
    this.wake('dbus reconnected');
  }

  /** As wake, where it comes over the bus. */
  hear(reason: string): void {
    if (this.isHearing) this.wake(reason);
  }

  start(): void {
    if (this.life.isAlive) return;
    const { node, saved, sabotage } = this;
    const loaded = saved === undefined ? undefined : parseMemory(JSON.parse(JSON.stringify(saved)));
    const kept = sabotage.load === undefined ? loaded : sabotage.load(loaded);
    node.home.restart();
    node.cluster.restart();
    node.install.restart();
    node.controller.forget();
    const life: Life = { isAlive: true, end: new AbortController(), loop: undefined };
    const loop = new Loop(this.shell(life), kept ?? emptyMemory(node.clock.nowMs));
    life.loop = loop;
    this.life = life;
    this.connections = 0;
    this.isHearing = false;
    this.connect();
    loop
      .run(life.end.signal)
      .then(() => {
        life.isAlive = false;
        node.clock.after(restartMs, () => this.start());
      })
      .catch((error: unknown) => node.judge.violate(`the loop ended: ${messageOf(error)}`));
  }

  /** SIGKILL: nothing more of it happens, whatever was under way. */
  kill(): void {
    this.life.isAlive = false;
    this.node.clock.after(restartSecMs, () => this.start());
  }

  /** SIGTERM, as by an upgrade: what is under way comes to its end. */
  restart(): void {
    if (this.life.isAlive) this.life.end.abort();
  }

  /** SIGHUP with another config. */
  reconfigure(hasHttps: boolean): void {
    this.config = settingsOf(hasHttps, this.sabotage);
    if (this.life.isAlive) this.life.loop?.wake('SIGHUP');
  }

  /** Something changed that mooring is told of, a moment later. */
  wake(reason: string): void {
    const { life } = this;
    if (life.loop === undefined || this.sabotage.deaf === true) return;
    this.node.clock.after(this.node.random.between(1, 4), () => {
      if (!life.isAlive) return;
      life.loop?.wake(reason);
      const extra = this.sabotage.woken?.();
      if (extra !== undefined) this.carryOut(extra).catch(() => undefined);
    });
  }

  private shell(life: Life): Shell {
    const { node, sabotage } = this;
    const { clock, random, kernel, zerotier, judge } = node;
    /** Lets time pass; a daemon that was killed meanwhile never goes on. */
    const pass = async (lowMs: number, highMs: number) => {
      await clock.sleep(random.between(lowMs, highMs));
      await alive();
    };
    const alive = async () => {
      if (!life.isAlive) await new Promise(() => undefined);
    };
    return {
      now: () => ({ monoMs: clock.nowMs, wallMs: at(clock.nowMs).wallMs + clock.wallOffsetMs }),
      random: () => random.next(),
      config: () => this.config,
      log: () => undefined,
      observe: async () => {
        if (zerotier.api !== 'hang') await pass(1, 3);
        const told = await zerotier.read();
        await alive();
        const links = await kernel.read();
        await pass(0, 2);
        const world = await this.look(told, links);
        return sabotage.observe === undefined ? world : sabotage.observe(world, node);
      },
      glance: async () => {
        await pass(0, 1);
        return kernel.read();
      },
      apply: async (planned) => {
        judge.decided(planned);
        await pass(0, 3);
        const action = sabotage.act === undefined ? planned : sabotage.act(planned);
        const outcome = action === undefined ? ({ ok: true } as const) : await this.carryOut(action);
        const extra = sabotage.beside?.(planned);
        if (extra !== undefined) await this.carryOut(extra);
        await pass(0, 3);
        return outcome;
      },
      saveMemory: async (memory) => {
        this.saved = memory;
        judge.saved();
      },
      publish: async (result) => {
        judge.published(result);
        node.home.aim(result.probe);
        node.cluster.aim(result.cluster);
        node.doors.aim(result.doors);
      },
      sleepUntil: (monoMs, signal) =>
        new Promise((resolve) => {
          const once = () => {
            if (life.isAlive) resolve();
          };
          signal.addEventListener('abort', once, { once: true });
          if (signal.aborted) once();
          clock.at(monoMs, once);
        }),
    };
  }

  private async look(zerotier: World['zerotier'], links: World['links']): Promise<World> {
    const { node } = this;
    node.judge.looked(zerotier, links);
    const ifindex = links[device]?.ifindex;
    return {
      hostname: 'edge-1',
      configState: { kind: 'accepted' },
      zerotier,
      links,
      addresses: hostAddresses(links),
      dns: await node.resolved.read(ifindex === undefined ? [] : [ifindex]),
      units: await node.systemd.read(watchedUnits),
      podNetwork: await node.flannel.read(),
      k3s: await node.k3sFiles.read(),
      install: await node.install.read(),
      exposed: [],
      ingress: await node.nginx.read(),
      doors: await node.doors.read(),
      limits: await node.limits.read(),
      cloud: { kind: 'none' },
      home: node.home.read(),
      controller: node.controller.read(),
      cluster: node.cluster.read(),
      services: {},
    };
  }

  private async carryOut(action: Action): Promise<Outcome> {
    const { judge } = this.node;
    try {
      judge.acts(action);
      const { zerotier, controller, resolved, systemd, k3sFiles: k3s, install, nginx, limits } = this.node;
      await carryOut(action, { zerotier, controller, resolved, systemd, k3s, install, nginx, limits });
      return { ok: true };
    } catch (error) {
      const code = error instanceof SystemError ? error.code : 'fault';
      if (code === 'two-jobs') judge.violate(messageOf(error));
      return { ok: false, code, message: messageOf(error) };
    }
  }
}
