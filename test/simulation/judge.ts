/**
 * What must hold on the simulated node, by the models and not by what the brain believes: told of everything that
 * mooring reads and does, and asked after every event.
 */
import type { Action } from '../../src/agent/actions.ts';
import type { Plan } from '../../src/agent/plan.ts';
import { keptAddresses } from '../../src/agent/render/nginx-addresses.ts';
import { renderNginxConf } from '../../src/agent/render/nginx-conf.ts';
import { k3sUnit, resolvedUnit, type World, zerotierUnit } from '../../src/agent/world.ts';
import type { LinksReading } from '../../src/systems/netlink/types.ts';
import { aHost, device } from '../support/world.ts';
import type { Binding } from './models/k3s-agent.ts';
import type { SimNode } from './node.ts';
import { BeginsRule, within } from './rules/begins.ts';
import { Losses } from './rules/losses.ts';
import { PromptDnsRule } from './rules/prompt-dns.ts';
import { SettledRule } from './rules/settled.ts';

/** An interruption this short may go unseen: the daemon is dead, or waits for an API that hangs. */
const unseenMs = 5_100;

export class Judge {
  readonly trail: string[] = [];
  readonly violations: string[] = [];
  /** Monotonic ms of each repair of ZeroTier. */
  private readonly repaired = { rejoin: [] as number[], restart: [] as number[] };
  newest: Plan | undefined;
  private readonly node: SimNode;
  private awaited: { readonly verb: Action['do']; readonly then: () => void }[] = [];
  private changedMs = 0;
  private lookedMs = 0;
  /** Something changed between mooring's last look and the start: it cannot know whether k3s got the old or the new. */
  private isBoundUncertain = false;
  /** mooring saw flannel's device once: before that it cannot know that there is to be one. */
  private isFlannelKnown = false;
  /** The ifindex of flannel's device on which mooring saw routes: without the cluster's word, that none are there is a fault only then. */
  private routesSeenOn: number | undefined;
  /** The ifindexes of flannel's device that mooring saw whole, and that it remembers as such. */
  private wholeOn: number | undefined;
  private keptWholeOn: number | undefined;
  /** Assigned addresses in the newest look. */
  private shown: readonly string[] = [];
  private isResolvedCutOff = false;
  private contradictedSinceMs: number | undefined;
  /** The newest time in which resolved ran without the bus; `untilMs` is that of the newest event while it lasts. */
  private resolvedCutOff = { fromMs: Number.NEGATIVE_INFINITY, untilMs: Number.NEGATIVE_INFINITY };
  /** The last time that ZeroTier was contradicted and then was not. */
  private contradicted = { fromMs: Number.NEGATIVE_INFINITY, untilMs: Number.NEGATIVE_INFINITY };

  private readonly settled = new SettledRule();
  private readonly losses: Losses;
  private readonly rules: readonly { check(): string | undefined }[];

  /** Made last, when the node is whole. */
  constructor(node: SimNode) {
    this.node = node;
    this.losses = new Losses(node);
    const { k3s, settings } = node;
    const { budget } = settings.k3s.restart;
    // A full bucket and its refill, and what systemd restarts by itself before its own limit stops it.
    const most = 2 * budget.count + 2;
    this.rules = [
      new PromptDnsRule(node),
      new BeginsRule({ unit: k3s.unit, name: 'k3s', most, periodMs: budget.periodMs }),
    ];
  }

  /** Called after every event. */
  check(): void {
    this.trackLoss();
    for (const rule of this.rules) {
      const violation = rule.check();
      if (violation !== undefined) this.violate(violation);
    }
  }

  tell(what: string): void {
    this.trail.push(`${(this.node.clock.nowMs / 1000).toFixed(3)} ${what}`);
  }

  violate(what: string): void {
    this.violations.push(`at ${(this.node.clock.nowMs / 1000).toFixed(3)} s: ${what}`);
  }

  /** Something that k3s takes over changed. */
  changed(): void {
    this.changedMs = this.node.clock.nowMs;
  }

  /** mooring has read the node. */
  looked(zerotier: World['zerotier'], links: LinksReading): void {
    const { node } = this;
    this.settled.looked(links, node.clock.nowMs);
    this.lookedMs = node.clock.nowMs;
    const shown = zerotier.kind === 'answered' ? zerotier.networks[0] : undefined;
    this.shown = shown?.status === 'OK' ? shown.assignedAddresses : [];
    const knowsLink = zerotier.kind === 'answered' && node.zerotier.looksGood();
    const flannel = node.flannel.device;
    if (flannel === undefined || !knowsLink || !node.bus.isUp || node.k3s.unit.active !== 'active') return;
    this.isFlannelKnown = true;
    if (flannel.routes.length > 0) this.routesSeenOn = flannel.ifindex;
    if (this.isFlannelWhole() && node.cluster.read().kind !== 'unasked') this.wholeOn = flannel.ifindex;
  }

