/**
 * The Services that ingress entries want, kept known beside the loop.
 *
 * Always true here: nothing is asked, tried or waited for while nobody wants a Service, or no k3s runs; an answer that is none, a
 * refusal and an API that is away take nothing back that was known; what is known is on disk once it changes; what the API says
 * changes no more than these ports, so it leads nowhere but to this node.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, SystemError } from '../error.ts';
import type { Log } from '../log.ts';
import type { Wake } from '../wake.ts';
import type { ClusterApi } from './api.ts';
import { reasonOf } from './cluster-watch.ts';
import { followService } from './service-follow.ts';
import { type Trial, type TryPort, tryPorts } from './service-reach.ts';
import { loadServices, saveServices } from './service-store.ts';
import type { ServicePort, ServiceReading, ServicesAim, ServicesProbe } from './service-types.ts';

export interface ServiceWatchOptions {
  readonly api: Omit<ClusterApi, 'nodeName'>;
  /** Where what is known is kept. */
  readonly file: string;
  /** Monotonic ms. */
  readonly now: () => number;
  /** Unix ms. */
  readonly wallNow: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly wake: Wake;
  readonly log: Log;
  /** Replaced by tests. */
  readonly tryPort?: TryPort;
  /** Replaced by tests. Resolves after `ms`, and at once when `signal` is aborted. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Follows what is wanted between `start` and `close`. */
export interface ServiceWatch extends ServicesProbe {
  /** Reads what is kept, and asks nobody. */
  look(): Promise<void>;
  /** As `look`; what is aimed at is followed from then on. */
  start(): Promise<void>;
  /** Ends what is under way and waits for it. */
  close(): Promise<void>;
}

/** Over which the first questions of nodes are spread that begin together, as after an update. */
const startSpreadMs = 5_000;
/** The same when the way to the server has changed: all nodes of a home see that at once. */
const pathSpreadMs = 15_000;
/** A door without any upstream does not wait that long. */
const firstSpreadMs = 1_000;
/** Between two trials of where NodePorts are served: it changes with kube-proxy's mode alone, which takes another run of k3s. */
const trialMs = 600_000;
/** While kube-proxy is expected to follow a change, which it does within seconds: on this node alone, so it costs nobody anything. */
const quickTrialMs = 250;
const quickTrials = 20;
const firstTrialPauseMs = 1_000;
const longestTrialPauseMs = 60_000;

const unknown: ServiceReading = {
  ports: [],
  asOfMs: undefined,
  state: { kind: 'unasked' },
  reach: { tcp: undefined, udp: undefined },
  answering: [],
};

