/** Faults, each with what ends it. A schedule draws them at random, also while mooring is in the middle of something. */
import type { Action } from '../../src/agent/actions.ts';
import type { Random } from '../support/random.ts';
import { device } from '../support/world.ts';
import type { SimNode } from './node.ts';

export interface Fault {
  readonly name: string;
  /** Whether it is over by itself, or lasts as long as it was drawn for. */
  readonly ends: 'itself' | 'later';
  /** It happens so often, so far apart, unless it is shortened; once where absent. */
  readonly repeats?: { readonly times: number; readonly everyMs: number };
  /** Begins the fault; returns what ends it, where it does not end by itself. `random` is the fault's own. */
  readonly begin: (node: SimNode, random: Random) => (() => void) | undefined;
}

/** A flag that is turned for a while. */
const turned = (name: string, turn: (node: SimNode, on: boolean) => void): Fault => ({
  name,
  ends: 'later',
  begin: (node) => {
    turn(node, true);
    return () => turn(node, false);
  },
});

const once = (name: string, begin: (node: SimNode, random: Random) => void): Fault => ({
  name,
  ends: 'itself',
  begin: (node, random) => {
    begin(node, random);
    return undefined;
  },
});

/** What somebody does to the interface: half of them set it right again, the others leave that to mooring. */
const meddling = (name: string, begin: (node: SimNode) => (() => void) | undefined): Fault => ({
  name,
  ends: 'later',
  begin: (node, random) => {
    const end = begin(node);
    return random.chance(0.5) ? end : undefined;
  },
});

const repeated = (
  name: string,
  times: number,
  everyMs: number,
  begin: (node: SimNode, random: Random) => void,
): Fault => ({ ...once(name, begin), repeats: { times, everyMs } });

/** Lies in wait until mooring does something of the kind, and strikes in the middle of it. */
const amidst = (
  name: string,
  verb: Action['do'],
  withinMs: number,
  strike: (node: SimNode) => void,
  before: (node: SimNode) => void = () => undefined,
): Fault => ({
  name,
  ends: 'later',
  begin: (node, random) => {
    before(node);
    return node.judge.onNext(verb, () =>
      node.clock.after(random.between(0, withinMs), () => {
        node.judge.tell('it strikes');
        strike(node);
      }),
    );
  },
});

function deleteAddress({ kernel }: SimNode): void {
  const link = kernel.links.get(device);
  if (link !== undefined) kernel.alter(link, (it) => (it.addresses = []));
}

/** A restart for one breakage is not followed by another before everything was seen to be fine: the rest is for a person. */
const mendsFlannel = ({ judge }: SimNode) =>
  judge.hasSeenFlannelWhole() && (judge.newest?.memory.unroutedAsked ?? []).length === 0;

function flushRoutes(node: SimNode): void {
  if (mendsFlannel(node)) node.flannel.flushRoutes();
}

