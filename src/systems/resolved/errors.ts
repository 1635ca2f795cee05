/** What resolved, networkd and the bus answer where they refuse, by the names of org.freedesktop.resolve1(5) and of D-Bus. */
import { codeOf, messageOf } from '../error.ts';

const resolve1 = 'org.freedesktop.resolve1';

/** The link does not exist, or resolved has not heard of it yet. */
export const unknownLink = new Set([`${resolve1}.NoSuchLink`, 'org.freedesktop.DBus.Error.UnknownObject']);
/** A person, a policy or another service does not let us. */
export const refused = new Set([
  'org.freedesktop.DBus.Error.AccessDenied',
  'org.freedesktop.DBus.Error.InteractiveAuthorizationRequired',
  'org.freedesktop.DBus.Error.InvalidArgs',
  `${resolve1}.LinkBusy`,
]);
export const unknownMethod = 'org.freedesktop.DBus.Error.UnknownMethod';
/** The link is managed by systemd-networkd, or is the loopback. */
export const linkBusy = `${resolve1}.LinkBusy`;

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

/** Whether an error's code says that the service is not there. */
export function meansAbsent(code: string): boolean {
  return (
    absent.has(code) ||
    code.startsWith('org.freedesktop.DBus.Error.Spawn.') ||
    code.startsWith('org.freedesktop.systemd1.')
  );
}

/** What is wrong with resolved, and what a person can do. */
export function absentMessage(error: unknown): string {
  const code = codeOf(error) ?? '';
  if (code !== 'dbus-deadline' && !meansAbsent(code)) return messageOf(error);
  return (
    `systemd-resolved does not answer over D-Bus (${messageOf(error)}): install the package systemd-resolved if it is ` +
    'missing, unmask it if it is masked, then run `systemctl restart systemd-resolved`'
  );
}
