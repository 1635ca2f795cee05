/**
 * Per-link DNS through systemd-resolved's D-Bus API (org.freedesktop.resolve1(5)), or through systemd-networkd's
 * (org.freedesktop.network1(5)) for a link that networkd manages, since resolved refuses those.
 *
 * What must hold: what is read is what resolved holds, nothing is remembered; a missing or broken resolved is a
 * reading. One that is not on the bus costs a pass nothing, a silent one no more than one deadline each half minute.
 */
import type { Bus, BusRequest, BusSignal } from '../dbus/types.ts';
import {
  asString,
  changedProperties,
  getProperties,
  getProperty,
  newOwnerOf,
  ownerMatch,
  propertiesInterface,
  signalMatch,
} from '../dbus/values.ts';
import { codeOf, messageOf, SystemError } from '../error.ts';
import type { Wake } from '../wake.ts';
import { addressToBytes } from './address.ts';
import { absentMessage, linkBusy, meansAbsent, refused, unknownLink, unknownMethod } from './errors.ts';
import { canonicalDomain, linkDns, linkInterface, linkPath } from './link.ts';
import type { LinkDns, Resolved } from './types.ts';

const busItself = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;
const resolve1 = 'org.freedesktop.resolve1';
const managerPath = '/org/freedesktop/resolve1';
const managerInterface = 'org.freedesktop.resolve1.Manager';
const network1 = {
  destination: 'org.freedesktop.network1',
  path: '/org/freedesktop/network1',
  interface: 'org.freedesktop.network1.Manager',
} as const;

/** How long a resolved that could not be started is left alone before the bus is asked to start it again. */
const activationPauseMs = 30_000;
/** resolved learns of a new interface by netlink, as we do, and may do so a moment later. */
const newLinkRetriesMs = [5, 20, 60];

/** What resolved tells by itself: that it came or went, and that servers changed. Domains and default route are silent. */
export const resolvedMatches: readonly string[] = [
  ownerMatch(resolve1),
  signalMatch({
    sender: resolve1,
    path_namespace: managerPath,
    interface: propertiesInterface,
    member: 'PropertiesChanged',
  }),
];

