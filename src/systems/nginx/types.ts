/** The ingress' nginx: its config on disk, and which config its workers really serve. */
import type { FileReading } from '../files/types.ts';

/** What nginx is sized by. */
export interface Machine {
  /** Cores that a process may use. */
  readonly cores: number;
  readonly memoryBytes: number;
  /** What a process of the ingress' unit may have open. */
  readonly openFiles: number;
}

/** What is installed and what is served. */
export interface IngressReading {
  /** Whether nginx and its stream module are installed. */
  readonly installed: boolean;
  /** Identity of nginx' program and its stream module as installed now, undefined where they are not. */
  readonly program: string | undefined;
  /** Whether the kernel has IPv6 at all; without it nginx cannot make such a socket and would not start. */
  readonly ipv6: boolean;
  readonly machine: Machine;
  /** The config in place. */
  readonly config: FileReading;
  /** The generation of the config that was kept because it was served, undefined where none is. */
  readonly keptGeneration: string | undefined;
  /** The generation that the running workers answer with, undefined where none answers. */
  readonly servingGeneration: string | undefined;
}

/** Failures throw SystemError. */
export interface Nginx {
  read(): Promise<IngressReading>;
  /**
   * Has the candidate tested by the check unit, then swaps it in. Throws `ingress-config-refused` with nginx's own words;
   * the config in place is untouched then.
   */
  replace(text: string): Promise<void>;
  /** Has the running nginx carry on as the program that is installed now. Throws `ingress-not-renewed`. */
  renew(): Promise<void>;
  /** Keeps the config in place as the one that is known to work. */
  keep(): Promise<void>;
  /** Puts the kept config back in place, so that nginx can start from it. Throws `ingress-nothing-kept`. */
  restore(): Promise<void>;
}

/** How a session ended: by nginx' status, or `unrecorded` where nobody wrote its end down. */
export type SessionResult =
  | 'ok'
  | 'client_error'
  | 'denied'
  | 'internal_error'
  | 'upstream_failed'
  | 'limited'
  | 'unrecorded';

/** What one listener has seen since mooring's start. Bytes and results come with a session's end. */
export interface ListenerFigures {
  readonly name: string;
  readonly protocol: 'tcp' | 'udp';
  readonly connections: number;
  /** Open sessions at the newest look; undefined where nobody knows. */
  readonly open: number | undefined;
  /** From and to the clients. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly sessions: Readonly<Record<SessionResult, number>>;
  /** Tries of a server that came to nothing, by its address. */
  readonly upstreamFailures: Readonly<Record<string, number>>;
}

/** Counts what passes the ingress. Never rejects: what cannot be read is told in the log, and the figures stay. */
export interface SessionCounts {
  /** Keeps the log of sessions short while nobody asks. */
  start(): void;
  /** The figures of now. */
  read(): Promise<readonly ListenerFigures[]>;
  /** The figures of the newest look. */
  readonly newest: readonly ListenerFigures[];
  /** Lines of the log that nginx cannot have written, and were not counted. */
  readonly discardedLines: number;
  close(): Promise<void>;
}
