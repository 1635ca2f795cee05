/**
 * Per-link DNS through systemd-resolved's D-Bus API (org.freedesktop.resolve1(5)), or through systemd-networkd's
 * (org.freedesktop.network1(5)) for a link that networkd manages, since resolved refuses those.
 *
 * What must hold: what is read is what resolved holds, nothing is remembered; a missing or broken resolved is a
 * reading, and costs a pass no more than one deadline each half minute.
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
import { canonicalDomain, linkDns, linkInterface, linkPath } from './link.ts';
import type { LinkDns, Resolved } from './types.ts';

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

const unknownLink = new Set([`${resolve1}.NoSuchLink`, 'org.freedesktop.DBus.Error.UnknownObject']);
const refused = new Set([
  'org.freedesktop.DBus.Error.AccessDenied',
  'org.freedesktop.DBus.Error.InteractiveAuthorizationRequired',
  'org.freedesktop.DBus.Error.InvalidArgs',
  `${resolve1}.LinkBusy`,
]);
const unknownMethod = 'org.freedesktop.DBus.Error.UnknownMethod';
const linkBusy = `${resolve1}.LinkBusy`;

/** What a bus answers where nobody is there to answer and nobody could be started. */
const absent = new Set(
  [
    'ServiceUnknown',
    'NameHasNoOwner',
    'NoReply',
    'TimedOut',
    'Timeout',
    'Disconnected',
    // dbus-daemon passes on why PID 1 could not load the unit; a mask under /run reads so.
    'FileExists',
    'FileNotFound',
  ].map((name) => `org.freedesktop.DBus.Error.${name}`),
);

function meansAbsent(code: string): boolean {
  return (
    absent.has(code) ||
    code.startsWith('org.freedesktop.DBus.Error.Spawn.') ||
    code.startsWith('org.freedesktop.systemd1.')
  );
}

function absentMessage(error: unknown): string {
  const code = codeOf(error) ?? '';
  if (code !== 'dbus-deadline' && !meansAbsent(code)) return messageOf(error);
  return (
    `systemd-resolved does not answer over D-Bus (${messageOf(error)}): install the package systemd-resolved if it is ` +
    'missing, unmask it if it is masked, then run `systemctl restart systemd-resolved`'
  );
}

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

  function onSignal(signal: BusSignal): void {
    const owner = newOwnerOf(signal, resolve1);
    if (owner !== undefined) {
      startAfterMs = 0;
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

  function target(path: string): Pick<BusRequest, 'destination' | 'path' | 'autoStart'> {
    return { destination: resolve1, path, autoStart: performance.now() >= startAfterMs };
  }

  function noteFailure(error: unknown): void {
    const code = codeOf(error) ?? '';
    if (!meansAbsent(code) && code !== 'dbus-deadline') return;
    if (performance.now() >= startAfterMs) startAfterMs = performance.now() + activationPauseMs;
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
      await action((member, signature, body) => bus.call({ ...network1, member, signature, body }));
    } catch (error) {
      // Loopback is busy without networkd. Then resolved's own words are the better ones.
      if (meansAbsent(codeOf(error) ?? '')) throw busy;
      throw error;
    }
  }

  return {
    async read(ifindexes) {
      try {
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
        return { kind: 'absent', error: absentMessage(error) };
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
