/** What befalls a link's DNS settings in systemd-resolved, on a link of nobody's and on one of systemd-networkd's. */
import { resolvedUnit } from '../../src/agent/world.ts';
import type { LinkDns } from '../../src/systems/resolved/types.ts';
import { device } from '../support/world.ts';
import { deleteDevice, makeTap, setDown, setUp } from './kernel-script.ts';
import type { ModelNode } from './model-node.ts';
import type { Part } from './normal.ts';
import type { RealNode } from './real-node.ts';
import type { Step } from './script.ts';
import type { Seen } from './side.ts';

export const dnsParts: readonly Part[] = ['dns'];

type DnsStep = Step<ModelNode, RealNode>;

const wanted: LinkDns = {
  servers: ['10.45.0.1', 'fd00:45::1'],
  domains: [
    { name: 'home.example', routingOnly: true },
    { name: '45.10.in-addr.arpa', routingOnly: true },
  ],
  defaultRoute: false,
};
const foreign: LinkDns = {
  servers: ['192.0.2.53'],
  domains: [{ name: 'other.example', routingOnly: false }],
  defaultRoute: true,
};

/** An ifindex that never was. */
const noIfindex = 999_999;
const ifindexIn = (seen: Seen, name: string) => seen.links[name]?.ifindex ?? noIfindex;
const set = (name: string, on = device): DnsStep => ({
  name,
  act: (seen) => ({ do: 'dns.set', ifindex: ifindexIn(seen, on), want: wanted }),
});
const revert = (name: string, on = device): DnsStep => ({
  name,
  act: (seen) => ({ do: 'dns.revert', ifindex: ifindexIn(seen, on) }),
});
const step = (name: string, model: (node: ModelNode) => unknown, command: string): DnsStep => ({
  name,
  model,
  real: (node) => node.run(command),
});

const reset = 'systemctl reset-failed systemd-resolved.service';
const restartResolved = step(
  'resolved is restarted',
  () => undefined,
  `${reset}; systemctl restart systemd-resolved.service`,
);
const restartNetworkd = step(
  'networkd is restarted',
  (node) => node.resolved.restartNetworkd(),
  'systemctl restart systemd-networkd.service',
);

export const resolvedScript: readonly DnsStep[] = [
  makeTap('an interface is made'),
  set('mooring sets its DNS'),
  restartResolved,
  step(
    'resolved is killed',
    () => undefined,
    `${reset}; systemctl kill --signal=KILL systemd-resolved.service`,
  ),
  setUp,
  restartNetworkd,
  setDown,
  step(
    'somebody else sets the DNS of the link',
    (node) => node.resolved.links.set(node.link.ifindex, foreign),
    `resolvectl dns ${device} 192.0.2.53; resolvectl domain ${device} other.example; resolvectl default-route ${device} yes`,
  ),
  set('mooring sets its DNS again'),
  step(
    'somebody else reverts the link',
    (node) => node.resolved.links.delete(node.link.ifindex),
    `resolvectl revert ${device}`,
  ),
  set('mooring sets its DNS after that'),
  revert('mooring reverts the link'),
  revert('mooring reverts it once more'),
  set('mooring sets its DNS for the fourth time'),
  step(
    'somebody masks and stops resolved',
    (node) => node.resolved.stop(),
    'systemctl mask --runtime --now systemd-resolved.service',
  ),
  set('mooring sets the DNS of a resolved that is away'),
  step(
    'resolved is there again',
    (node) => node.resolved.start(),
    `systemctl unmask --runtime systemd-resolved.service; ${reset}; systemctl start systemd-resolved.service`,
  ),
  deleteDevice,
  set('mooring sets the DNS of a link that is gone'),
  revert('mooring reverts a link that is gone'),
  makeTap('the interface is made anew under its name'),
  set('mooring sets the DNS of the new one'),
  deleteDevice,
];

/** The whole node, since the bus is everybody's: a resolved that has lost it is only brought back by a restart. */
export const busScript: readonly DnsStep[] = [
  makeTap('an interface is made'),
  set('mooring sets its DNS'),
  step('the bus goes away', (node) => node.bus.turn(false), 'systemctl stop dbus.socket dbus.service'),
  set('mooring sets the DNS without a bus'),
  step(
    'the bus is there again, and resolved is not',
    (node) => node.bus.turn(true),
    'systemctl start dbus.socket',
  ),
  {
    name: 'mooring restarts resolved',
    act: () => ({ do: 'unit', verb: 'restart', unit: resolvedUnit }),
  },
  deleteDevice,
];

/** eth0 of the bed's node, which networkd owns. */
export const owned = 'eth0';
const fromNetworkd: LinkDns = { servers: ['10.99.0.1'], domains: [], defaultRoute: true };

export const ownedScript: readonly DnsStep[] = [
  step(
    'networkd configures its interface',
    (node) => node.resolved.own(node.kernel.create(owned).ifindex, fromNetworkd),
    'true',
  ),
  set('mooring sets the DNS of a link of networkd', owned),
  restartResolved,
  restartNetworkd,
  set('mooring sets the DNS of a link of networkd again', owned),
  revert('mooring reverts it', owned),
];
