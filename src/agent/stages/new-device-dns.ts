/**
 * What a device that came back under another ifindex needs at once. resolved cannot know anything of an ifindex that did
 * not exist before, so kernel and memory are enough to tell: no other system has to be read, or waited for, first.
 */
import type { Config } from '../../config/schema.ts';
import type { LinksReading } from '../../systems/netlink/types.ts';
import { type Action, actionKey } from '../actions.ts';
import type { Memory } from '../memory.ts';
import { wantedDns } from './dns.ts';

/** DNS of the configured networks' devices whose ifindex mooring has not served yet. Each is named once: retries are the stage's. */
export function newDeviceDns(config: Config, memory: Memory, links: LinksReading): readonly Action[] {
  return config.zerotier.networks.flatMap((network) => {
    const known = memory.networks[network.id];
    const link = known === undefined ? undefined : links[known.device];
    if (known === undefined || link === undefined || memory.dnsSet[link.name] === link.ifindex) return [];
    if (!known.configured && network.dns === 'auto') return [];
    const want = wantedDns(network.dns, known);
    if (want === undefined) return [];
    const action: Action = { do: 'dns.set', device: link.name, ifindex: link.ifindex, want };
    return memory.attempts[actionKey(action)] === undefined ? [action] : [];
  });
}
