/**
 * Ports that are not nginx' own: those that somebody else holds, so that nginx cannot listen at them, and those at which it listens
 * and hears nothing. A socket is somebody else's where it is in the way of
 * what the wanted config listens at and is none that nginx has by the config that it serves.
 */
import type { Holder, Listen } from '../../systems/doors/types.ts';
import { listensOf } from '../render/nginx-listens.ts';
import type { World } from '../world.ts';
import type { StageInput } from './stage.ts';

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
  if (inTheWay.length === 0) return undefined;
  const told = [...new Set(inTheWay.map(describe))];
  const more = told.length > maxTold ? ` and ${told.length - maxTold} more` : '';
  const [first] = inTheWay;
  const look = `ss -l${first?.protocol === 'udp' ? 'u' : 't'}np 'sport = :${first?.port}'`;
  return `${told.slice(0, maxTold).join(', ')}${more}: see whose with ${look}, then end that program, or change the entry's listen`;
}

/** Tells which ports nginx listens at in vain, and what to do; undefined where it hears all that is tried. */
export function redirectedPorts({ redirected }: World['doors']): string | undefined {
  const [first] = redirected;
  if (first === undefined) return undefined;
  const ports = [...new Set(redirected.map(({ port }) => `${port}/tcp`))].join(', ');
  const addresses = [...new Set(redirected.map(({ address }) => address))].join(' and ');
  return `${ports}: nginx listens, and connections to ${addresses} end elsewhere, led away by a rule in the kernel. Mostly that is k3s' service load balancer: keep its pods (svclb-…) off this node with a taint, or with the label svccontroller.k3s.cattle.io/enablelb=true on the nodes that shall have them. To see the rule: iptables-save -t nat | grep -w ${first.port}, or nft list ruleset`;
}

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
