/**
 * A whole node in memory: the real loop and brain on top, models of the systems below, chance and time in between. The
 * daemon can be killed at any moment; what it saved stays, what it was about to do may or may not have happened.
 */
import type { Action, Outcome } from '../../src/agent/actions.ts';
import { Loop, type Shell } from '../../src/agent/loop.ts';
import { emptyMemory, type Memory, parseMemory } from '../../src/agent/memory.ts';
import type { Plan } from '../../src/agent/plan.ts';
import { renderNginxConf } from '../../src/agent/render/nginx-conf.ts';
import { ingressUnit, k3sUnit, type World, zerotierUnit } from '../../src/agent/world.ts';
import type { Config } from '../../src/config/schema.ts';
import { messageOf, SystemError } from '../../src/systems/error.ts';
import type { FileReading } from '../../src/systems/files/types.ts';
import type { FlannelDevice } from '../../src/systems/netlink/types.ts';
import type { LinkDns } from '../../src/systems/resolved/types.ts';
import { type Random, seeded } from '../support/random.ts';
import { aConfig, at, device, networkId } from '../support/world.ts';
import { VirtualClock } from './clock.ts';
import { HomeModel } from './home.ts';
import { Kernel } from './kernel.ts';
import { UnitModel } from './units.ts';
import { ZeroTierModel } from './zerotier.ts';

/** What k3s took over at its start. */
export interface RealBinding {
  readonly ifindex: number;
  readonly address: string;
  readonly config: string;
  readonly binary: string;
  readonly sinceMs: number;
  /** Something changed between mooring's last look and the start: it cannot know whether k3s got the old or the new. */
  readonly isUncertain: boolean;
}

/** Ways to break the daemon on purpose, to see that the simulation notices. */
export interface Sabotage {
  readonly name: string;
  /** Changes what the brain sees. */
  readonly observe?: (world: World, node: SimNode) => World;
  /** Changes what the brain remembers between two daemons. */
  readonly load?: (saved: Memory | undefined) => Memory | undefined;
  /** Changes the config that the brain is given; the invariants keep to the true one. */
  readonly restart?: Readonly<Record<string, string>>;
  /** As `restart`, for the repairs of ZeroTier. */
  readonly repair?: Readonly<Record<string, string | boolean>>;
  /** Swallows wake-ups. */
  readonly deaf?: boolean;
  /** Changes a plan's action before it is carried out; undefined swallows it. */
  readonly act?: (action: Action) => Action | undefined;
}

const http = { name: 'http', listen: 80, upstreams: ['127.0.0.1:31693'] };
const https = { name: 'https', listen: 443, upstreams: ['127.0.0.1:30484'] };

/** The config with or without the second door, as a person may change it. */
function configOf(hasHttps: boolean, { restart = {}, repair = {} }: Partial<Sabotage> = {}): Config {
  const server = 'https://k3s.home.example:6443';
  return aConfig({
    ingress: hasHttps ? [http, https] : [http],
    k3s: { server, token: { file: '/etc/mooring/k3s-token' }, restart },
    zerotier: { networks: [{ id: networkId }], repair },
  });
}

/** An interruption this short may go unseen: the daemon is dead, or waits for an API that hangs. */
const unseenMs = 5_100;

export class SimNode {
  readonly clock = new VirtualClock();
  readonly random: Random;
  readonly kernel = new Kernel();
  readonly zerotier: ZeroTierModel;
  readonly k3s: UnitModel;
  readonly ingress: UnitModel;
  readonly home: HomeModel;
  /** resolved's settings by ifindex. */
  readonly dns = new Map<number, LinkDns>();
  readonly trail: string[] = [];
  readonly violations: string[] = [];
  isServerUp = true;
  isBusUp = true;
  isResolvedUp = true;
  isDiskFull = false;
  isPortTaken = false;
  private binaryId = '1:1:1';
  private changedMs = 0;
  private lookedMs = 0;
  k3sConfig: FileReading = { kind: 'absent' };
  isTokenInSync = false;
  /** flannel's device, which k3s makes when it joins and never again. */
  flannel: FlannelDevice | undefined;
  /** mooring saw routes in this run of k3s: that none are there is a fault only then. */
  private wereRoutesSeen = false;
  nginxConfig: FileReading = { kind: 'absent' };
  /** nginx' program as installed, and as it runs. */
  nginxProgram = '1';
  nginxRuns = '1';
  /** The text that was kept because it was served. */
  nginxKept: string | undefined;
  served: string | undefined;
  bound: RealBinding | undefined;
  /** Monotonic ms since which the link has not been good; undefined while it is. */
  badSinceMs: number | undefined = 0;
  /** The longest time that the link was not good, of those that ended since k3s began. */
  longestLossMs = 0;
  newest: Plan | undefined;
  /** Monotonic ms of each repair of ZeroTier. */
  readonly repaired = { rejoin: [] as number[], restart: [] as number[] };
  /** Assigned addresses in the newest look. */
  private shown: readonly string[] = [];
  private contradictedSinceMs: number | undefined;
  /** The last time that ZeroTier was contradicted and then was not. */
  private contradicted = { fromMs: Number.NEGATIVE_INFINITY, untilMs: Number.NEGATIVE_INFINITY };
  /** For a brain that is broken on purpose. */
  firstIfindex: number | undefined;
  private readonly sabotage: Sabotage;
  private config = configOf(true);
  private brainConfig: Config;
  /** Plain data that nobody changes: it becomes text only when it is read again. */
  private saved: Memory | undefined;
  private daemon: { loop: Loop; end: AbortController; isAlive: boolean } | undefined;