  saved(): void {
    this.keptWholeOn = this.wholeOn;
    for (const address of this.shown) this.node.zerotier.told.add(address);
  }

  published(result: Plan): void {
    this.newest = result;
  }

  k3sBegun(binding: Binding | undefined): void {
    if (binding === undefined) {
      this.violate('k3s began without its address');
      return;
    }
    this.isBoundUncertain = this.changedMs >= this.lookedMs;
    this.losses.k3sBegun();
    this.tell(`k3s begins on ifindex ${binding.ifindex} with ${binding.address}`);
  }

  /** Has `then` happen once mooring decides on the next action of this kind. Returns what calls that off. */
  onNext(verb: Action['do'], then: () => void): () => void {
    const one = { verb, then };
    this.awaited.push(one);
    return () => {
      this.awaited = this.awaited.filter((other) => other !== one);
    };
  }

  /** mooring has decided on this. */
  decided(action: Action): void {
    const due = this.awaited.filter(({ verb }) => verb === action.do);
    if (due.length === 0) return;
    this.awaited = this.awaited.filter(({ verb }) => verb !== action.do);
    for (const { then } of due) then();
  }

  /** mooring does this now. */
  acts(action: Action): void {
    if (action.do === 'zerotier.rejoin') this.repairs('rejoin');
    if (action.do !== 'unit.start' && action.do !== 'unit.restart') return;
    this.node.bus.need();
    if (action.unit === zerotierUnit) {
      this.repairs('restart');
      return;
    }
    this.tell(`mooring asks: ${action.do} ${action.unit} (${action.reason})`);
    if (action.unit === k3sUnit) this.startsK3s(action.do);
    if (action.unit === resolvedUnit) this.restartsResolved();
  }

  trackLoss(): void {
    this.trackResolved();
    const { zerotier, clock } = this.node;
    const nowMs = clock.nowMs;
    if (zerotier.isContradicted()) {
      const isBlink = nowMs - this.contradicted.untilMs < unseenMs;
      this.contradictedSinceMs ??= isBlink ? this.contradicted.fromMs : nowMs;
    } else if (this.contradictedSinceMs !== undefined) {
      this.contradicted = { fromMs: this.contradictedSinceMs, untilMs: nowMs };
      this.contradictedSinceMs = undefined;
    }
    this.losses.track();
  }

  /** Whether everything is as it should be. */
  isMoored(): boolean {
    const { kernel, resolved, zerotier, k3s, k3sFiles, install, nginx, settings } = this.node;
    const link = kernel.links.get(device);
    const dns = link === undefined ? undefined : resolved.links.get(link.ifindex);
    const isTrue = (type: string) =>
      this.newest?.conditions.find((condition) => condition.type === type)?.status === 'true';
    return (
      isTrue('Ready') &&
      isTrue('ServerReachable') &&
      zerotier.carries() &&
      zerotier.hasOnlyItsAddress() &&
      dns?.servers[0] === '10.45.0.1' &&
      k3s.unit.active === 'active' &&
      nginx.runs === nginx.program &&
      this.looksFlannelWhole() &&
      k3s.isBoundToTheLinkOfNow() &&
      !this.losses.owesRestart(settings.k3s.restart.outage) &&
      k3sFiles.config.kind === 'present' &&
      k3s.bound?.config === k3sFiles.config.text &&
      k3s.bound.binary === k3sFiles.binary &&
      (install.pinned === undefined || k3sFiles.binary === install.pinned) &&
      this.servesAllButZeroTier()
    );
  }

  /** ZeroTier's addresses of now, at least, are turned away by the config that nginx serves. */
  private servesAllButZeroTier(): boolean {
    const { nginx, kernel, settings } = this.node;
    if (nginx.config.kind !== 'present') return false;
    const kept = keptAddresses(nginx.config.text);
    const own = kernel.links.get(device)?.addresses.map((cidr) => cidr.split('/')[0] ?? '') ?? [];
    return (
      own.every((address) => kept.zerotier.includes(address)) &&
      nginx.served === renderNginxConf(settings.ingress, { ...aHost, kept }).generation
    );
  }

