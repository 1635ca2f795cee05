/**
 * PID 1's units and jobs over D-Bus (org.freedesktop.systemd1(5)).
 *
 * What must hold: one Subscribe a connection and before any job of ours, so that no end of a job is missed; verbs queue
 * a job and never wait for it; only `run` waits, with a deadline, and a lost connection ends that wait.
 */
import type { Bus, BusSignal } from '../dbus/types.ts';
import {
  changedProperties,
  newOwnerOf,
  ownerMatch,
  propertiesInterface,
  signalMatch,
} from '../dbus/values.ts';
import { codeOf, messageOf, SystemError } from '../error.ts';
import type { Wake } from '../wake.ts';
import { systemdError } from './errors.ts';
import type { Systemd } from './types.ts';
import { manager, readUnits, unitPath } from './unit.ts';

/** PID 1 may be busy reloading when it is asked to act; reads use the bus' own, shorter deadline. */
const verbDeadlineMs = 10_000;

/** A job of a named unit that PID 1 has finished with. */
interface EndedJob {
  readonly unit: string;
  readonly path: string;
  readonly result: string;
}

/** The signals of these units, of their jobs and of PID 1 itself. Other units' jobs do not wake us. */
export function systemdMatches(units: readonly string[]): readonly string[] {
  const sender = manager.destination;
  const { path, interface: iface } = manager;
  // A change is told twice, for the unit's type and for the unit. Once is enough.
  const change = {
    sender,
    interface: propertiesInterface,
    member: 'PropertiesChanged',
    arg0: `${sender}.Unit`,
  };
  const each = units.flatMap((unit) => [
    signalMatch({ ...change, path: unitPath(unit) }),
    signalMatch({ sender, path, interface: iface, member: 'JobRemoved', arg2: unit }),
  ]);
  return [
    ownerMatch(sender),
    signalMatch({ sender, path, interface: iface, member: 'Reloading' }),
    signalMatch({ sender, path, interface: iface, member: 'UnitFilesChanged' }),
    ...each,
  ];
}

function endedJob({ body }: BusSignal): EndedJob | undefined {
  const [, path, unit, result] = body;
  if (typeof path !== 'string' || typeof unit !== 'string' || typeof result !== 'string') return undefined;
  return { unit, path, result };
}

/** What the adapter is made of. `run` knows only these units' jobs. */
export interface SystemdOptions {
  /** Must carry the rules of {@link systemdMatches}. */
  readonly bus: Bus;
  readonly wake: Wake;
  readonly units: readonly string[];
}

