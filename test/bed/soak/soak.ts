/**
 * The soak of a moored node: its link is made anew and its D-Bus daemon restarted, again and again at speed, and mooring is
 * looked at in between. Each time is seen to have reached mooring before the next one: resolved has the DNS of the new
 * interface, or mooring has another connection to the bus. Each look waits until the node is moored again.
 */
import { join } from 'node:path';
import type { Bed } from '../bed.ts';
import { BedError, run, waitFor } from '../process.ts';
import type { Sample } from './judge.ts';
import type { Inside } from './look-inside.ts';

const unit = 'mooring.service';
const looks = 3;
/** How long one of them may take. Thousands of them have to be quick, but a busy machine is no fault. */
const oneMs = 30_000;

export interface SoakOptions {
  readonly renewals: number;
  readonly busRestarts: number;
  /** How often mooring is looked at, the beginning not counted. */
  readonly rounds: number;
  readonly tell: (line: string) => void;
}

/** Makes the link anew. What resolved was given for a link is in its file of that name. */
const renewScript = (renewLine: string) => `set -eu
ifindex() { cat "/sys/class/net/$1/ifindex" 2>/dev/null || true; }
hasDns() { grep -qs '^SERVERS=.' "/run/systemd/resolve/netif/$1" && grep -qs '^DOMAINS=.' "/run/systemd/resolve/netif/$1"; }
time=0
while [ "$time" -lt "$2" ]; do
  former=$(ifindex "$1")
  { ${renewLine}; } >/dev/null
  tries=0
  while now=$(ifindex "$1"); [ -z "$now" ] || [ "$now" = "$former" ] || ! hasDns "$now"; do
    tries=$((tries + 1))
    [ "$tries" -lt 2000 ] || { echo "resolved never got the DNS of $1 ($former, now $now)" >&2; exit 1; }
    sleep 0.01
  done
  time=$((time + 1))
done`;

/** resolved does not come back to a new bus by itself. That mooring sees to it is tested elsewhere, and takes seconds. */
const restartBusScript = `set -eu
connections() { curl -sf --max-time 2 http://127.0.0.1:9810/metrics | sed -n 's/^mooring_dbus_connections_total //p'; }
time=0
while [ "$time" -lt "$1" ]; do
  former=$(connections)
  systemctl reset-failed dbus.service systemd-resolved.service
  systemctl restart dbus.service
  systemctl restart systemd-resolved.service
  tries=0
  while now=$(connections); [ -z "$now" ] || [ "$now" -le "$former" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 1000 ] || { echo "mooring has no new connection to the bus ($former, now $now)" >&2; exit 1; }
    sleep 0.02
  done
  time=$((time + 1))
done`;

/** Begins with a look, and has one after each round. Throws where mooring is another process at the end. */
export async function soak(bed: Bed, options: SoakOptions): Promise<Sample[]> {
  const { renewals, busRestarts, rounds, tell } = options;
  const { node } = bed;
  const device = (await bed.status())?.networks[0]?.device;
  if (device === undefined) throw new BedError('mooring tells no network');
  const pid = await node.unitProperty(unit, 'MainPID');
  // Prometheus asks every second in the bed, with sockets that come and go. A target that refuses keeps it off the node.
  await bed.home.scrape('127.0.0.1');
  await node.run(['sh', '-c', 'kill -s USR1 "$1"', 'sh', pid]);
  const samples: Sample[] = [];
  const began = performance.now();
  const done = { renewals: 0, busRestarts: 0 };
  const upTo = (total: number, round: number) => Math.round((total * round) / rounds);
  for (let round = 0; round <= rounds; round += 1) {
    const more = upTo(renewals, round) - done.renewals;
    if (more > 0)
      await node.run(['sh', '-c', renewScript(bed.renewLinkLine), 'renew', device, String(more)], {
        timeoutMs: more * oneMs,
      });
    const restarts = upTo(busRestarts, round) - done.busRestarts;
    if (restarts > 0)
      await node.run(['sh', '-c', restartBusScript, 'restart', String(restarts)], {
        timeoutMs: restarts * oneMs,
      });
    done.renewals += more;
    done.busRestarts += restarts;
    await bed.waitForReady(60_000);
    samples.push({ ...done, ...(await leastOf(bed, pid)) });
    tell(
      `  ${done.renewals} renewals and ${done.busRestarts} restarts after ${Math.round((performance.now() - began) / 1000)} s: ${JSON.stringify(samples.at(-1))}`,
    );
  }
  const last = await node.unitProperty(unit, 'MainPID');
  if (last !== pid) throw new BedError(`mooring was restarted: process ${pid}, and now ${last}`);
  return samples;
}

