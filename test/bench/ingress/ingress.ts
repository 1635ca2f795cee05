/**
 * The door against its rivals, in one run on one machine: mooring's nginx as its unit runs it, the nginx config that people
 * write by hand, HAProxy, and the upstream asked directly as the limit.
 */
import type { ComparedSection } from './compare.ts';
import { measureHeld } from './held.ts';
import { startUpstreams } from './loads.ts';
import { measureReloads } from './reloads.ts';
import { Rig } from './rig.ts';
import { proxies } from './rivals.ts';
import { measureDatagrams, measureTraffic } from './rounds.ts';

/** Slightly fewer than two workers with 20,000 files each could hold. */
const connectionsTried = 19_500;
const reloads = 100;

/** Everything about the ingress, in `rounds` rounds. */
export async function measureIngress(
  rounds: number,
  tell: (line: string) => void,
): Promise<readonly ComparedSection[]> {
  const rig = await Rig.start(tell);
  try {
    await startUpstreams(rig);
    tell(`- ${connectionsTried} connections at once`);
    const held = await measureHeld(rig, connectionsTried);
    for (const proxy of proxies) await rig.open(proxy);
    tell(`- ${rounds} rounds of new connections, requests and bytes`);
    const traffic = await measureTraffic(rig, rounds, tell);
    tell('- datagrams');
    const datagrams = await measureDatagrams(rig, Math.ceil(rounds / 2));
    tell(`- ${reloads} reloads`);
    const reloading = await measureReloads(rig, reloads);
    return [held, ...traffic, datagrams, reloading];
  } catch (error) {
    tell(await rig.logs());
    throw error;
  } finally {
    rig.stop();
  }
}
