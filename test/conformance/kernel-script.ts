/** What befalls an interface and flannel's device on it. */
import { device } from '../support/world.ts';
import { type ModelNode, remotePods } from './model-node.ts';
import type { Part } from './normal.ts';
import type { RealNode } from './real-node.ts';
import type { Step } from './script.ts';

export const kernelParts: readonly Part[] = ['links', 'podNetwork'];

type KernelStep = Step<ModelNode, RealNode>;

/** A step that is one line of shell in reality. */
const step = (name: string, model: (node: ModelNode) => unknown, command: string): KernelStep => ({
  name,
  model,
  real: (node) => node.run(command),
});

/** A tap that lives as long as the process that holds it, as ZeroTier's does. */
export const makeTap = (name: string) =>
  step(
    name,
    (node) => node.kernel.create(device),
    [
      'systemctl stop tap.service 2>/dev/null',
      `systemd-run --quiet --collect --unit=tap.service socat TUN,tun-type=tap,tun-name=${device} PIPE`,
      `timeout 5 sh -c 'until ip link show ${device} >/dev/null 2>&1; do sleep 0.02; done'`,
    ].join('; '),
  );

export const setUp = step(
  'it is set up',
  (node) => node.alter((link) => (link.up = true)),
  `ip link set ${device} up`,
);

export const setDown = step(
  'somebody sets it down',
  (node) => node.alter((link) => (link.up = false)),
  `ip link set ${device} down`,
);

const addAddress = (address: string) =>
  step(
    `it gets ${address}`,
    (node) => node.alter((link) => link.addresses.push(`${address}/24`)),
    `ip address add ${address}/24 dev ${device}`,
  );

const deleteAddress = (address: string) =>
  step(
    `somebody deletes ${address}`,
    (node) => node.kernel.deleteAddress(node.link, `${address}/24`),
    `ip address del ${address}/24 dev ${device}`,
  );

/** As flannel does it, with routes to two other nodes. */
const makeFlannel = (name: string, local: string) =>
  step(
    name,
    (node) => node.flannel.create(node.link.ifindex, local),
    [
      'set -e',
      `ip link add flannel.1 type vxlan id 1 dev ${device} local ${local} dstport 8472 nolearning`,
      'ip address add 10.42.3.0/32 dev flannel.1',
      'ip link set flannel.1 up',
      ...remotePods.map(
        (pods) => `ip route add ${pods} via ${pods.slice(0, -'/24'.length)} dev flannel.1 onlink`,
      ),
    ].join('\n'),
  );

export const deleteDevice = step(
  'somebody deletes the interface',
  (node) => node.kernel.remove(device),
  `ip link del ${device}`,
);

export const kernelScript: readonly KernelStep[] = [
  makeTap('an interface is made'),
  addAddress('10.45.0.7'),
  setUp,
  step(
    'it gets its MTU',
    (node) => node.alter((link) => (link.mtuBytes = 2800)),
    `ip link set ${device} mtu 2800`,
  ),
  makeFlannel('flannel makes its device on it', '10.45.0.7'),
  step(
    'somebody deletes the connected route',
    (node) => node.alter((link) => (link.hasRoute = false)),
    `ip route del 10.45.0.0/24 dev ${device}`,
  ),
  setDown,
  setUp,
  deleteAddress('10.45.0.7'),
  addAddress('10.45.0.8'),
  addAddress('10.45.0.9'),
  deleteAddress('10.45.0.9'),
  addAddress('10.45.0.9'),
  deleteAddress('10.45.0.8'),
  addAddress('10.45.0.8'),
  addAddress('10.45.0.9'),
  step(
    'its second address becomes the first once that is deleted',
    (node) => node.alter((link) => (link.promotesSecondaries = true)),
    `echo 1 >/proc/sys/net/ipv4/conf/${device}/promote_secondaries`,
  ),
  deleteAddress('10.45.0.8'),
  step(
    "somebody flushes flannel's routes",
    (node) => node.flannel.flushRoutes(),
    'ip route flush dev flannel.1',
  ),
  step('somebody deletes flannel.1', (node) => node.flannel.remove(), 'ip link del flannel.1'),
  makeFlannel('flannel makes its device anew', '10.45.0.9'),
  deleteDevice,
  makeTap('the interface is made anew under its name'),
  addAddress('10.45.0.9'),
  setUp,
  makeFlannel('flannel makes its device on the new one', '10.45.0.9'),
  step(
    'the process that holds the interface is killed',
    (node) => node.kernel.remove(device),
    'systemctl kill --signal=KILL tap.service',
  ),
  makeTap('the interface is made a third time'),
  deleteDevice,
];
