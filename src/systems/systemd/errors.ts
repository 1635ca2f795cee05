/** PID 1's errors, by what can be done about them. */
import { codeOf, messageOf, SystemError } from '../error.ts';

const codes: Readonly<Record<string, string>> = {
  'org.freedesktop.systemd1.NoSuchUnit': 'no-such-unit',
  'org.freedesktop.systemd1.UnitMasked': 'unit-masked',
  'org.freedesktop.systemd1.LoadFailed': 'unit-broken',
  'org.freedesktop.systemd1.BadUnitSetting': 'unit-broken',
  'org.freedesktop.systemd1.JobTypeNotApplicable': 'job-not-applicable',
  'org.freedesktop.systemd1.OnlyByDependency': 'job-refused',
  'org.freedesktop.systemd1.NoIsolation': 'job-refused',
  'org.freedesktop.systemd1.TransactionIsDestructive': 'job-refused',
  'org.freedesktop.systemd1.TransactionJobsConflicting': 'job-refused',
  'org.freedesktop.systemd1.TransactionOrderIsCyclic': 'job-refused',
  'org.freedesktop.systemd1.ShuttingDown': 'shutting-down',
  'org.freedesktop.DBus.Error.AccessDenied': 'access-denied',
  'org.freedesktop.DBus.Error.InteractiveAuthorizationRequired': 'access-denied',
  'org.freedesktop.DBus.Error.InvalidArgs': 'no-such-unit',
  'org.freedesktop.DBus.Error.ServiceUnknown': 'systemd-unreachable',
  'org.freedesktop.DBus.Error.NameHasNoOwner': 'systemd-unreachable',
  'org.freedesktop.DBus.Error.NoReply': 'systemd-unreachable',
  'org.freedesktop.DBus.Error.Disconnected': 'systemd-unreachable',
  'org.freedesktop.DBus.Error.Spawn.ChildExited': 'systemd-unreachable',
};

/** Gives a failed call a stable code; `dbus-…` codes and unknown ones stay as they are. */
export function systemdError(error: unknown, what: string): unknown {
  if (!(error instanceof SystemError)) return error;
  const code = codes[codeOf(error) ?? ''] ?? error.code;
  return new SystemError(code, `${what}: ${messageOf(error)}`, { cause: error });
}