/** The adapter. */
export function createSystemd({ bus, wake, units }: SystemdOptions): Systemd {
  const unitOfPath = new Map(units.map((unit) => [unitPath(unit), unit]));
  const waiting = new Set<{ ended(job: EndedJob): void; lost(error: Error): void }>();
  let subscription: { readonly connection: number; readonly done: Promise<void> } | undefined;

  function onManagerSignal(signal: BusSignal): void {
    if (signal.member === 'Reloading') {
      if (signal.body[0] === false) wake('systemd reloaded');
      return;
    }
    if (signal.member === 'UnitFilesChanged') {
      wake('unit files changed');
      return;
    }
    if (signal.member !== 'JobRemoved') return;
    const job = endedJob(signal);
    if (job === undefined) return;
    for (const waiter of [...waiting]) waiter.ended(job);
    wake(`job of ${job.unit} ended: ${job.result}`);
  }

  bus.onSignal((signal) => {
    if (newOwnerOf(signal, manager.destination) !== undefined) {
      // PID 1 executed itself anew, or is on its way to.
      subscription = undefined;
      wake('systemd changed its connection');
      return;
    }
    if (signal.interface === manager.interface && signal.path === manager.path) {
      onManagerSignal(signal);
      return;
    }
    const unit = unitOfPath.get(signal.path);
    if (unit !== undefined && changedProperties(signal) !== undefined) wake(`${unit} changed`);
  });

  bus.onDisconnect((reason) => {
    for (const waiter of [...waiting])
      waiter.lost(new SystemError('dbus-disconnected', `D-Bus connection lost: ${reason}`));
  });

  /** Without a subscriber PID 1 sends no signals of units and jobs. Sent ahead of what follows, not waited for by reads. */
  function subscribe(): Promise<void> {
    if (subscription !== undefined && subscription.connection === bus.connections) return subscription.done;
    const connection = bus.connections;
    const done = bus
      .call({ ...manager, member: 'Subscribe', deadlineMs: verbDeadlineMs })
      .then(() => undefined)
      .catch((error: unknown) => {
        if (codeOf(error) === 'org.freedesktop.systemd1.AlreadySubscribed') return;
        if (subscription?.done === done) subscription = undefined;
        throw error;
      });
    subscription = { connection, done };
    return done;
  }

  async function job(member: string, unit: string): Promise<string> {
    // Ahead of the job on the wire. Its failure shows in the next reading and must not undo the job.
    const subscribed = subscribe().catch(() => undefined);
    try {
      const request = {
        ...manager,
        member,
        signature: 'ss',
        body: [unit, 'replace'],
        deadlineMs: verbDeadlineMs,
      };
      const [body] = await Promise.all([bus.call(request), subscribed]);
      const path = body[0];
      if (typeof path !== 'string') throw new SystemError('dbus-shape', `${member} answered without a job`);
      return path;
    } catch (error) {
      throw systemdError(error, `${member} ${unit}`);
    }
  }

  async function queue(member: string, unit: string): Promise<void> {
    await job(member, unit);
  }

  return {
    async read(names) {
      try {
        const [, read] = await Promise.all([subscribe(), readUnits(bus, names)]);
        return { kind: 'answered', units: read };
      } catch (error) {
        return { kind: 'unreachable', error: `systemd does not answer over D-Bus: ${messageOf(error)}` };
      }
    },

    start: (unit) => queue('StartUnit', unit),
    restart: (unit) => queue('RestartUnit', unit),
    reload: (unit) => queue('ReloadUnit', unit),
    stop: (unit) => queue('StopUnit', unit),

    async resetFailed(unit) {
      try {
        await bus.call({
          ...manager,
          member: 'ResetFailedUnit',
          signature: 's',
          body: [unit],
          deadlineMs: verbDeadlineMs,
        });
      } catch (error) {
        // What is not loaded has not failed.
        if (codeOf(error) === 'org.freedesktop.systemd1.NoSuchUnit') return;
        throw systemdError(error, `ResetFailedUnit ${unit}`);
      }
    },

    async run(unit, deadlineMs) {
      if (!units.includes(unit)) throw new Error(`${unit} is not among the units whose jobs are watched`);
      const results = new Map<string, string>();
      let started: string | undefined;
      const outcome = Promise.withResolvers<string>();
      const waiter = {
        // A short job may end before the answer that tells its path has been handled: all of the unit's are kept.
        ended(ended: EndedJob) {
          if (ended.unit !== unit) return;
          results.set(ended.path, ended.result);
          if (ended.path === started) outcome.resolve(ended.result);
        },
        lost: outcome.reject,
      };
      const timer = setTimeout(() => {
        outcome.reject(new SystemError('deadline', `${unit} did not finish within ${deadlineMs} ms`));
      }, deadlineMs);
      waiting.add(waiter);
      const start = async () => {
        await subscribe();
        started = await job('StartUnit', unit);
        const result = results.get(started);
        if (result !== undefined) outcome.resolve(result);
        return outcome.promise;
      };
      try {
        return await Promise.race([outcome.promise, start()]);
      } catch (error) {
        throw systemdError(error, unit);
      } finally {
        clearTimeout(timer);
        waiting.delete(waiter);
      }
    },
  };
}