type Look = Omit<Sample, 'renewals' | 'busRestarts'>;

/** The least of some looks: what is under way just now comes and goes, what was lost stays. */
async function leastOf(bed: Bed, pid: string): Promise<Look> {
  let least = await lookAt(bed, pid);
  for (let look = 1; look < looks; look += 1) {
    const other = await lookAt(bed, pid);
    least = {
      openFiles: Math.min(least.openFiles, other.openFiles),
      matchRules: Math.min(least.matchRules, other.matchRules),
      listeners: Math.min(least.listeners, other.listeners),
      resources: Math.min(least.resources, other.resources),
      processes: Math.min(least.processes, other.processes),
      heapBytes: Math.min(least.heapBytes, other.heapBytes),
      externalBytes: Math.min(least.externalBytes, other.externalBytes),
      rssBytes: Math.min(least.rssBytes, other.rssBytes),
    };
  }
  return least;
}

async function lookAt(bed: Bed, pid: string): Promise<Look> {
  const { processes, rssBytes } = await bed.node.usage(unit);
  const openFiles = Number(await bed.node.run(['sh', '-c', 'ls "/proc/$1/fd" | wc -l', 'sh', pid]));
  return {
    ...(await inside(bed)),
    openFiles,
    matchRules: await matchRules(bed, Number(pid)),
    processes,
    rssBytes,
  };
}

function inside(bed: Bed): Promise<Inside> {
  const program = join(import.meta.dirname, 'look-inside.ts');
  return waitFor(
    'the inspector to answer',
    async () => {
      const text = await run(['ip', 'netns', 'exec', bed.netns('node'), process.execPath, program]);
      const { heapBytes, externalBytes, listeners, resources } = JSON.parse(text);
      return { heapBytes, externalBytes, listeners, resources };
    },
    { timeoutMs: 20_000 },
  );
}

/** As the bus itself counts them, of all connections of the process. */
async function matchRules(bed: Bed, pid: number): Promise<number> {
  const ask = async (iface: string, member: string, ...args: string[]): Promise<unknown> => {
    const bus = ['org.freedesktop.DBus', '/org/freedesktop/DBus'];
    return JSON.parse(await bed.node.run(['busctl', '--json=short', 'call', ...bus, iface, member, ...args]));
  };
  const rules = dataOf(await ask('org.freedesktop.DBus.Debug.Stats', 'GetAllMatchRules'));
  let sum = 0;
  for (const [name, ofName] of Object.entries(rules)) {
    // One that asked has gone again.
    const owner = await ask('org.freedesktop.DBus', 'GetConnectionUnixProcessID', 's', name).catch(
      () => undefined,
    );
    if (Number(dataOf(owner)) === pid && Array.isArray(ofName)) sum += ofName.length;
  }
  return sum;
}

/** The first value of a busctl answer. */
function dataOf(answer: unknown): object {
  const data: unknown =
    typeof answer === 'object' && answer !== null ? Reflect.get(answer, 'data') : undefined;
  const first: unknown = Array.isArray(data) ? data[0] : undefined;
  return Object(first);
}
