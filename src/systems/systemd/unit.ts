/**
 * Reads units. Measured on systemd 257: one ListUnitsByNames for all and a few Gets sent in one go cost PID 1 and us a
 * fraction of the two GetAll a unit (some 100 and 250 properties, accounting read from the cgroup among them).
 */
import type { Bus } from '../dbus/types.ts';
import {
  asBytes,
  asMicroseconds,
  asNumber,
  asString,
  asStructs,
  getProperty,
  pathLabel,
} from '../dbus/values.ts';
import type { UnitReading } from './types.ts';

/** PID 1 on the bus. */
export const manager = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
} as const;

const unitInterface = 'org.freedesktop.systemd1.Unit';
const serviceInterface = 'org.freedesktop.systemd1.Service';

/** The object of a unit, loaded or not: asking it loads the unit. */
export function unitPath(name: string): string {
  return `${manager.path}/unit/${pathLabel(name)}`;
}

type ListedUnit = Pick<UnitReading, 'loadState' | 'activeState' | 'subState' | 'job'> & {
  readonly path: string;
};
type UnitDetails = Omit<UnitReading, 'loadState' | 'activeState' | 'subState' | 'job'>;

/** What the list tells of each unit by name: a(ssssssouso). Units that are not loaded get loaded. */
async function listUnits(bus: Bus, names: readonly string[]): Promise<ReadonlyMap<string, ListedUnit>> {
  const what = 'ListUnitsByNames';
  const body = await bus.call({ ...manager, member: what, signature: 'as', body: [names] });
  return new Map(
    asStructs(body[0], what).map((unit) => {
      const [name, , loadState, activeState, subState, , path, jobId, jobType] = unit;
      const job = asNumber(jobId, what) === 0 ? undefined : asString(jobType, what);
      return [
        asString(name, what),
        {
          loadState: asString(loadState, what),
          activeState: asString(activeState, what),
          subState: asString(subState, what),
          path: asString(path, what),
          job,
        },
      ];
    }),
  );
}

const noDetails: UnitDetails = {
  unitFileState: '',
  result: 'success',
  invocationId: '',
  mainPid: 0,
  startedMs: 0,
  statusText: '',
};

const serviceProperties = ['Result', 'MainPID', 'ExecMainStartTimestampMonotonic', 'StatusText'];

async function readDetails(bus: Bus, name: string, path: string): Promise<UnitDetails> {
  const get = (of: string, property: string) =>
    getProperty(bus, { destination: manager.destination, path, of }, property);
  const unit = [get(unitInterface, 'UnitFileState'), get(unitInterface, 'InvocationID')];
  const service = name.endsWith('.service')
    ? serviceProperties.map((property) => get(serviceInterface, property))
    : [];
  const [unitFileState, invocationId, result, mainPid, startedUs, statusText] = await Promise.all([
    ...unit,
    ...service,
  ]);
  const common = {
    unitFileState: asString(unitFileState, name),
    invocationId: asBytes(invocationId, name).toString('hex'),
  };
  if (service.length === 0) return { ...noDetails, ...common };
  return {
    ...common,
    result: asString(result, name),
    mainPid: asNumber(mainPid, name),
    startedMs: Math.floor(asMicroseconds(startedUs, name) / 1000),
    statusText: asString(statusText, name),
  };
}

/** Reads all named units. Throws as `call` does, and `dbus-shape`. */
export async function readUnits(
  bus: Bus,
  names: readonly string[],
): Promise<Readonly<Record<string, UnitReading>>> {
  if (names.length === 0) return {};
  const listed = await listUnits(bus, names);
  const entries = await Promise.all(
    names.map(async (name): Promise<[string, UnitReading]> => {
      const unit = listed.get(name);
      if (unit === undefined) {
        return [
          name,
          { loadState: 'not-found', activeState: 'inactive', subState: 'dead', job: undefined, ...noDetails },
        ];
      }
      const { path, ...state } = unit;
      // A unit without a file can still run: it was removed under it.
      const details =
        state.loadState === 'not-found' && state.activeState === 'inactive'
          ? noDetails
          : await readDetails(bus, name, path);
      return [name, { ...state, ...details }];
    }),
  );
  return Object.fromEntries(entries);
}
