/**
 * What must live on while mooring and the link come and go: the k3s agent, nginx with its workers, and the pod behind
 * the ingress. Two readings are equal exactly where all of them are the same processes.
 */
import type { Bed } from './bed.ts';
import { BedError } from './process.ts';

const k3sUnit = 'k3s-node.service';
const ingressUnit = 'mooring-ingress.service';

export interface Lifelines {
  readonly k3s: { readonly pid: string; readonly run: string };
  readonly nginx: { readonly pid: string; readonly run: string; readonly workers: readonly string[] };
  /** As the pod itself tells it, asked from the internet through the ingress. */
  readonly pod: number;
}

/** Who lives now. Throws where one of them does not. */
export async function lifelines(bed: Bed): Promise<Lifelines> {
  const nginx = await unitRun(bed, ingressUnit);
  const workers = (await bed.node.run(['pgrep', '-P', nginx.pid])).split('\n').sort();
  return { k3s: await unitRun(bed, k3sUnit), nginx: { ...nginx, workers }, pod: await podPid(bed) };
}

/** How often mooring asked for a start or restart of the k3s agent so far, by reason. */
export async function k3sStarts(bed: Bed): Promise<Readonly<Record<string, number>>> {
  const restarts = (await bed.status())?.k3s.restarts;
  if (restarts === undefined) throw new BedError('mooring does not answer');
  const ours = Object.entries(restarts).filter(([key]) => key.startsWith(`${k3sUnit} `));
  return Object.fromEntries(ours.map(([key, count]) => [key.slice(k3sUnit.length + 1), count]));
}

async function unitRun(bed: Bed, unit: string): Promise<{ pid: string; run: string }> {
  const [pid = '', run = ''] = [
    await bed.node.unitProperty(unit, 'MainPID'),
    await bed.node.unitProperty(unit, 'InvocationID'),
  ];
  if (!/^[1-9]/.test(pid)) throw new BedError(`${unit} does not run`);
  return { pid, run };
}

async function podPid(bed: Bed): Promise<number> {
  const answer = await bed.client.http(80, { path: '/who' });
  const pid = /"pid": *(\d+)/.exec(answer.body)?.[1];
  if (answer.status !== 200 || pid === undefined)
    throw new BedError(`the pod answered ${answer.status}: ${answer.body}`);
  return Number(pid);
}
