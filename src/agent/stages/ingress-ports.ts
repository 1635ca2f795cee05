/**
 * Ports that are not nginx' own: those that somebody else holds, so that nginx cannot listen at them, those that it shares, and those
 * at which it listens and hears nothing. A socket is somebody else's where it is in the way of what the wanted config listens at and
 * is none that nginx has by the config that it serves; and where there are more of a kind than nginx has workers.
 */
import type { Holder, Listen } from '../../systems/doors/types.ts';
import type { Finding } from '../conditions.ts';
import { nginxHost } from '../render/nginx-conf.ts';
import { listensOf } from '../render/nginx-listens.ts';
import type { World } from '../world.ts';
import { isFalse, type StageInput } from './stage.ts';

/** How many are told by name. */
const maxTold = 3;

/** What the running nginx listens at; undefined where nobody knows. */
export function servedListens({
  world,
  memory,
}: Pick<StageInput, 'world' | 'memory'>): readonly Listen[] | undefined {
  const { config, servingGeneration } = world.ingress;
  if (servingGeneration === undefined) return undefined;
  return config.kind === 'present' && config.text.includes(`return ${servingGeneration};`)
    ? listensOf(config.text)
    : memory.ingressListens;
}

/** Tells which ports are taken, by whom, and what to do; undefined where none is known to be. `served` is nginx' own. */
export function takenPorts(
  wanted: readonly Listen[],
  served: readonly Listen[] | undefined,
  doors: World['doors'],
): string | undefined {
  if (served === undefined) return undefined;
  const own = new Set(served.map(placeOf));
  const inTheWay = (doors.holders ?? []).filter(
    (holder) => !own.has(placeOf(holder)) && wanted.some((listen) => collide(holder, listen)),
  );
  const told = [...new Set(inTheWay.map(describe))];
  const more = told.length > maxTold ? ` and ${told.length - maxTold} more` : '';
  const [first] = inTheWay;
  if (first === undefined) return undefined;
  return `${told.slice(0, maxTold).join(', ')}${more}: see whose with ${lookUp(first)}, then end that program, or change the entry's listen`;
}

/** Sockets of former workers may be there for a moment after their number has changed. */
const sharedPatienceMs = 15_000;

/** What is wrong with ports that nginx listens at; `sharedSinceMs` is to be remembered. */
export function lostPorts(
  { config, world, memory, now }: StageInput,
  listens: readonly Listen[],
): { readonly finding: Finding | undefined; readonly sharedSinceMs: number | undefined } {
  const shared = sharedPorts(listens, nginxHost(config, world, memory).size.workers, world.doors);
  const sharedSinceMs = shared === undefined ? undefined : (memory.ingressSharedSinceMs ?? now.monoMs);
  const away = redirectedPorts(world.doors);
  if (away !== undefined) return { finding: isFalse('PortRedirected', away), sharedSinceMs };
  const isLasting = sharedSinceMs !== undefined && now.monoMs - sharedSinceMs >= sharedPatienceMs;
  const isShared = shared !== undefined && isLasting;
  return { finding: isShared ? isFalse('PortShared', shared) : undefined, sharedSinceMs };
}

/** Tells which ports nginx listens at in vain, and what to do; undefined where it hears all that is tried. */
function redirectedPorts({ redirected }: World['doors']): string | undefined {
  const [first] = redirected;
  if (first === undefined) return undefined;
  const ports = [...new Set(redirected.map(({ port }) => `${port}/tcp`))].join(', ');
  const addresses = [...new Set(redirected.map(({ address }) => address))].join(' and ');
  return `${ports}: nginx listens, and connections to ${addresses} end elsewhere, led away by a rule in the kernel. Mostly that is k3s' service load balancer: keep its pods (svclb-…) off this node with a taint, or with the label svccontroller.k3s.cattle.io/enablelb=true on the nodes that shall have them. To see the rule: iptables-save -t nat | grep -w ${first.port}, or nft list ruleset`;
}

/**
 * Tells which ports another program of root shares with nginx, which gets a part of the connections then; undefined where none does.
 * The kernel lets programs of one user listen at one port where both ask for that, as nginx does for its workers.
 */
function sharedPorts(served: readonly Listen[], workers: number, doors: World['doors']): string | undefined {
  const own = new Set(served.map(placeOf));
  const shared = (doors.holders ?? []).filter(
    (holder) => own.has(placeOf(holder)) && holder.sockets > workers,
  );
  const [first] = shared;
  if (first === undefined) return undefined;
  const ports = [...new Set(shared.map(({ protocol, port }) => `${port}/${protocol}`))].join(', ');
  return `${ports}: another program of ${first.user} listens at the same port (SO_REUSEPORT) and gets a part of what comes: see whose with ${lookUp(first)}, then end it, or change the entry's listen`;
}

/** The command that shows whose a port is. */
const lookUp = ({ protocol, port }: Listen) => `ss -l${protocol === 'udp' ? 'u' : 't'}np 'sport = :${port}'`;

const placeOf = ({ protocol, address, port }: Listen) => `${protocol} ${address} ${port}`;

/** A socket for all of IPv6 may take IPv4 as well; the kernel's table does not tell whether it does. */
function collide(holder: Listen, listen: Listen): boolean {
  if (holder.protocol !== listen.protocol || holder.port !== listen.port) return false;
  if (holder.address === listen.address || holder.address === '::') return true;
  const isV6 = (address: string) => address.includes(':');
  if (isV6(holder.address) !== isV6(listen.address)) return false;
  return holder.address === '0.0.0.0' || listen.address === '0.0.0.0' || listen.address === '::';
}

function describe({ protocol, address, port, user }: Holder): string {
  const shown = address.includes(':') ? `[${address}]` : address;
  return `${port}/${protocol} is taken by another program (socket ${shown}:${port} of ${user})`;
}
