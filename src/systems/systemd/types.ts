/** systemd's units, as far as mooring reads and drives them. */

/** One unit, loaded or not. */
export interface UnitReading {
  /** `loaded`, `not-found`, `masked`, `bad-setting`, `error`. */
  readonly loadState: string;
  /** `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`, `maintenance`, `refreshing`. */
  readonly activeState: string;
  readonly subState: string;
  /** `enabled`, `disabled`, `static`, `masked`, … or empty. */
  readonly unitFileState: string;
  /** Service result: `success`, `exit-code`, `signal`, `start-limit-hit`, `exec-condition`, …; `success` for other units. */
  readonly result: string;
  /** 32 hex digits of the run, empty where it never ran. */
  readonly invocationId: string;
  /** 0 where nothing runs. */
  readonly mainPid: number;
  /** When the main process of the newest run was started, CLOCK_MONOTONIC, ms; 0 where there was none. */
  readonly startedMs: number;
  /** The service's own STATUS=. */
  readonly statusText: string;
  /** The queued job's type (`start`, `restart`, …), undefined where there is none. */
  readonly job: string | undefined;
}

/** Units by name; undefined where PID 1 could not be asked. */
export type UnitsReading =
  | { readonly kind: 'unreachable'; readonly error: string }
  | { readonly kind: 'answered'; readonly units: Readonly<Record<string, UnitReading>> };

/** Drives units. Verbs queue a job and return at once; the unit's state is watched, not awaited. Failures throw SystemError. */
export interface Systemd {
  read(names: readonly string[]): Promise<UnitsReading>;
  start(unit: string): Promise<void>;
  restart(unit: string): Promise<void>;
  reload(unit: string): Promise<void>;
  stop(unit: string): Promise<void>;
  resetFailed(unit: string): Promise<void>;
  /** Starts a oneshot unit and waits until its job ended: `done`, `failed`, `timeout`, … Throws `deadline` after `deadlineMs`. */
  run(unit: string, deadlineMs: number): Promise<string>;
}