  constructor(seed: number, sabotage: Sabotage = { name: 'none' }) {
    this.random = seeded(seed);
    this.sabotage = sabotage;
    this.brainConfig = configOf(true, sabotage);
    this.zerotier = new ZeroTierModel(this.clock, this.kernel, this.random);
    this.k3s = new UnitModel(this.clock, this.random, {
      mayStart: () => this.configuredAddressIsThere(),
      begun: () => this.bind(),
      isReady: () => {
        const isReady = this.isServerUp && this.zerotier.isGood() && this.isBoundToTheLinkOfNow();
        if (isReady) this.makeFlannel();
        return isReady;
      },
      askMs: 2_000,
      stopMs: [50, 1_500],
      restartSecMs: 5_000,
      limit: 3,
    });
    this.ingress = new UnitModel(this.clock, this.random, {
      mayStart: () => this.nginxConfig.kind === 'present',
      begun: () => {
        this.served = undefined;
        this.nginxRuns = this.nginxProgram;
        if (!this.canBind()) this.clock.after(20, () => this.ingress.crash());
      },
      isReady: () => {
        if (this.nginxConfig.kind === 'present') this.served = generationOf(this.nginxConfig.text);
        return true;
      },
      askMs: 100,
      stopMs: [50, 500],
      restartSecMs: 2_000,
      limit: 5,
    });
    this.home = new HomeModel(this.clock, this.random, {
      carries: () => this.zerotier.isGood(),
      isServerUp: () => this.isServerUp,
      changed: () => this.edge('home'),
    });
    this.kernel.removed = (ifindex) => {
      this.dns.delete(ifindex);
      if (this.flannel?.parentIfindex === ifindex) this.flannel = undefined;
    };
    this.kernel.changed = () => {
      this.changedMs = this.clock.nowMs;
      this.trackLoss();
      this.edge('link');
    };
    this.k3s.changed = () => this.edge('unit');
    this.ingress.changed = () => {
      if (this.ingress.active !== 'active') this.served = undefined;
      this.edge('unit');
    };
  }

  get binary(): string {
    return this.binaryId;
  }

  replaceBinary(id: string): void {
    this.binaryId = id;
    this.changedMs = this.clock.nowMs;
  }

  /** SIGHUP with another config. */
  reconfigure(): void {
    const hasHttps = this.config.ingress.length === 1;
    this.config = configOf(hasHttps);
    this.brainConfig = configOf(hasHttps, this.sabotage);
    if (this.daemon?.isAlive === true) this.daemon.loop.wake('SIGHUP');
  }

  get settings(): Config {
    return this.config;
  }

  tell(what: string): void {
    this.trail.push(`${(this.clock.nowMs / 1000).toFixed(3)} ${what}`);
  }

  violate(what: string): void {
    this.violations.push(`at ${(this.clock.nowMs / 1000).toFixed(3)} s: ${what}`);
  }

  startDaemon(): void {
    if (this.daemon?.isAlive === true) return;
    const loaded = this.saved === undefined ? undefined : parseMemory(JSON.parse(JSON.stringify(this.saved)));
    const kept = this.sabotage.load === undefined ? loaded : this.sabotage.load(loaded);
    this.home.restart();
    const life = { end: new AbortController(), isAlive: true };
    const loop = new Loop(this.shell(life), kept ?? emptyMemory(this.clock.nowMs));
    this.daemon = Object.assign(life, { loop });
    loop.run(life.end.signal).catch((error: unknown) => this.violate(`the loop ended: ${messageOf(error)}`));
  }

