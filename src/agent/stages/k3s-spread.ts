/** When k3s is restarted after an outage of the link, which all nodes of a home come back from at the same moment. */
import { k3sNetwork, type ReadyLink } from './k3s-wanted.ts';
import type { StageInput } from './stage.ts';

/**
 * Monotonic ms at which the restart after an outage is due: all nodes of a home come back at the same moment, so each waits for its own part
 * of `spread`, drawn from its ZeroTier address and the count of outages, the same in every pass.
 */
export function dueAfterOutageMs({ config, memory, world }: StageInput, link: ReadyLink): number {
  const remembered = memory.links[k3sNetwork(config)];
  const { settle, spread } = config.k3s.restart;
  const name = world.zerotier.kind === 'answered' ? world.zerotier.address : link.link.name;
  const readyMs = remembered?.readySinceMs ?? 0;
  const answeredMs = memory.silence.endedMs ?? 0;
  // The end of a silence is seen by a probe, at a moment that is each node's own already.
  if (answeredMs > readyMs) return answeredMs + settle;
  return readyMs + settle + share(`${name} ${remembered?.outages ?? 0}`) * spread;
}

/** A number in [0, 1) that is spread evenly over texts and always the same for one (FNV-1a, mixed once more). */
function share(text: string): number {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) >>> 0) / 0x1_0000_0000;
}
