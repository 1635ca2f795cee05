/** `mooring run`: the daemon. Wires the brain to the node's systems, the health server and systemd, and ends on SIGTERM. */
import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Loop, type Shell } from '../agent/loop.ts';
import { emptyMemory, type Memory, parseMemory } from '../agent/memory.ts';
import type { Plan } from '../agent/plan.ts';
import type { ConfigState } from '../agent/world.ts';
import type { Config } from '../config/schema.ts';
import { createHealthServer } from '../health/http.ts';
import { createMetrics } from '../health/metrics.ts';
import { createNotifier } from '../health/notify.ts';
import { statusPage } from '../health/page.ts';
import { type StatusDocument, statusDocument, withListeners } from '../health/status.ts';
import { systemNow } from '../systems/clock.ts';
import { messageOf } from '../systems/error.ts';
import { loadJson, saveJson } from '../systems/files/json-file.ts';
import { journalLog as log } from '../systems/log.ts';
import { markToken } from '../systems/zerotier/token-mark.ts';
import { type CliContext, exitCode } from './context.ts';
import { keepLastGood, loadConfig } from './load-config.ts';
import { openNode, unitNames } from './node.ts';
import { paths, zerotierTokenCredential } from './paths.ts';
import { version } from './version.ts';

/** A pass, or the pause between two, that lasts longer than this counts as stuck. */
const stuckAfterMs = 60_000;
/** How long what cannot be ended is waited for after everything else has. */
const lingerMs = 500;

export async function run(context: CliContext): Promise<number> {
  const loaded = await loadConfig(context.configFile);
  if (loaded.kind === 'none') {
    for (const problem of loaded.problems) log('error', problem);
    return exitCode.badConfig;
  }
  for (const problem of loaded.kind === 'last-good' ? loaded.problems : [])
    log('error', `config refused: ${problem}`);
  let config: Config = loaded.config;
  let configState: ConfigState = stateOf(loaded);
  if (loaded.kind === 'accepted') await keepLastGood(loaded, log);

  await noteToken();
  const memory = parseMemory(await loadJson(paths.memory)) ?? emptyMemory(systemNow().monoMs);
  const node = openNode({
    config,
    wake: (reason) => loop.wake(reason),
    log,
    credentialsDirectory: process.env['CREDENTIALS_DIRECTORY'],
  });
  const metrics = createMetrics(version, node.busConnections, node.sessions);
  const notifier = createNotifier(process.env, (message) => log('warning', message));
  metrics.observeReload(loaded.kind === 'accepted');
  let document: StatusDocument | undefined;
  let isCalm = false;
  const current = async () =>
    document === undefined ? undefined : withListeners(document, await node.sessions.read());
  const health = createHealthServer({
    isTurning: () => loop.isTurning(stuckAfterMs),
    isReady: () => document?.ready === true,
    status: async () => JSON.stringify(await current(), undefined, 2),
    page: async () => statusPage(await current()),
    metrics: () => metrics.render(),
    metricsType: metrics.contentType,
  });
  await health.listenOnSocket(paths.socket);

  /** Notifications go out one after the other, and never hold up a pass. */
  let notifications: Promise<void> = Promise.resolve();
  const notify = (send: () => Promise<void>) => {
    notifications = notifications.then(send);
  };

  const unbound = new Set<string>();
  async function listen(result: Plan): Promise<void> {
    const failures = await health.listenOn(healthAddresses(config, result), config.health.port);
    for (const failure of failures)
      if (!unbound.has(failure)) log('warning', `cannot serve metrics on ${failure}`);
    unbound.clear();
    for (const failure of failures) unbound.add(failure);
  }

  const shell: Shell = {
    now: systemNow,
    random: Math.random,
    config: () => config,
    log,
    observe: (known: Memory) => node.observe(known, configState),
    glance: () => node.glance(),
    apply: (action) => node.apply(action),
    saveMemory: async (known) => {
      await saveJson(paths.memory, known);
    },
    async publish(result, world, pass) {
      const isFirst = document === undefined;
      const next = statusDocument(result, world, version, unitNames, node.sessions.newest);
      document = next;
      metrics.observePass(next, result, pass);
      node.aim(result);
      await listen(result);
      if (!isCalm && pass.reasons.includes('timer')) settle();
      isCalm ||= pass.reasons.includes('timer');
      notify(() => (isFirst ? notifier.ready(next.sentence) : notifier.status(next.sentence)));
    },
    async sleepUntil(monoMs, signal) {
      const waitMs = Math.max(0, monoMs - systemNow().monoMs);
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    },
  };
  const loop: Loop = new Loop(shell, memory, { actionEnded: metrics.observeAction });

  /** Whatever happens in between, systemd hears the end of what it was told the beginning of. */
  async function reload(): Promise<void> {
    if (end.signal.aborted) return;
    await notifier.reloading();
    try {
      await takeConfig();
    } catch (error) {
      log('error', `reload failed: ${messageOf(error)}`);
    }
    await notifier.ready(document?.sentence ?? 'Starting');
    loop.retryNow('SIGHUP');
  }

  async function takeConfig(): Promise<void> {
    const fresh = await loadConfig(context.configFile);
    metrics.observeReload(fresh.kind === 'accepted');
    if (fresh.kind === 'accepted') {
      config = fresh.config;
      configState = stateOf(fresh);
      await keepLastGood(fresh, log);
      await node.reconfigure(config);
      log('info', 'the new config is in force');
    } else {
      configState = { kind: 'last-good', problems: fresh.problems };
      for (const problem of fresh.problems)
        log('error', `config refused, the former one stays in force: ${problem}`);
    }
  }

  const end = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => end.abort());
  process.on('SIGHUP', () => notify(reload));
  const watchdog = startWatchdog(notifier.watchdogIntervalMs, () => {
    if (loop.isTurning(stuckAfterMs)) notify(() => notifier.watchdog());
    else log('error', 'the loop is stuck; leaving it to the watchdog');
  });

  log('info', `mooring ${version} starts`);
  await node.watch();
  await loop.run(end.signal);
  clearInterval(watchdog);
  notify(() => notifier.stopping());
  await notifications;
  await Promise.all([health.close(), node.close()]);
  log('info', 'stopped; DNS, k3s and ingress stay as they are');
  // The look-up of a name cannot be ended, and is no reason to stay.
  setTimeout(() => process.exit(exitCode.fine), lingerMs).unref();
  return exitCode.fine;
}