  /** SIGKILL: nothing more of it happens, whatever was under way. */
  killDaemon(): void {
    if (this.daemon === undefined) return;
    this.daemon.isAlive = false;
    this.clock.after(3_000, () => this.startDaemon());
  }

  /** Called after every event. */
  trackLoss(): void {
    const nowMs = this.clock.nowMs;
    if (this.zerotier.isContradicted()) {
      const isBlink = nowMs - this.contradicted.untilMs < unseenMs;
      this.contradictedSinceMs ??= isBlink ? this.contradicted.fromMs : nowMs;
    } else if (this.contradictedSinceMs !== undefined) {
      this.contradicted = { fromMs: this.contradictedSinceMs, untilMs: nowMs };
      this.contradictedSinceMs = undefined;
    }
    if (this.zerotier.isGood()) {
      if (this.badSinceMs !== undefined)
        this.longestLossMs = Math.max(this.longestLossMs, nowMs - this.badSinceMs);
      this.badSinceMs = undefined;
    } else this.badSinceMs ??= nowMs;
  }

  /** Whether everything is as it should be, by the models and not by what the brain believes. */
  isMoored(): boolean {
    const link = this.kernel.links.get(device);
    const dns = link === undefined ? undefined : this.dns.get(link.ifindex);
    const isTrue = (type: string) =>
      this.newest?.conditions.find((condition) => condition.type === type)?.status === 'true';
    return (
      isTrue('Ready') &&
      isTrue('ServerReachable') &&
      this.zerotier.isGood() &&
      this.zerotier.hasOnlyItsAddress() &&
      dns?.servers[0] === '10.45.0.1' &&
      this.k3s.active === 'active' &&
      this.nginxRuns === this.nginxProgram &&
      this.isFlannelWhole() &&
      this.isBoundToTheLinkOfNow() &&
      this.k3sConfig.kind === 'present' &&
      this.bound?.config === this.k3sConfig.text &&
      this.bound.binary === this.binary &&
      this.served === renderNginxConf(this.config.ingress, { ipv6: true }).generation
    );
  }

  private makeFlannel(): void {
    const { bound } = this;
    if (bound === undefined) return;
    const { ifindex: parentIfindex, address: local } = bound;
    this.wereRoutesSeen = false;
    this.flannel = {
      name: 'flannel.1',
      ifindex: 1000 + this.k3s.begins.length,
      parentIfindex,
      local,
      routes: 2,
    };
  }

  /** Whether flannel is as k3s made it, on the link of now. */
  isFlannelWhole(): boolean {
    const { flannel } = this;
    const link = this.kernel.links.get(device);
    return (
      flannel !== undefined &&
      (flannel.routes > 0 || !this.wereRoutesSeen) &&
      flannel.parentIfindex === link?.ifindex &&
      link.addresses.includes(`${flannel.local}/24`)
    );
  }

  private isBoundToTheLinkOfNow(): boolean {
    const link = this.kernel.links.get(device);
    return (
      link?.ifindex === this.bound?.ifindex && link?.addresses.includes(`${this.bound?.address}/24`) === true
    );
  }