/** The adapter. The bus must carry {@link resolvedMatches}. */
export function createResolved({ bus, wake }: { readonly bus: Bus; readonly wake: Wake }): Resolved {
  let startAfterMs = 0;
  /** Whether anybody has resolved's name; undefined until the bus was asked on this connection. */
  let isOwned: boolean | undefined;

  function onSignal(signal: BusSignal): void {
    const owner = newOwnerOf(signal, resolve1);
    if (owner !== undefined) {
      startAfterMs = 0;
      isOwned = owner !== '';
      wake(owner === '' ? 'resolved went' : 'resolved came');
      return;
    }
    const changed = changedProperties(signal);
    if (changed === undefined || !signal.path.startsWith(managerPath)) return;
    // Which server resolved prefers just now is its own affair, and changes with every lost packet.
    const ours = changed.names.filter((name) => !name.startsWith('CurrentDNSServer'));
    if (changed.of.startsWith(`${resolve1}.`) && ours.length > 0) wake(`resolved changed ${ours.join(', ')}`);
  }
  bus.onSignal(onSignal);
  bus.onDisconnect(() => {
    isOwned = undefined;
  });

  function target(path: string): Pick<BusRequest, 'destination' | 'path' | 'autoStart'> {
    return { destination: resolve1, path, autoStart: performance.now() >= startAfterMs };
  }

  function noteFailure(error: unknown): void {
    const code = codeOf(error) ?? '';
    if (!meansAbsent(code) && code !== 'dbus-deadline') return;
    if (performance.now() >= startAfterMs) startAfterMs = performance.now() + activationPauseMs;
  }

  /**
   * Throws where nobody has resolved's name, and has the bus start it, which nobody waits for: the bus would keep a call
   * to one that runs without its name until the deadline, and tells by itself when the name is taken.
   */
  async function needOwner(): Promise<void> {
    if (isOwned === undefined) {
      const [found] = await bus.call({
        ...busItself,
        member: 'NameHasOwner',
        signature: 's',
        body: [resolve1],
      });
      // A signal that came meanwhile is newer.
      isOwned ??= found === true;
    }
    if (isOwned) return;
    if (performance.now() >= startAfterMs) {
      const start = { ...busItself, member: 'StartServiceByName', signature: 'su', body: [resolve1, 0] };
      startAfterMs = performance.now() + activationPauseMs;
      // What comes of it is read in the next pass.
      bus.call(start).catch(() => undefined);
    }
    throw new SystemError('org.freedesktop.DBus.Error.NameHasNoOwner', `nobody has the name ${resolve1}`);
  }

  async function readLink(ifindex: number): Promise<LinkDns | undefined> {
    try {
      return linkDns(await getProperties(bus, { ...target(linkPath(ifindex)), of: linkInterface }));
    } catch (error) {
      if (unknownLink.has(codeOf(error) ?? '')) return undefined;
      throw error;
    }
  }

  async function readMode(): Promise<string> {
    try {
      const mode = await getProperty(bus, { ...target(managerPath), of: managerInterface }, 'ResolvConfMode');
      return asString(mode, managerInterface);
    } catch (error) {
      if (codeOf(error) === 'org.freedesktop.DBus.Error.UnknownProperty') return 'unknown';
      throw error;
    }
  }

  function manager(member: string, signature: string, body: readonly unknown[]): Promise<readonly unknown[]> {
    return bus.call({ ...target(managerPath), interface: managerInterface, member, signature, body });
  }

  /** Sends all of a link's settings in one go; the service takes them in this order. */
  async function send(
    call: (member: string, signature: string, body: readonly unknown[]) => Promise<readonly unknown[]>,
    ifindex: number,
    servers: readonly (readonly unknown[])[],
    want: LinkDns,
  ): Promise<void> {
    const domains = want.domains.map(canonicalDomain).map(({ name, routingOnly }) => [name, routingOnly]);
    const outcomes = await Promise.allSettled([
      call('SetLinkDNS', 'ia(iay)', [ifindex, servers]),
      call('SetLinkDomains', 'ia(sb)', [ifindex, domains]),
      call('SetLinkDefaultRoute', 'ib', [ifindex, want.defaultRoute]).catch((error: unknown) => {
        // systemd before 240 has no such method: the domains alone decide there.
        if (codeOf(error) !== unknownMethod) throw error;
      }),
    ]);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  function asSystemError(error: unknown, ifindex: number): unknown {
    noteFailure(error);
    const code = codeOf(error) ?? '';
    const cause = { cause: error };
    if (unknownLink.has(code)) {
      return new SystemError('no-such-link', `resolved knows no link ${ifindex}: ${messageOf(error)}`, cause);
    }
    if (meansAbsent(code)) return new SystemError('resolved-absent', absentMessage(error), cause);
    if (refused.has(code)) {
      return new SystemError('dns-refused', `DNS of link ${ifindex} was refused: ${messageOf(error)}`, cause);
    }
    return error;
  }

  async function setThroughResolved(
    ifindex: number,
    servers: readonly (readonly unknown[])[],
    want: LinkDns,
  ): Promise<void> {
    for (const delayMs of newLinkRetriesMs) {
      try {
        await send(manager, ifindex, servers, want);
        return;
      } catch (error) {
        if (!unknownLink.has(codeOf(error) ?? '')) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    }
    await send(manager, ifindex, servers, want);
  }

  async function throughNetworkd(
    busy: unknown,
    action: (
      call: (member: string, signature: string, body: readonly unknown[]) => Promise<readonly unknown[]>,
    ) => Promise<unknown>,
  ): Promise<void> {
    if (codeOf(busy) !== linkBusy) throw busy;
    try {
      // Not started by the bus: a networkd that manages a link runs, and the bus would wait for one that has lost its name.
      const call = { ...network1, autoStart: false };
      await action((member, signature, body) => bus.call({ ...call, member, signature, body }));
    } catch (error) {
      if (!meansAbsent(codeOf(error) ?? '')) throw error;
      // Loopback is busy without networkd, too: resolved's own words are part of it.
      const why = `${messageOf(busy)}; systemd-networkd is not on the bus (${messageOf(error)})`;
      throw new SystemError('networkd-absent', why, { cause: error });
    }
  }

  return {
    async read(ifindexes) {
      try {
        await needOwner();
        const [resolvConfMode, ...readings] = await Promise.all([readMode(), ...ifindexes.map(readLink)]);
        const links: Record<number, LinkDns> = {};
        for (const [position, ifindex] of ifindexes.entries()) {
          const link = readings[position];
          if (link !== undefined) links[ifindex] = link;
        }
        startAfterMs = 0;
        return { kind: 'present', links, resolvConfMode };
      } catch (error) {
        noteFailure(error);
        return { kind: 'absent', error: absentMessage(error), isOffBus: isOwned === false };
      }
    },

    async set(ifindex, want) {
      const servers = want.servers.map((text) => {
        const address = addressToBytes(text);
        if (address === undefined) throw new SystemError('dns-refused', `${text} is not an IP address`);
        return [address.family, address.bytes];
      });
      try {
        await setThroughResolved(ifindex, servers, want);
        // Answers from before, "no such name" among them, are of no use any more. A failure here loses nothing that counts.
        manager('FlushCaches', '', []).catch(noteFailure);
        return 'resolved';
      } catch (error) {
        try {
          await throughNetworkd(error, (call) => send(call, ifindex, servers, want));
          return 'networkd';
        } catch (final) {
          throw asSystemError(final, ifindex);
        }
      }
    },

    async revert(ifindex) {
      try {
        await manager('RevertLink', 'i', [ifindex]);
      } catch (error) {
        if (unknownLink.has(codeOf(error) ?? '')) return;
        try {
          await throughNetworkd(error, (call) => call('RevertLinkDNS', 'i', [ifindex]));
        } catch (final) {
          throw asSystemError(final, ifindex);
        }
      }
    },
  };
}
