/** One node of a fleet with mooring on it: the real loop and brain over a link, two units and a home that goes away. */
import type { Action } from '../../src/agent/actions.ts';
import { Loop, type Shell } from '../../src/agent/loop.ts';
import { emptyMemory } from '../../src/agent/memory.ts';
import { ingressUnit, k3sUnit, type World } from '../../src/agent/world.ts';
import type { FileReading } from '../../src/systems/files/types.ts';
import type { LinkDns } from '../../src/systems/resolved/types.ts';
import type { Random } from '../support/random.ts';
import { aConfig, aLink, aNetwork, at, aUnit, aWorld, networkId, zerotierAnswers } from '../support/world.ts';
import { VirtualClock } from './clock.ts';
import { FleetHome } from './fleet-home.ts';
import { hasJoined } from './fleet-k3s.ts';
import { isOpen, type Outage } from './fleet-outage.ts';
import { k3sSettings } from './models/k3s-agent.ts';
import { UnitModel } from './models/units.ts';

/** What mooring did on a node, in virtual ms. */
export interface MooredLife {
  /** Its connections that the server saw. */
  readonly probesMs: readonly number[];
  /** Each begin of k3s. Nothing else starts it here, so all but the first are restarts by mooring. */
  readonly beginsMs: readonly number[];
  /** When it called the node and the server fine again after home's return; undefined if it never did. */
  readonly toldMs: number | undefined;
  readonly passes: number;
}

const config = aConfig();
/** What never changes is built once: the builders parse a whole config each time. */
const world = aWorld();
const link = aLink();
const admitted = zerotierAnswers();
const refused = zerotierAnswers({ networks: [aNetwork({ status: 'ACCESS_DENIED' })] });
const controller = networkId.slice(0, 10);
const ingress = aUnit({ activeState: 'inactive', invocationId: '' });
const k3sStopMs = [50, 1_500] as const;
/** How long after home's return a node is watched: longer than the calm pause of the probes, and a restart after it. */
export const aftermathMs = 180_000;

/** Runs the daemon from `bootMs`, when the device is there and ZeroTier knows its network from its cache. */
export async function mooredLife(outage: Outage, random: Random, bootMs: number): Promise<MooredLife> {
  /** Of its own, as every node's. */
  const address = Math.floor(random.next() * 0x100_0000_0000)
    .toString(16)
    .padStart(10, '0');
  const clock = new VirtualClock();
  const probesMs: number[] = [];
  let dns: LinkDns | undefined;
  let k3sConfig: FileReading = { kind: 'absent' };
  let isTokenInSync = false;
  let toldMs: number | undefined;
  let passes = 0;
  const edge = (reason: string) => clock.after(random.between(1, 4), () => loop.wake(reason));

  const k3s: UnitModel = new UnitModel(clock, random, {
    ...k3sSettings,
    begun: () => undefined,
    isReady: () => hasJoined(outage, k3s.begins.at(-1) ?? 0, clock.nowMs),
    askMs: 1_000,
    stopMs: k3sStopMs,
  });
  k3s.changed = () => edge('unit');
  const home = new FleetHome({
    clock,
    random,
    outage,
    limits: {
      calmMs: config.k3s.probe.calm,
      eagerMs: config.k3s.probe.eager,
      deadlineMs: config.k3s.probe.deadline,
    },
    reached: (atMs) => probesMs.push(atMs),
    wake: () => edge('home'),
  });

  const look = (): World => ({
    ...world,
    zerotier: zerotierNow(outage, address, clock.nowMs),
    dns: {
      kind: 'present',
      links: dns === undefined ? {} : { [link.ifindex]: dns },
      resolvConfMode: 'stub',
    },
    units: { kind: 'answered', units: { [k3sUnit]: k3s.read(), [ingressUnit]: ingress } },
    k3s: { binary: '1:1:1', config: k3sConfig, token: { kind: 'present', copyInSync: isTokenInSync } },
    home: home.read(),
  });

  const carryOut = (action: Action): void => {
    switch (action.do) {
      case 'dns.set':
        dns = action.want;
        break;
      case 'k3s.write-config':
        k3sConfig = { kind: 'present', text: action.text, mode: 0o644 };
        break;
      case 'k3s.copy-token':
        isTokenInSync = true;
        break;
      case 'unit.start':
        k3s.resetFailed();
        k3s.start();
        break;
      case 'unit.restart':
        k3s.resetFailed();
        k3s.restart();
        break;
      default:
        throw new Error(`a node of the fleet has nothing to ${action.do}`);
    }
  };

  const shell: Shell = {
    now: () => at(clock.nowMs),
    random: () => random.next(),
    config: () => config,
    log: () => undefined,
    observe: async () => {
      await clock.sleep(random.between(2, 5));
      return look();
    },
    apply: async (action) => {
      await clock.sleep(random.between(1, 5));
      carryOut(action);
      return { ok: true };
    },
    saveMemory: async () => undefined,
    publish: async (result) => {
      passes += 1;
      home.aim(result.probe);
      const isTrue = (type: string) =>
        result.conditions.some((condition) => condition.type === type && condition.status === 'true');
      if (clock.nowMs >= outage.homeMs && isTrue('Ready') && isTrue('ServerReachable'))
        toldMs ??= clock.nowMs;
      else toldMs = undefined;
    },
    sleepUntil: (monoMs, signal) =>
      new Promise((resolve) => {
        const once = () => resolve();
        signal.addEventListener('abort', once, { once: true });
        if (signal.aborted) once();
        clock.at(monoMs, once);
      }),
  };

  let failure: unknown;
  const loop = new Loop(shell, emptyMemory(bootMs));
  const end = new AbortController();
  clock.at(bootMs, () => {
    loop.run(end.signal).catch((error: unknown) => {
      failure = error;
    });
  });
  await clock.runUntil(outage.homeMs + aftermathMs, () => failure === undefined);
  end.abort();
  if (failure !== undefined) throw failure;
  return { probesMs, beginsMs: k3s.begins, toldMs, passes };
}

function zerotierNow(outage: Outage, address: string, nowMs: number): World['zerotier'] {
  const span = outage.refused;
  const reading = span !== undefined && nowMs >= span.fromMs && nowMs < span.toMs ? refused : admitted;
  // Home's ZeroTier is taken for the controller; it is heard every 60 s while packets pass.
  const lastReceiveAgeMs = (isOpen(outage, nowMs) ? 0 : nowMs - outage.cutMs) + 23_000;
  return reading.kind === 'answered'
    ? { ...reading, address, peers: [{ address: controller, lastReceiveAgeMs }] }
    : reading;
}
