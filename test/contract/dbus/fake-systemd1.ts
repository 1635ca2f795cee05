/** PID 1 on a private bus, as far as mooring uses it. */
import {
  type Answer,
  done,
  type FakeService,
  failure,
  joinBus,
  type ReceivedCall,
  variant,
} from '../../support/private-bus.ts';

const managerPath = '/org/freedesktop/systemd1';
const managerInterface = 'org.freedesktop.systemd1.Manager';

/** A unit as the fake holds it. */
export interface FakeUnit {
  loadState: string;
  activeState: string;
  subState: string;
  job: { readonly id: number; readonly type: string } | undefined;
  /** By name: signature and value. */
  readonly properties: Record<string, readonly [signature: string, value: unknown]>;
}

/** A fake PID 1 and what a test may change about it. */
export interface FakeSystemd1 {
  readonly service: FakeService;
  readonly units: Map<string, FakeUnit>;
  /** Whether jobs end with this result before the call that queued them is answered. */
  endEarly: string | undefined;
  /** Tells that a job ended. */
  endJob(path: string, unit: string, result: string): void;
  /** Answers instead of the fake where it gives one. */
  override: ((call: ReceivedCall) => Answer | undefined) | undefined;
}

/** A running service. */
export function runningService(): FakeUnit {
  return {
    loadState: 'loaded',
    activeState: 'active',
    subState: 'running',
    job: undefined,
    properties: {
      UnitFileState: ['s', 'static'],
      InvocationID: ['ay', Buffer.from('00112233445566778899aabbccddeeff', 'hex')],
      Result: ['s', 'success'],
      MainPID: ['u', 4711],
      ExecMainStartTimestampMonotonic: ['t', 1_234_567_890n],
      NRestarts: ['u', 3],
      StatusText: ['s', 'all is well'],
    },
  };
}

/** The object path of a unit, escaped as systemd does it. */
export function pathOf(unit: string): string {
  return `${managerPath}/unit/${unit.replace(/[^A-Za-z0-9]/g, (char) => `_${char.charCodeAt(0).toString(16)}`)}`;
}

/** Puts the fake on the bus under PID 1's name. */
export async function joinAsSystemd1(address: string): Promise<FakeSystemd1> {
  const units = new Map<string, FakeUnit>();
  const subscribers = new Set<string>();
  let lastJob = 100;

  function list(names: readonly unknown[]): Answer {
    const rows = names.map(String).map((name) => {
      const unit = units.get(name);
      const { loadState = 'not-found', activeState = 'inactive', subState = 'dead', job } = unit ?? {};
      const { id, type } = job ?? { id: 0, type: '' };
      return [
        name,
        name,
        loadState,
        activeState,
        subState,
        '',
        pathOf(name),
        id,
        type,
        id === 0 ? '/' : `${managerPath}/job/${id}`,
      ];
    });
    return { kind: 'return', signature: 'a(ssssssouso)', body: [rows] };
  }

  function get({ path, body }: ReceivedCall): Answer {
    const unit = [...units].find(([name]) => pathOf(name) === path)?.[1];
    const property = unit?.properties[String(body[1])];
    if (property === undefined) return failure('org.freedesktop.DBus.Error.UnknownProperty', String(body[1]));
    return { kind: 'return', signature: 'v', body: [variant(...property)] };
  }

  function subscribe({ sender }: ReceivedCall): Answer {
    if (subscribers.has(sender))
      return failure('org.freedesktop.systemd1.AlreadySubscribed', 'Client is already subscribed.');
    subscribers.add(sender);
    return done;
  }

  function queue({ body }: ReceivedCall): Answer {
    const name = String(body[0]);
    const unit = units.get(name);
    if (unit === undefined) return failure('org.freedesktop.systemd1.NoSuchUnit', `Unit ${name} not found.`);
    if (unit.loadState === 'masked')
      return failure('org.freedesktop.systemd1.UnitMasked', `Unit ${name} is masked.`);
    lastJob += 1;
    const path = `${managerPath}/job/${lastJob}`;
    if (fake.endEarly !== undefined) fake.endJob(path, name, fake.endEarly);
    return { kind: 'return', signature: 'o', body: [path] };
  }

  const service = await joinBus(address, 'org.freedesktop.systemd1', (call) => {
    const other = fake.override?.(call);
    if (other !== undefined) return other;
    if (call.member === 'Subscribe') return subscribe(call);
    if (call.member === 'Get') return get(call);
    if (call.member === 'ListUnitsByNames' && Array.isArray(call.body[0])) return list(call.body[0]);
    if (call.member === 'ResetFailedUnit') {
      return failure('org.freedesktop.systemd1.NoSuchUnit', `Unit ${String(call.body[0])} not loaded.`);
    }
    return queue(call);
  });

  const fake: FakeSystemd1 = {
    service,
    units,
    endEarly: undefined,
    override: undefined,
    endJob(path, unit, result) {
      // As PID 1 does: without a subscriber nobody is told.
      if (subscribers.size === 0) return;
      const id = Number(path.replace(/^.*\//, ''));
      service.emit(managerPath, managerInterface, 'JobRemoved', 'uoss', [id, path, unit, result]);
    },
  };
  return fake;
}
