/** Stamps from inside the node, in µs of its real-time clock, by the programs that tell them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Bed } from '../bed/bed.ts';
import { BedError } from '../bed/process.ts';

/** What the kernel told of a link, as `ip monitor` read it. */
export interface LinkChange {
  readonly atUs: number;
  readonly ifindex: number;
  readonly mtuBytes: number;
  readonly isUp: boolean;
}

/** Follows the kernel's RTM_NEWLINK of a device, in real-time scheduling, so that nothing makes it wait. */
export function followLink(bed: Bed, device: string, onChange: (change: LinkChange) => void): ChildProcess {
  const monitor = ['ip', '-tshort', '-o', 'monitor', 'link'];
  return inside(bed, ['chrt', '-f', '10'], monitor, (line) => {
    const [, stamp = '', ifindex = '', name = '', flags = ''] =
      /^\[([^\]]+)\](?!Deleted) ?(\d+): ([^:@]+)[^<]*<([^>]*)>/.exec(line) ?? [];
    if (name !== device) return;
    const mtuBytes = Number(/ mtu (\d+)/.exec(line)?.[1]);
    const isUp = flags.split(',').includes('UP');
    onChange({ atUs: microseconds(`${stamp}Z`), ifindex: Number(ifindex), mtuBytes, isUp });
  });
}

/** Follows a unit's journal from now on. µs of the message's own stamp, or of journald's where it has none. */
export function followJournal(
  bed: Bed,
  unit: string,
  onMessage: (atUs: number, message: string) => void,
): ChildProcess {
  const fields = '--output-fields=MESSAGE,_SOURCE_REALTIME_TIMESTAMP';
  return inside(bed, [], ['journalctl', '-f', '-n', '0', '-u', unit, '-o', 'json', fields], (line) => {
    const entry: unknown = JSON.parse(line);
    if (typeof entry !== 'object' || entry === null) return;
    const atUs =
      Reflect.get(entry, '_SOURCE_REALTIME_TIMESTAMP') ?? Reflect.get(entry, '__REALTIME_TIMESTAMP');
    onMessage(Number(atUs), String(Reflect.get(entry, 'MESSAGE')));
  });
}

/** A line of a unit's journal. */
export interface Message {
  readonly atUs: number;
  readonly text: string;
}

/** What a unit said since the boot, oldest first, by journald's stamps. */
export async function journalOf(bed: Bed, unit: string): Promise<readonly Message[]> {
  const show = ['journalctl', '-b', '-q', '--no-pager', '-u', unit, '-o', 'json', '--output-fields=MESSAGE'];
  return (await bed.node.run(show)).split('\n').map((line) => {
    const entry: unknown = JSON.parse(line);
    if (typeof entry !== 'object' || entry === null) throw new BedError(`"${line}" is no journal entry`);
    const atUs = Number(Reflect.get(entry, '__REALTIME_TIMESTAMP'));
    return { atUs, text: String(Reflect.get(entry, 'MESSAGE')) };
  });
}

/** Properties of a unit by their names, stamps as `stampUs` reads them. */
export async function unitStamps(
  bed: Bed,
  unit: string,
  properties: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const wanted = properties.map((name) => `--property=${name}`);
  const text = await bed.node.run(['systemctl', 'show', unit, '--timestamp=us+utc', ...wanted]);
  return new Map(
    text.split('\n').map((line) => {
      const cut = line.indexOf('=');
      return [line.slice(0, cut), line.slice(cut + 1)] as const;
    }),
  );
}

/** `Mon 2026-11-23 15:25:40.740754 UTC` in µs since the epoch. Throws for anything else. */
export function stampUs(text = ''): number {
  const [, day = '', time = '', fraction = ''] =
    /(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)\.(\d{6}) UTC$/.exec(text) ?? [];
  const ms = Date.parse(`${day}T${time}Z`);
  if (!Number.isFinite(ms)) throw new Error(`"${text}" is no stamp of systemd`);
  return ms * 1000 + Number(fraction);
}

/** `2026-01-02T03:04:05.123456Z` in µs since the epoch. */
function microseconds(stamp: string): number {
  const [whole = '', fraction = '0Z'] = stamp.split('.');
  const seconds = Date.parse(`${whole}Z`) / 1000;
  if (!Number.isFinite(seconds)) throw new BedError(`"${stamp}" is no time stamp`);
  return seconds * 1_000_000 + Number(fraction.replace('Z', '').padEnd(6, '0'));
}

/** Starts a program in the node, the host's `prefix` before it, and hands over its lines. It ends with the node at the latest. */
function inside(
  bed: Bed,
  prefix: readonly string[],
  command: readonly string[],
  onLine: (line: string) => void,
): ChildProcess {
  const [program = '', ...args] = [...prefix, ...bed.node.enterCommand(), ...command];
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TZ: 'UTC' },
  });
  createInterface({ input: child.stdout }).on('line', onLine);
  return child;
}