  private configuredAddress(): string | undefined {
    if (this.k3sConfig.kind !== 'present') return undefined;
    return /10\.45\.0\.\d+(?=")/.exec(this.k3sConfig.text.slice(this.k3sConfig.text.indexOf('node-ip')))?.[0];
  }

  private configuredAddressIsThere(): boolean {
    const address = this.configuredAddress();
    return this.kernel.links.get(device)?.addresses.includes(`${address}/24`) === true;
  }

  private bind(): void {
    const link = this.kernel.links.get(device);
    const address = this.configuredAddress();
    if (link === undefined || address === undefined || this.k3sConfig.kind !== 'present') {
      this.violate('k3s began without its address');
      return;
    }
    const { ifindex } = link;
    const { clock, binary } = this;
    const isUncertain = this.changedMs >= this.lookedMs;
    this.bound = { ifindex, address, config: this.k3sConfig.text, binary, sinceMs: clock.nowMs, isUncertain };
    this.longestLossMs = 0;
    this.tell(`k3s begins on ifindex ${ifindex} with ${address}`);
  }

  private edge(reason: string): void {
    const { daemon } = this;
    if (daemon === undefined || this.sabotage.deaf === true) return;
    if (reason !== 'link' && reason !== 'home' && !this.isBusUp) return;
    this.clock.after(this.random.between(1, 4), () => {
      if (daemon.isAlive) daemon.loop.wake(reason);
    });
  }

  private shell(life: { isAlive: boolean }): Shell {
    /** Lets time pass; a daemon that was killed meanwhile never goes on. */
    const pass = async (lowMs: number, highMs: number) => {
      await this.clock.sleep(this.random.between(lowMs, highMs));
      if (!life.isAlive) await new Promise(() => undefined);
    };
    return {
      now: () => ({
        monoMs: this.clock.nowMs,
        wallMs: at(this.clock.nowMs).wallMs + this.clock.wallOffsetMs,
      }),
      random: () => this.random.next(),
      config: () => this.brainConfig,
      log: () => undefined,
      observe: async () => {
        const isHanging = this.zerotier.api === 'hang';
        await pass(isHanging ? 2_000 : 1, isHanging ? 2_000 : 3);
        const zerotier = isHanging
          ? ({ kind: 'unreachable', error: 'deadline' } as const)
          : this.zerotier.read();
        const links = this.kernel.read();
        await pass(0, 2);
        const world = this.look(zerotier, links);
        return this.sabotage.observe === undefined ? world : this.sabotage.observe(world, this);
      },
      glance: async () => {
        await pass(0, 1);
        return this.kernel.read();
      },
      apply: async (planned) => {
        await pass(0, 3);
        const action = this.sabotage.act === undefined ? planned : this.sabotage.act(planned);
        const outcome = action === undefined ? ({ ok: true } as const) : this.carryOut(action);
        await pass(0, 3);
        return outcome;
      },
      saveMemory: async (memory) => {
        this.saved = memory;
        for (const address of this.shown) this.zerotier.told.add(address);
      },
      publish: async (result) => {
        this.newest = result;
        this.home.aim(result.probe);
      },
      sleepUntil: (monoMs, signal) =>
        new Promise((resolve) => {
          const once = () => {
            if (life.isAlive) resolve();
          };
          signal.addEventListener('abort', once, { once: true });
          if (signal.aborted) once();
          this.clock.at(monoMs, once);
        }),
    };
  }

  private look(zerotier: World['zerotier'], links: World['links']): World {
    this.lookedMs = this.clock.nowMs;
    const shown = zerotier.kind === 'answered' ? zerotier.networks[0] : undefined;
    this.shown = shown?.status === 'OK' ? shown.assignedAddresses : [];
    const knowsLink = zerotier.kind === 'answered' && this.zerotier.isGood();
    if (this.isBusUp && knowsLink && this.k3s.active === 'active' && (this.flannel?.routes ?? 0) > 0)
      this.wereRoutesSeen = true;
    const isDnsThere = this.isBusUp && this.isResolvedUp;
    const link = links[device];
    const dns = link === undefined ? undefined : this.dns.get(link.ifindex);
    return {
      hostname: 'edge-1',
      configState: { kind: 'accepted' },
      zerotier,
      links,
      dns: isDnsThere
        ? {
            kind: 'present',
            links: link === undefined || dns === undefined ? {} : { [link.ifindex]: dns },
            resolvConfMode: 'stub',
          }
        : { kind: 'absent', error: 'no resolved' },
      units: this.isBusUp
        ? {
            kind: 'answered',
            units: {
              [k3sUnit]: this.k3s.read(),
              [ingressUnit]: this.ingress.read(),
              [zerotierUnit]: this.zerotier.unit(),
            },
          }
        : { kind: 'unreachable', error: 'no bus' },
      podNetwork: this.flannel === undefined ? [] : [this.flannel],
      k3s: {
        binary: this.binary,
        config: this.k3sConfig,
        token: { kind: 'present', copyInSync: this.isTokenInSync },
      },
      ingress: {
        installed: true,
        program: this.nginxProgram,
        ipv6: true,
        config: this.nginxConfig,
        keptGeneration: this.nginxKept === undefined ? undefined : generationOf(this.nginxKept),
        servingGeneration: this.served,
      },
      cloud: { kind: 'none' },
      home: this.home.read(),
    };
  }

  private carryOut(action: Action): Outcome {
    try {
      this.effect(action);
      return { ok: true };
    } catch (error) {
      const code = error instanceof SystemError ? error.code : 'fault';
      if (code === 'two-jobs') this.violate(messageOf(error));
      return { ok: false, code, message: messageOf(error) };
    }
  }

  private effect(action: Action): void {
    if (action.do.startsWith('unit.') || action.do.startsWith('dns.')) this.needBus();
    switch (action.do) {
      case 'zerotier.join':
        this.zerotier.join(action.network);
        break;
      case 'zerotier.rejoin':
        this.repairs('rejoin');
        this.zerotier.leave(action.network);
        this.zerotier.join(action.network);
        break;
      case 'zerotier.blacklist':
        this.zerotier.setBlacklist(action.prefixes);
        break;
      case 'dns.set':
        if (!this.isResolvedUp) throw new SystemError('resolved-absent', 'no resolved');
        if (this.kernel.links.get(device)?.ifindex !== action.ifindex)
          throw new SystemError('no-such-link', 'gone');
        this.dns.set(action.ifindex, action.want);
        this.edge('resolved');
        break;
      case 'dns.revert':
        this.dns.delete(action.ifindex);
        break;
      case 'k3s.write-config':
        this.k3sConfig = this.written(action.text);
        this.changedMs = this.clock.nowMs;
        break;
      case 'k3s.copy-token':
        this.written('');
        this.isTokenInSync = true;
        break;
      case 'ingress.replace':
        this.nginxConfig = this.written(action.text);
        break;
      case 'ingress.keep':
        if (this.nginxConfig.kind === 'present') {
          this.written('');
          this.nginxKept = this.nginxConfig.text;
        }
        break;
      case 'ingress.renew':
        if (this.ingress.active === 'active') this.nginxRuns = this.nginxProgram;
        break;
      case 'ingress.restore':
        if (this.nginxKept !== undefined) this.nginxConfig = this.written(this.nginxKept);
        break;
      case 'unit.start':
      case 'unit.restart':
        this.startUnit(action);
        break;
      case 'unit.reload':
        if (this.canBind() && this.nginxConfig.kind === 'present')
          this.served = generationOf(this.nginxConfig.text);
        break;
      case 'unit.stop':
        this.unit(action.unit).stop();
        break;
      default:
        action satisfies never;
    }
  }

  /** Port 443 is the one that somebody else may hold. */
  private canBind(): boolean {
    return (
      !this.isPortTaken ||
      this.nginxConfig.kind !== 'present' ||
      !this.nginxConfig.text.includes('listen 443')
    );
  }

  private startUnit(action: Extract<Action, { do: 'unit.start' | 'unit.restart' }>): void {
    if (action.unit === zerotierUnit) {
      this.repairs('restart');
      this.zerotier.restart();
      return;
    }
    const unit = this.unit(action.unit);
    this.tell(`mooring asks: ${action.do} ${action.unit} (${action.reason})`);
    if (action.unit === k3sUnit && action.do === 'unit.restart') this.justify();
    unit.resetFailed();
    if (action.do === 'unit.start') unit.start();
    else unit.restart();
  }

  /** ZeroTier is repaired only where it has been contradicted for the whole patience. */
  private repairs(kind: 'rejoin' | 'restart'): void {
    const { nowMs } = this.clock;
    this.tell(`mooring repairs ZeroTier: ${kind}`);
    this.repaired[kind].push(nowMs);
    const { patience, pause } = this.config.zerotier.repair;
    if (nowMs - this.zerotier.unit().startedMs < pause - 100)
      this.violate('ZeroTier is repaired although it has only just started');
    // What went away in the very moment of acting was still there when mooring looked.
    const { fromMs, untilMs } =
      this.contradictedSinceMs === undefined
        ? this.contradicted
        : { fromMs: this.contradictedSinceMs, untilMs: nowMs };
    if (nowMs - untilMs > 100 || nowMs - fromMs < patience - 100)
      this.violate('ZeroTier is repaired although it was not wrong for long enough');
  }

  /** A restart of a running k3s needs something that really changed since it began. */
  private justify(): void {
    const { bound, k3s } = this;
    if (bound === undefined || (k3s.active !== 'active' && k3s.active !== 'activating')) return;
    const isSame =
      this.isFlannelWhole() &&
      this.isBoundToTheLinkOfNow() &&
      this.k3sConfig.kind === 'present' &&
      bound.config === this.k3sConfig.text &&
      bound.binary === this.binary;
    const outageMs = this.config.k3s.restart.outage;
    const lossMs = Math.max(
      this.longestLossMs,
      this.badSinceMs === undefined ? 0 : this.clock.nowMs - this.badSinceMs,
    );
    if (isSame && !bound.isUncertain && lossMs < outageMs - 10_000)
      this.violate('k3s is restarted although nothing that it depends on has changed');
  }

  private unit(name: string): UnitModel {
    return name === k3sUnit ? this.k3s : this.ingress;
  }

  private needBus(): void {
    if (!this.isBusUp) throw new SystemError('dbus-disconnected', 'no bus');
  }

  private written(text: string): FileReading {
    if (this.isDiskFull) throw new SystemError('disk-full', 'no space left on device');
    return { kind: 'present', text, mode: 0o600 };
  }
}

function generationOf(text: string): string | undefined {
  return /return ([0-9a-f]{16});/.exec(text)?.[1];
}