export const faults: readonly [Fault, ...Fault[]] = [
  once('zerotier-one restarts', (node) => node.zerotier.restart()),
  repeated('zerotier-one restarts again and again', 30, 7_000, (node) => node.zerotier.restart()),
  repeated('k3s crashes again and again', 8, 6_000, (node) => node.k3s.unit.crash()),
  repeated('nginx crashes again and again', 12, 2_500, (node) => node.nginx.unit.crash()),
  once('somebody leaves the network by hand', (node) => node.zerotier.forget()),
  amidst(
    'zerotier-one is killed while it joins',
    'zerotier.join',
    400,
    (node) => node.zerotier.kill(),
    (node) => node.zerotier.forget(),
  ),
  amidst('zerotier-one is killed while k3s is restarted', 'unit.restart', 2_500, (node) =>
    node.zerotier.kill(),
  ),
  amidst("zerotier-one is killed while k3s' config is written", 'k3s.write-config', 8, (node) =>
    node.zerotier.kill(),
  ),
  ...(['unit.start', 'unit.restart', 'dns.set', 'k3s.write-config', 'ingress.replace'] as const).map((verb) =>
    amidst(`mooring is killed in the middle of ${verb}`, verb, 8, (node) => node.daemon.kill()),
  ),
  once("ZeroTier's token changes", (node) => {
    node.zerotier.api = 'refuse-token';
    // The path unit restarts mooring, with the new token.
    node.clock.after(300, () => {
      node.zerotier.api = 'none';
      node.daemon.restart();
    });
  }),
  once('mooring is upgraded', (node) => node.daemon.restart()),
  once("networkd restarts, and wipes others' routes", (node) => {
    flushRoutes(node);
    const link = node.kernel.links.get(device);
    if (link !== undefined) node.resolved.meddle(link.ifindex, undefined);
  }),
  once('a person changes the config', (node) => node.reconfigure()),
  once('the address changes', (node, random) =>
    node.zerotier.readdress(`10.45.0.${random.between(2, 250)}/24`),
  ),
  turned('somebody shuts the node out of the network', (node, on) => node.controller.decide(!on)),
  turned("the controller's API is away", (node, on) => {
    node.controller.trouble = on ? 'away' : 'none';
  }),
  turned("the controller's API wants to be asked less", (node, on) => {
    node.controller.trouble = on ? 'busy' : 'none';
  }),
  turned("the controller's API refuses the token", (node, on) => {
    node.controller.trouble = on ? 'refused' : 'none';
  }),
  turned('UDP is blocked', (node, on) => node.zerotier.cutOff(on)),
  turned('the API hangs', (node, on) => {
    node.zerotier.api = on ? 'hang' : 'none';
  }),
  turned('the API answers garbage', (node, on) => {
    node.zerotier.api = on ? 'garbage' : 'none';
  }),
  turned('the API refuses the token', (node, on) => {
    node.zerotier.api = on ? 'refuse-token' : 'none';
  }),
  meddling('somebody sets the interface down', (node) => {
    const link = node.kernel.links.get(device);
    if (link === undefined) return undefined;
    node.kernel.alter(link, (it) => (it.up = false));
    return () => node.kernel.alter(link, (it) => (it.up = true));
  }),
  meddling('somebody deletes the connected route', (node) => {
    const link = node.kernel.links.get(device);
    if (link === undefined) return undefined;
    node.kernel.alter(link, (it) => (it.hasRoute = false));
    return () => node.zerotier.restart();
  }),
  meddling('somebody deletes the address', (node) => {
    deleteAddress(node);
    return () => node.zerotier.restart();
  }),
  meddling('somebody deletes the interface', (node) => {
    node.kernel.remove(device);
    return () => node.zerotier.restart();
  }),
  repeated('somebody deletes the address again and again', 8, 65_000, deleteAddress),
  repeated('the address changes twice within a second', 2, 300, (node, random) =>
    node.zerotier.readdress(`10.45.0.${random.between(2, 250)}/24`),
  ),
  once('somebody changes the DNS of the link', (node) => {
    const link = node.kernel.links.get(device);
    if (link !== undefined)
      node.resolved.meddle(link.ifindex, { servers: ['1.1.1.1'], domains: [], defaultRoute: true });
  }),
  once('resolved loses the settings of its links', (node) => {
    for (const ifindex of [...node.resolved.links.keys()]) node.resolved.meddle(ifindex, undefined);
  }),
  turned('resolved is away', (node, on) => {
    if (on) node.resolved.stop();
    else node.resolved.start();
  }),
  turned('the bus is away', (node, on) => {
    node.bus.turn(!on);
  }),
  turned('the k3s server is away', (node, on) => {
    node.isServerUp = !on;
  }),
  turned('the disk is full', (node, on) => {
    node.disk.trouble = on ? 'full' : 'none';
  }),
  turned('the disk is read-only', (node, on) => {
    node.disk.trouble = on ? 'read-only' : 'none';
  }),
  turned('a port of the ingress is taken', (node, on) => {
    node.nginx.isPortTaken = on;
  }),
  once('somebody deletes flannel.1', (node) => {
    if (node.judge.hasSeenFlannelWhole()) node.flannel.remove();
  }),
  once("somebody flushes flannel's routes", flushRoutes),
  once('somebody deletes the route to one node', (node) => {
    const [network] = node.cluster.others.values();
    if (network !== undefined && mendsFlannel(node)) node.flannel.removeRoute(network);
    node.daemon.wake('route');
  }),
  turned('another node leaves the cluster', (node, on) => node.otherNode('edge-2', '10.42.2.0/24', !on)),
  turned("the cluster's API refuses", (node, on) => {
    node.cluster.refuses = on;
  }),
  once('k3s crashes', (node) => node.k3s.unit.crash()),
  once('nginx is updated', (node, random) => {
    node.nginx.program = `${random.between(2, 9)}`;
  }),
  once('nginx crashes', (node) => node.nginx.unit.crash()),
  once('the k3s binary is replaced', (node, random) => {
    node.k3sFiles.replaceBinary(`${random.between(2, 9)}:1:1`);
  }),
  once("the k3s token's content changes", (node) => {
    node.k3sFiles.isTokenInSync = false;
  }),
  once('the wall clock jumps an hour', (node, random) => {
    node.clock.wallOffsetMs += random.pick([-3_600_000, 3_600_000]);
  }),
  once('mooring is killed', (node) => node.daemon.kill()),
];
