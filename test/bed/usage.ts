/** What a unit of the node uses, read from the host: its cgroup for CPU time, /proc of its processes for memory. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** CPU and memory of one unit's processes. Bytes and microseconds. */
export interface UnitUsage {
  /** Of the unit's whole cgroup since it started, children that ended included. */
  readonly cpuUsec: number;
  readonly rssBytes: number;
  readonly pssBytes: number;
  readonly privateBytes: number;
  /** Voluntary context switches of all threads that live now. */
  readonly voluntarySwitches: number;
  readonly processes: number;
}

/** Reads it for a cgroup folder of the v2 tree. */
export async function usageOf(folder: string): Promise<UnitUsage> {
  const cpu = /^usage_usec (\d+)$/m.exec(await readFile(join(folder, 'cpu.stat'), 'utf8'))?.[1];
  const pids = (await readFile(join(folder, 'cgroup.procs'), 'utf8')).split('\n').filter((pid) => pid !== '');
  const sum = { rssBytes: 0, pssBytes: 0, privateBytes: 0, voluntarySwitches: 0 };
  for (const pid of pids) {
    const maps = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    sum.rssBytes += kib(maps, 'Rss');
    sum.pssBytes += kib(maps, 'Pss');
    sum.privateBytes += kib(maps, 'Private_Clean') + kib(maps, 'Private_Dirty');
    sum.voluntarySwitches += await switchesOf(pid);
  }
  return { cpuUsec: Number(cpu ?? 0), processes: pids.length, ...sum };
}

function kib(smaps: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(smaps)?.[1] ?? 0) * 1024;
}

async function switchesOf(pid: string): Promise<number> {
  let total = 0;
  for (const task of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const status = await readFile(`/proc/${pid}/task/${task}/status`, 'utf8').catch(() => '');
    total += Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1] ?? 0);
  }
  return total;
}
