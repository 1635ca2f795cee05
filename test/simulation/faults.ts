/** Faults, each with what ends it. A schedule draws them at random, also while mooring is in the middle of something. */
import { device } from '../support/world.ts';
import type { SimNode } from './node.ts';

export interface Fault {
  readonly name: string;
  /** How long it goes on by itself. */
  readonly spanMs: number;
  /** Begins the fault; returns what ends it, where it does not end by itself. */
  readonly begin: (node: SimNode) => (() => void) | undefined;
}

/** A flag that is turned for a while. */
const turned = (name: string, turn: (node: SimNode, on: boolean) => void): Fault => ({
  name,
  spanMs: 0,
  begin: (node) => {
    turn(node, true);
    return () => turn(node, false);
  },
});
const once = (name: string, begin: (node: SimNode) => void): Fault => ({
  name,
  spanMs: 0,
  begin: (node) => {
    begin(node);
    return undefined;
  },
});

/** What somebody does to the interface: half of them set it right again, the others leave that to mooring. */
const meddling = (name: string, begin: (node: SimNode) => (() => void) | undefined): Fault => ({
  name,
  spanMs: 0,
  begin: (node) => {
    const end = begin(node);
    return node.random.chance(0.5) ? end : undefined;
  },
});

const repeated = (name: string, times: number, everyMs: number, begin: (node: SimNode) => void): Fault => ({
  name,
  spanMs: times * everyMs,
  begin: (node) => {
    for (let time = 0; time < times; time += 1) node.clock.after(time * everyMs, () => begin(node));
    return undefined;
  },
});

function deleteAddress({ kernel }: SimNode): void {
  const link = kernel.links.get(device);
  if (link !== undefined) kernel.alter(link, (it) => (it.addresses = []));
}

/** A restart for one breakage is not followed by another before everything was seen to be fine. */
const mendsRoutes = ({ judge }: SimNode) => (judge.newest?.memory.unroutedAsked ?? []).length === 0;

export const faults: readonly [Fault, ...Fault[]] = [
  once('zerotier-one restarts', (node) => node.zerotier.restart()),
  repeated('zerotier-one restarts again and again', 30, 7_000, (node) => node.zerotier.restart()),
  repeated('k3s crashes again and again', 8, 6_000, (node) => node.k3s.unit.crash()),
  repeated('nginx crashes again and again', 12, 2_500, (node) => node.nginx.unit.crash()),
  once('a person changes the config', (node) => node.reconfigure()),
  once('the address changes', (node) => node.zerotier.readdress(`10.45.0.${node.random.between(2, 250)}/24`)),
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
  meddling('somebody deletes the address', (node) => {
    deleteAddress(node);
    return () => node.zerotier.restart();
  }),
  meddling('somebody deletes the interface', (node) => {
    node.kernel.remove(device);
    return () => node.zerotier.restart();
  }),
  repeated('somebody deletes the address again and again', 8, 65_000, deleteAddress),
  repeated('the address changes twice within a second', 2, 300, (node) =>
    node.zerotier.readdress(`10.45.0.${node.random.between(2, 250)}/24`),
  ),
  once('somebody changes the DNS of the link', (node) => {
    const link = node.kernel.links.get(device);
    if (link !== undefined)
      node.resolved.links.set(link.ifindex, { servers: ['1.1.1.1'], domains: [], defaultRoute: true });
  }),
  once('resolved loses the settings of its links', (node) => node.resolved.links.clear()),
  turned('resolved is away', (node, on) => {
    if (on) node.resolved.stop();
    else node.resolved.start();
  }),
  turned('the bus is away', (node, on) => {
    node.bus.isUp = !on;
    if (on) node.resolved.loseBus();
  }),
  turned('the k3s server is away', (node, on) => {
    node.isServerUp = !on;
  }),
  turned('the disk is full', (node, on) => {
    node.disk.isFull = on;
  }),
  turned('a port of the ingress is taken', (node, on) => {
    node.nginx.isPortTaken = on;
  }),
  once('somebody deletes flannel.1', (node) => node.flannel.remove()),
  once("somebody flushes flannel's routes", (node) => {
    if (mendsRoutes(node)) node.flannel.flushRoutes();
  }),
  once('somebody deletes the route to one node', (node) => {
    const [network] = node.cluster.others.values();
    if (network !== undefined && mendsRoutes(node)) node.flannel.removeRoute(network);
    node.daemon.wake('route');
  }),
  turned('another node leaves the cluster', (node, on) => node.otherNode('edge-2', '10.42.2.0/24', !on)),
  turned("the cluster's API refuses", (node, on) => {
    node.cluster.refuses = on;
  }),
  once('k3s crashes', (node) => node.k3s.unit.crash()),
  once('nginx is updated', (node) => {
    node.nginx.program = `${node.random.between(2, 9)}`;
  }),
  once('nginx crashes', (node) => node.nginx.unit.crash()),
  once('the k3s binary is replaced', (node) => {
    node.k3sFiles.replaceBinary(`${node.random.between(2, 9)}:1:1`);
  }),
  once("the k3s token's content changes", (node) => {
    node.k3sFiles.isTokenInSync = false;
  }),
  once('the wall clock jumps', (node) => {
    node.clock.wallOffsetMs += node.random.pick([-3_600_000, 3_600_000]);
  }),
  once('mooring is killed', (node) => node.daemon.kill()),
];
