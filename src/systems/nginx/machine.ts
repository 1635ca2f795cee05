/**
 * What the ingress is sized by: cores, memory, open files. Read without a process; each is there in a unit that sees nothing of
 * /proc but processes (ProcSubset=pid): os.cpus() is empty then, os.availableParallelism() asks the scheduler; os.totalmem()
 * falls back to sysinfo(2); /proc/self stays.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import type { Machine } from './types.ts';

/** LimitNOFILE= of mooring-ingress.service, and systemd's own default of the hard limit. */
const unitOpenFiles = 524_288;

/** `limits` is replaced by tests. */
export function readMachine(limits = '/proc/self/limits'): Machine {
  return {
    cores: Math.max(1, availableParallelism()),
    memoryBytes: totalmem(),
    openFiles: Math.min(unitOpenFiles, hardLimit(limits) ?? unitOpenFiles),
  };
}

/**
 * This process' own hard limit of open files. PID 1 gives the ingress' unit no more than that where it lacks CAP_SYS_RESOURCE, as
 * in a container; elsewhere both are what the unit asks for. Undefined where it is unlimited or cannot be read.
 */
function hardLimit(path: string): number | undefined {
  try {
    const digits = /^Max open files +\S+ +(\d+) /m.exec(readFileSync(path, 'latin1'))?.[1];
    return digits === undefined ? undefined : Number(digits);
  } catch {
    return undefined;
  }
}
