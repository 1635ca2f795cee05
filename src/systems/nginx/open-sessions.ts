/**
 * How many sessions are open now, by the kernel's sockets: nginx tells of a session when it has ended. TCP by the port that
 * the client came to, UDP by nginx' own socket towards the upstream. Only numbers are kept; who the clients are is not looked at.
 */
import { execa } from 'execa';
import { messageOf, SystemError } from '../error.ts';
import type { Listener } from './listeners.ts';

/** How to ask. */
export interface SocketsQuery {
  /** The program and its first words; `ss` unless a test plays it. */
  readonly command?: readonly [string, ...string[]];
  readonly deadlineMs: number;
}

/** mooring's own questions through the door come from here (nginx-probe.ts of the brain). */
export const ownAddress = '127.77.68.79';

/** A socket's line is much shorter. */
const maxLineLength = 1_024;

/**
 * Open sessions of each listener, by its key in `listeners`; those that cannot be told from another's are missing.
 * Throws `sockets-unreadable`.
 */
export async function openSessions(
  listeners: ReadonlyMap<string, Listener>,
  query: SocketsQuery,
): Promise<ReadonlyMap<string, number>> {
  const [tcp, udp] = (['tcp', 'udp'] as const).map((protocol) => placesOf(listeners, protocol));
  const counts = new Map<string, number>();
  for (const places of [tcp, udp]) for (const key of places?.values() ?? []) counts.set(key, 0);
  for (const key of shared(listeners)) counts.delete(key);
  const count = (key: string | undefined) => {
    const known = key === undefined ? undefined : counts.get(key);
    if (key !== undefined && known !== undefined) counts.set(key, known + 1);
  };
  const questions: Promise<void>[] = [];
  if (tcp !== undefined && tcp.size > 0) {
    const ports = new Set([...tcp.keys()].map((place) => place.slice(place.lastIndexOf(':'))));
    const filter = `( ${[...ports].map((port) => `sport = ${port}`).join(' or ')} )`;
    const words = ['-t', 'state', 'established', 'state', 'close-wait', filter];
    questions.push(
      eachSocket(words, query, ({ local, peer }) => {
        if (!peer.startsWith(`${ownAddress}:`))
          count(tcp.get(local) ?? tcp.get(local.slice(local.lastIndexOf(':'))));
      }),
    );
  }
  if (udp !== undefined && udp.size > 0)
    questions.push(eachSocket(['-u', 'state', 'established'], query, ({ peer }) => count(udp.get(peer))));
  await Promise.all(questions);
  return counts;
}

/** What a socket of each listener is known by. */
function placesOf(listeners: ReadonlyMap<string, Listener>, wanted: 'tcp' | 'udp'): Map<string, string> {
  const places = new Map<string, string>();
  for (const [key, { protocol, listens, upstreams }] of listeners)
    if (protocol === wanted)
      for (const place of protocol === 'tcp' ? listens : upstreams) places.set(place, key);
  return places;
}

/** Listeners for UDP with an upstream in common: a socket may be either's. */
function shared(listeners: ReadonlyMap<string, Listener>): ReadonlySet<string> {
  const owners = new Map<string, string>();
  const found = new Set<string>();
  for (const [key, { protocol, upstreams }] of listeners) {
    for (const place of protocol === 'udp' ? upstreams : []) {
      const owner = owners.get(place);
      if (owner !== undefined && owner !== key) found.add(owner).add(key);
      owners.set(place, key);
    }
  }
  return found;
}

interface Ends {
  readonly local: string;
  readonly peer: string;
}

/** A socket's two ends in a line of `ss -Hn`, whose number of columns differs: they are the last two. */
export function endsIn(line: string): Ends | undefined {
  const [, local, peer] = /(\S+:\d+)\s+(\S+:\d+)\s*$/.exec(line) ?? [];
  return local === undefined || peer === undefined ? undefined : { local, peer };
}

/** Runs `ss` to its end. Tens of thousands of sockets are megabytes of text: they are read as they come and not kept. */
async function eachSocket(
  words: readonly string[],
  { command = ['ss'], deadlineMs }: SocketsQuery,
  tell: (ends: Ends) => void,
): Promise<void> {
  const [program, ...first] = command;
  const child = execa(program, [...first, '-H', '-n', ...words], {
    buffer: false,
    reject: false,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'ignore',
    timeout: deadlineMs,
    killSignal: 'SIGKILL',
    env: { LC_ALL: 'C' },
  });
  let rest = '';
  let isOverlong = false;
  child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    isOverlong ||= rest.length > maxLineLength;
    if (isOverlong) {
      rest = '';
      return;
    }
    for (const line of lines) {
      const ends = endsIn(line);
      if (ends !== undefined) tell(ends);
    }
  });
  const { failed, shortMessage, originalMessage } = await child;
  if (!failed && !isOverlong) return;
  const why = isOverlong ? 'its lines are no sockets' : messageOf(originalMessage ?? shortMessage);
  throw new SystemError('sockets-unreadable', `${program} could not tell the open connections: ${why}`);
}