  /** One restart is asked for a breakage: what breaks again before it was seen whole is left to a person. */
  hasSeenFlannelWhole(): boolean {
    const { device: flannel } = this.node.flannel;
    return flannel !== undefined && flannel.ifindex === this.keptWholeOn;
  }

  /** As far as mooring can see it: what it cannot need not be mended, and may be. */
  private looksFlannelWhole(): boolean {
    return this.isFlannelWhole() || (this.isFlannelOnLink() && !this.showsRoutes());
  }

  /** Whether flannel is on the link of now, with a route for each other node of the cluster. */
  private isFlannelWhole(): boolean {
    const { flannel, cluster } = this.node;
    if (!this.isFlannelOnLink()) return false;
    return [...cluster.others.values()].every(
      (network) => flannel.device?.routes.includes(network) !== false,
    );
  }

  private isFlannelOnLink(): boolean {
    const { flannel, kernel } = this.node;
    const link = kernel.links.get(device);
    if (flannel.device === undefined) return !this.isFlannelKnown;
    return (
      flannel.device.parentIfindex === link?.ifindex && link.addresses.includes(`${flannel.device.local}/24`)
    );
  }

  /** Whether mooring can see that a route is missing: the cluster tells, or all are gone that it saw. */
  private showsRoutes(): boolean {
    const { flannel, cluster } = this.node;
    if (!cluster.refuses) return true;
    return flannel.device?.routes.length === 0 && flannel.device.ifindex === this.routesSeenOn;
  }

  private trackResolved(): void {
    const { resolved, clock } = this.node;
    if (!resolved.hasLostBus) this.isResolvedCutOff = false;
    else if (this.isResolvedCutOff) this.resolvedCutOff.untilMs = clock.nowMs;
    else {
      this.isResolvedCutOff = true;
      this.resolvedCutOff = { fromMs: clock.nowMs, untilMs: clock.nowMs };
    }
  }

  /** resolved is restarted only where it was cut off the bus for the whole patience, or until just now. */
  private restartsResolved(): void {
    const { clock, settings } = this.node;
    this.trackResolved();
    const { fromMs, untilMs } = this.resolvedCutOff;
    if (clock.nowMs - untilMs > 100 || clock.nowMs - fromMs < settings.dns.repair.patience)
      this.violate('resolved is restarted although it was not cut off the bus for long enough');
  }

  /** ZeroTier is repaired only where it has been contradicted for the whole patience. */
  private repairs(kind: 'rejoin' | 'restart'): void {
    const { clock, settings, zerotier } = this.node;
    const { nowMs } = clock;
    this.tell(`mooring repairs ZeroTier: ${kind}`);
    this.repaired[kind].push(nowMs);
    const { budget, patience, pause } = settings.zerotier.repair;
    const count = within(this.repaired[kind], budget.periodMs);
    if (count > 2 * budget.count)
      this.violate(`ZeroTier was repaired (${kind}) ${count} times within an hour`);
    if (nowMs - zerotier.startedMs < pause - 100)
      this.violate('ZeroTier is repaired although it has only just started');
    // What went away in the very moment of acting was still there when mooring looked.
    const { fromMs, untilMs } =
      this.contradictedSinceMs === undefined
        ? this.contradicted
        : { fromMs: this.contradictedSinceMs, untilMs: nowMs };
    if (nowMs - untilMs > 100 || nowMs - fromMs < patience - 100)
      this.violate('ZeroTier is repaired although it was not wrong for long enough');
  }

  private startsK3s(verb: 'unit.start' | 'unit.restart'): void {
    const { clock, settings } = this.node;
    const violation = this.settled.check(clock.nowMs, settings.k3s.restart.settle);
    if (violation !== undefined) this.violate(violation);
    if (verb === 'unit.restart') this.justify();
  }

  /** A restart of a running k3s needs something that really changed since it began. */
  private justify(): void {
    const { k3s, k3sFiles, settings } = this.node;
    const { bound, unit } = k3s;
    if (bound === undefined || !unit.hasProcess()) return;
    const isSame =
      this.isFlannelWhole() &&
      k3s.isBoundToTheLinkOfNow() &&
      k3sFiles.config.kind === 'present' &&
      bound.config === k3sFiles.config.text &&
      bound.binary === k3sFiles.binary;
    const outageMs = settings.k3s.restart.outage;
    const lossMs = this.losses.longestSinceBeginMs();
    if (isSame && !this.isBoundUncertain && lossMs < outageMs - 10_000)
      this.violate('k3s is restarted although nothing that it depends on has changed');
  }
}