/** A mark that cannot be written costs a restart later, so it stops nothing. */
async function noteToken(): Promise<void> {
  const credentials = process.env['CREDENTIALS_DIRECTORY'];
  if (credentials === undefined) return;
  try {
    await markToken(join(credentials, zerotierTokenCredential), paths.zerotierTokenMark);
  } catch (error) {
    log('warning', `could not mark ZeroTier's token: ${messageOf(error)}`);
  }
}

/**
 * Once, when the start is over: gives back what only the start needed, and keeps the compiled code for the next start, which
 * Node.js would do at an orderly end alone. The unit's flags bring the collector.
 */
function settle(): void {
  flushCompileCache();
  globalThis.gc?.();
}

function stateOf(
  loaded: { kind: 'accepted' } | { kind: 'last-good'; problems: readonly string[] },
): ConfigState {
  return loaded.kind === 'accepted' ? { kind: 'accepted' } : { kind: 'last-good', problems: loaded.problems };
}

function startWatchdog(intervalMs: number | undefined, beat: () => void): NodeJS.Timeout | undefined {
  if (intervalMs === undefined) return undefined;
  const timer = setInterval(beat, intervalMs);
  timer.unref();
  return timer;
}

/** Where to listen: never on a public address unless the config names it. */
function healthAddresses(config: Config, result: Plan): readonly string[] {
  const addresses = config.health.listen.flatMap((where) => {
    switch (where) {
      case 'loopback':
        return ['127.0.0.1', '::1'];
      case 'zerotier':
        return result.zerotierAddresses;
      default:
        return [where];
    }
  });
  return [...new Set(addresses)];
}