/** Not started yet, and aimed at nothing. */
export function createServiceWatch(options: ServiceWatchOptions): ServiceWatch {
  const { api, file, now, wallNow, random, wake, log, pause = realPause } = options;
  const services = new Map<string, ServiceReading>();
  let aim: ServicesAim = { wanted: [], run: undefined, path: '', address: undefined };
  let isStarted = false;
  let isClosed = false;
  /** Aborted with each other aim. */
  let following = new AbortController();
  const underWay = new Set<Promise<void>>();
  let saving: Promise<void> = Promise.resolve();
  let lastComplaint: string | undefined;

  const readingOf = (name: string) => services.get(name) ?? unknown;
  const change = (name: string, to: Partial<ServiceReading>) =>
    services.set(name, { ...readingOf(name), ...to });

  /** What keeps coming is told once. */
  function complain(message: string): void {
    if (message !== lastComplaint) log('warning', message);
    lastComplaint = message;
  }

  function save(): void {
    const wanted = new Map(aim.wanted.map((name) => [name, readingOf(name)] as const));
    saving = saving
      .then(() => saveServices(file, wanted))
      .catch((error: unknown) => complain(`cluster: cannot keep what is known: ${messageOf(error)}`));
  }

  /** Returns whether the ports are others than before. */
  function told(name: string, ports: readonly ServicePort[] | undefined): boolean {
    const before = readingOf(name);
    const after = merged(before.ports, ports ?? []);
    const hasChanged = JSON.stringify(after) !== JSON.stringify(before.ports);
    const state = { kind: 'live', isThere: ports !== undefined } as const;
    const isNews = hasChanged || JSON.stringify(before.state) !== JSON.stringify(state);
    change(name, { ports: after, asOfMs: wallNow(), state, ...(hasChanged ? { answering: [] } : {}) });
    if (hasChanged) save();
    if (isNews) wake(`cluster: Service ${name}`);
    return hasChanged;
  }

  function failed(name: string, error: unknown): void {
    if (!(error instanceof SystemError))
      log('error', `cluster: a question failed, which is a fault in mooring: ${messageOf(error)}`);
    const state = { kind: 'trouble', reason: reasonOf(error), error: messageOf(error) } as const;
    const isNews = JSON.stringify(readingOf(name).state) !== JSON.stringify(state);
    change(name, { state });
    if (isNews) wake(`cluster: Service ${name}`);
  }

  function follow(name: string, delayMs: number, signal: AbortSignal): Promise<void> {
    /** Aborted when the ports change, so that the next trial does not wait. */
    let turned = new AbortController();
    const asking = followService({
      api,
      service: name,
      delayMs,
      now,
      random,
      pause,
      signal,
      told: ({ ports }) => {
        const hasChanged = told(name, ports);
        if (hasChanged) turned.abort();
        return hasChanged;
      },
      confirmed: () => change(name, { asOfMs: wallNow() }),
      failed: (error) => failed(name, error),
      cut: (error) => {
        if (reasonOf(error) !== 'away')
          complain(`cluster: the watch over Service ${name} ended: ${messageOf(error)}`);
      },
    });
    const trying = keepTrying(name, signal, () => {
      turned = new AbortController();
      return turned.signal;
    });
    return Promise.all([asking, trying]).then(ignore);
  }

  /** Tries which NodePorts are served, and where: at once when they change, until all of them are, then now and then. */
  async function keepTrying(name: string, signal: AbortSignal, nextTurn: () => AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const turn = nextTurn();
      const tried = readingOf(name).ports.filter(({ isTold }) => isTold);
      const trial = await tryPorts(tried, aim.address, options.tryPort);
      if (signal.aborted) return;
      if (!turn.aborted) shown(name, trial);
      failures = trial.answering.length < tried.length ? failures + 1 : 0;
      const againMs = tried.length === 0 ? longMs : failures === 0 ? trialMs : trialPauseMs(failures);
      await pause(againMs * (0.5 + 0.5 * random()), AbortSignal.any([signal, turn]));
      if (turn.aborted) failures = 0;
    }
  }

  function shown(name: string, { reach, answering }: Trial): void {
    const before = readingOf(name);
    const next = {
      // A trial that nobody answered says nothing of where they are served.
      reach: { tcp: reach.tcp ?? before.reach.tcp, udp: reach.udp ?? before.reach.udp },
      answering: answering.map(({ protocol, nodePort }) => `${protocol} ${nodePort}`),
    };
    change(name, next);
    if (JSON.stringify(next.reach) !== JSON.stringify(before.reach)) save();
    const isNews = JSON.stringify(readingOf(name)) !== JSON.stringify(before);
    if (isNews) wake(`cluster: NodePorts of ${name} are served: ${next.answering.join(', ') || 'none'}`);
  }

  function followAll(before: ServicesAim | undefined): void {
    following.abort();
    following = new AbortController();
    if (!isStarted || isClosed) return;
    if (aim.run === undefined) {
      for (const name of aim.wanted) change(name, { state: { kind: 'unasked' } });
      return;
    }
    const isPath = before !== undefined && before.run === aim.run && before.path !== aim.path;
    for (const name of aim.wanted) {
      const spreadMs = isPath ? pathSpreadMs : startSpreadMs;
      const isKnown = readingOf(name).asOfMs !== undefined;
      const task = follow(name, random() * (isKnown ? spreadMs : firstSpreadMs), following.signal);
      const ended = task.then(() => {
        underWay.delete(ended);
      });
      underWay.add(ended);
    }
  }

  async function look(): Promise<void> {
    const { known, problem } = await loadServices(file);
    if (problem !== undefined)
      log('warning', `cluster: ${file} cannot be used and counts as absent: ${problem}`);
    for (const [name, kept] of known) if (!services.has(name)) services.set(name, { ...unknown, ...kept });
  }

  return {
    read: () => Object.fromEntries(services),
    aim(next) {
      const before = aim;
      if (JSON.stringify(next) === JSON.stringify(before)) return;
      aim = next;
      followAll(before);
    },
    look,
    async start() {
      await look();
      isStarted = true;
      followAll(undefined);
    },
    async close() {
      isClosed = true;
      following.abort();
      await api.close();
      await Promise.all(underWay);
      if (isStarted && aim.wanted.length > 0) save();
      await saving;
    },
  };
}

const longMs = 2 ** 31 - 1;
const trialPauseMs = (failures: number) =>
  failures <= quickTrials
    ? quickTrialMs
    : Math.min(longestTrialPauseMs, firstTrialPauseMs * 2 ** (failures - quickTrials - 1));
const ignore = () => undefined;

/** What is told, and of what was known before all that nothing told takes the place of: by its port, or by its name. */
function merged(before: readonly ServicePort[], told: readonly ServicePort[]): readonly ServicePort[] {
  const stays = (known: ServicePort) =>
    !told.some(
      ({ port, protocol, name }) =>
        (port === known.port && protocol === known.protocol) || name === known.name,
    );
  return [...told, ...before.filter(stays).map((known) => ({ ...known, isTold: false }))].slice(0, maxPorts);
}

/** As many as a Service has, and as many that it had. */
const maxPorts = 2_000;

function realPause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { ref: false, signal }).catch(ignore);
}
