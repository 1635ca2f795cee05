/**
 * An outage of the link that neither ZeroTier nor the kernel shows: both call the link fine, and everything beyond it is
 * silent. It is counted like a lost link once it has lasted `k3s.restart.outage`, and it is over when the server answers.
 * Nothing is concluded from the server's silence alone.
 */
import type { Finding } from '../conditions.ts';
import type { RememberedSilence } from '../memory.ts';
import { k3sNetwork } from './k3s-wanted.ts';
import type { LinkState } from './link.ts';
import type { StageInput, StageResult } from './stage.ts';

export function silenceStage(
  input: StageInput,
  links: Readonly<Record<string, LinkState>>,
  server: Finding,
): StageResult {
  const { config, memory, now } = input;
  const id = k3sNetwork(config);
  const before = memory.silence;
  const answer = (silence: RememberedSilence, wakeAtMs?: number): StageResult => ({
    actions: [],
    memory: sameSilence(before, silence) ? memory : { ...memory, silence },
    wakeAtMs,
  });
  // A link that is lost counts by itself.
  if (links[id]?.kind !== 'ready') return answer({ ...before, sinceMs: undefined, isOutage: false });
  if (server.status === 'true') {
    const endedMs = before.isOutage ? now.monoMs : before.endedMs;
    return answer({ sinceMs: undefined, isOutage: false, endedMs });
  }
  if (server.reason !== 'LinkSilent') return answer({ ...before, sinceMs: undefined });
  const sinceMs = before.sinceMs ?? silentSinceMs(input);
  const dueMs = sinceMs + config.k3s.restart.outage;
  const link = memory.links[id];
  if (before.isOutage || link === undefined) return answer({ ...before, sinceMs });
  if (now.monoMs <= dueMs) return answer({ ...before, sinceMs }, dueMs + 1);
  const counted = { ...link, outages: link.outages + 1 };
  return {
    actions: [],
    memory: {
      ...memory,
      links: { ...memory.links, [id]: counted },
      silence: { ...before, sinceMs, isOutage: true },
    },
    wakeAtMs: undefined,
  };
}

/** Since when nothing at all answers, by the probes: the controller's silence shows only minutes later. */
function silentSinceMs({ now, world: { home } }: StageInput): number {
  const server = home.server.kind === 'unreachable' ? home.server.sinceMs : now.monoMs;
  const dns = home.dns.kind === 'silent' ? home.dns.sinceMs : 0;
  return Math.max(server, dns);
}

function sameSilence(left: RememberedSilence, right: RememberedSilence): boolean {
  return left.sinceMs === right.sinceMs && left.isOutage === right.isOutage && left.endedMs === right.endedMs;
}
