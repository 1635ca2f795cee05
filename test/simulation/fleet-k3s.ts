/**
 * The connection attempts of a k3s agent itself, by its published sources. Counted are the tunnel and the kubelet's connection;
 * those of kube-proxy, flannel and the network policy controller are left out, and so are TLS failures of a server that is
 * swamped: with them k3s' own peak would be higher, and everybody else's share of it smaller.
 */
import type { Random } from '../support/random.ts';
import { dial, isOpen, type Outage } from './fleet-outage.ts';

/** k3s, pkg/agent/tunnel/tunnel.go: one tunnel a server; after an error it waits 1 s, without jitter, and dials without limit. */
const tunnelPauseMs = 1_000;
/** rancher/remotedialer, types.go and wsconn.go: pings every 5 s, a tunnel without an answer breaks after 60 s. */
const tunnelPingMs = 5_000;
const tunnelLifeMs = 60_000;
/** k3s, pkg/agent/loadbalancer/servers.go: a second after its tunnel broke, a server's other connections are closed. */
const healthCheckMs = 1_000;
/** k8s.io/component-helpers, apimachinery/lease/controller.go: five tries at once, then 200 ms doubled up to 7 s, no jitter. */
const leaseTries = 5;
const leaseFirstPauseMs = 200;
const leasePauseMs = 7_000;
/** net/http as client-go sets it up: the TLS handshake may take 10 s, and the local load balancer lets it wait that long. */
const handshakeMs = 10_000;
/** k3s, pkg/agent/run.go: an agent that is starting and gets no CA bundle tries again after 2 s, without jitter. */
const startPauseMs = 2_000;
/** k3s, pkg/clientaccess/token.go: what a start asks for, it asks with this deadline. */
const requestMs = 10_000;
/**
 * k3s, pkg/clientaccess/token.go and pkg/agent/config/config.go: /cacerts three times, twice over, the config, two CAs, four
 * certificates, the servers, readyz, each on a connection of its own; then the tunnel and the kubelet.
 */
const connectionsOfAStart = 17;
/** Assumed: how long those take to follow one another, and when the node has renewed its lease after them. */
const startBurstMs = 3_000;
const startToBackMs = 5_000;

export interface AgentLife {
  /** Monotonic ms at which the server saw an attempt. */
  readonly attemptsMs: readonly number[];
  /** The tunnel is up and the lease renewed. */
  readonly backMs: number;
}

/** An agent that ran when home was cut off, and that nobody restarts. */
export function runningAgent(outage: Outage, random: Random): AgentLife {
  const brokenMs = outage.cutMs + tunnelLifeMs - random.next() * tunnelPingMs;
  // What is sent meanwhile is repeated by the kernel, at the latest when the pause between two tries is over.
  if (brokenMs > outage.backMs) return { attemptsMs: [], backMs: outage.backMs + random.next() * 1_000 };
  const tunnelMs = reconnect(outage, random, brokenMs, Number.POSITIVE_INFINITY, () => tunnelPauseMs);
  const closedMs = brokenMs + random.next() * healthCheckMs;
  const leaseMs = reconnect(outage, random, closedMs, handshakeMs, (tries) =>
    tries < leaseTries ? 0 : Math.min(leasePauseMs, leaseFirstPauseMs * 2 ** (tries - leaseTries)),
  );
  return { attemptsMs: [tunnelMs, leaseMs], backMs: Math.max(tunnelMs, leaseMs) };
}

/** When the server sees the one that gets through. */
function reconnect(
  outage: Outage,
  random: Random,
  fromMs: number,
  deadlineMs: number,
  pauseMs: (tries: number) => number,
): number {
  let nowMs = fromMs;
  for (let tries = 1; ; tries += 1) {
    const dialed = dial(outage, nowMs, deadlineMs);
    if (dialed.reached) return dialed.atMs;
    // The few ms that a computer takes.
    nowMs = dialed.atMs + pauseMs(tries) + random.next() * 20;
  }
}

/** An agent whose process begins at `beganMs`. Nothing is connected before. */
export function startingAgent(outage: Outage, random: Random, beganMs: number): AgentLife {
  let nowMs = beganMs + random.next() * 1_000;
  for (;;) {
    // It asks once as if the host trusted the server, and once more without.
    for (const _ of ['trusting', 'blind']) {
      const dialed = dial(outage, nowMs, requestMs);
      if (!dialed.reached) {
        nowMs = dialed.atMs;
        continue;
      }
      const rest = Array.from(
        { length: connectionsOfAStart - 1 },
        () => dialed.atMs + random.next() * startBurstMs,
      );
      return { attemptsMs: [dialed.atMs, ...rest], backMs: dialed.atMs + startToBackMs };
    }
    nowMs += startPauseMs + random.next() * 20;
  }
}

/** The life of an agent that is ended at `endMs`, as far as it got. */
export function until(life: AgentLife, endMs: number): readonly number[] {
  return life.attemptsMs.filter((atMs) => atMs < endMs);
}

/** Whether k3s that began at `beganMs` has joined at `nowMs`, as far as systemd sees it. */
export function hasJoined(outage: Outage, beganMs: number, nowMs: number): boolean {
  return nowMs - beganMs >= startToBackMs && isOpen(outage, nowMs);
}
