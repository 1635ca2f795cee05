/** What befalls zerotier-one with one network, from its first start on: its controller, its process, its API, and third parties. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Instance, Lab } from '../contract/zerotier-standin/lab.ts';
import { DEVICE, until } from '../contract/zerotier-standin/lab.ts';
import type { VirtualClock } from '../simulation/clock.ts';
import type { KernelModel, SimLink } from '../simulation/models/kernel.ts';
import type { ZeroTierModel } from '../simulation/models/zerotier.ts';
import { device, networkId } from '../support/world.ts';
import type { Part } from './normal.ts';
import type { Step } from './script.ts';

export const zerotierParts: readonly Part[] = ['zerotier', 'links'];

/** Where the stand-in takes orders for faults. */
export const faultPort = 9994;

export interface ModelPair {
  readonly clock: VirtualClock;
  readonly kernel: KernelModel;
  readonly zerotier: ZeroTierModel;
}

type ZeroTierStep = Step<ModelPair, Lab>;

const event = (
  name: string,
  model: (pair: ModelPair) => unknown,
  real: (lab: Lab) => Promise<unknown>,
  afterMs = 80_000,
): ZeroTierStep => ({ name, afterMs, model, real });

const verb = (name: string, what: 'join' | 'leave' | 'rejoin'): ZeroTierStep => ({
  name,
  afterMs: 80_000,
  act: () => ({ do: 'zerotier', verb: what, network: networkId }),
});

async function post(instance: Instance, fault: Readonly<Record<string, unknown>>): Promise<void> {
  const body = JSON.stringify(fault);
  const { status } = await instance.http({ port: faultPort, method: 'POST', path: '/', body });
  if (status !== 200) throw new Error(`the fault port answers ${status}`);
}

/** At the controller: authorised, with this address. */
async function grant(lab: Lab, address: string): Promise<void> {
  await lab.member(await memberOf(lab), {
    authorized: true,
    noAutoAssignIps: true,
    ipAssignments: [address],
  });
}

/** The node's ZeroTier address, from its files: its API may be in trouble. */
const memberOf = async ({ node }: Lab) =>
  (await readFile(join(node.folder, 'identity.public'), 'utf8')).slice(0, 10);

const authorise = (name: string, address: string) =>
  event(
    name,
    ({ zerotier }) => {
      zerotier.address = `${address}/24`;
      zerotier.authorize(true);
    },
    (lab) => grant(lab, address),
  );
const deauthorise = event(
  'it is refused: address, name and DNS stay',
  ({ zerotier }) => zerotier.authorize(false),
  async (lab) => lab.member(await memberOf(lab), { authorized: false }),
);
const readdress = (name: string, addresses: readonly string[]) =>
  event(
    name,
    async ({ clock, zerotier }) => {
      for (const address of addresses) {
        zerotier.readdress(`${address}/24`);
        await clock.runUntil(clock.nowMs + 100, () => true);
      }
    },
    async (lab) => {
      // It does not see a change that follows another one within a second.
      await delay(1_100);
      for (const address of addresses) {
        await grant(lab, address);
        await until(`the API tells ${address}`, 5_000, async () =>
          (await lab.node.network())?.assignedAddresses.includes(`${address}/24`),
        );
      }
    },
  );

const api = (trouble: ZeroTierModel['api'], fault: string) =>
  event(
    fault === '' ? 'the API is well again' : `the API: ${fault}`,
    ({ zerotier }) => {
      zerotier.api = trouble;
    },
    ({ node }) => post(node, { api: fault }),
  );

const cut = (isCut: boolean) =>
  event(
    isCut ? 'its root and controller are cut off' : 'they are reached again',
    ({ zerotier }) => zerotier.cutOff(isCut),
    ({ home }) => post(home, { cut: isCut ? 'all' : '' }),
  );

const meddle = (name: string, change: (link: SimLink, kernel: KernelModel) => void, ip: string) =>
  event(
    name,
    ({ kernel }) => {
      const link = kernel.links.get(device);
      if (link === undefined) throw new Error('the model has no device');
      change(link, kernel);
    },
    ({ node }) => node.ip(...ip.split(' ')),
  );

const stop = (name: string, signal: NodeJS.Signals) =>
  event(
    name,
    ({ zerotier }) => zerotier.stop(),
    ({ node }) => node.stop(signal),
  );
/** The API answers before the networks are read; in the lab that takes a while, so that it can be seen. */
const start = event(
  'it starts, and has not read its networks yet',
  ({ zerotier }) => zerotier.start(),
  ({ node }) => node.start(),
  51,
);
const later = (name: string) =>
  event(
    name,
    () => undefined,
    async () => undefined,
  );
const restart: readonly ZeroTierStep[] = [
  stop('it is killed', 'SIGKILL'),
  start,
  later('it has read its networks'),
];

export const zerotierScript: readonly ZeroTierStep[] = [
  event(
    'it starts for the first time',
    ({ zerotier }) => {
      zerotier.authorized = false;
      zerotier.start();
    },
    (lab) => lab.startWithNetwork(),
  ),
  cut(true),
  verb('a join, and nobody answers: the interface is there and up', 'join'),
  cut(false),
  authorise('it is authorised', '10.45.0.7'),
  verb('a join of what is joined', 'join'),
  deauthorise,
  authorise('it is authorised again', '10.45.0.7'),
  readdress('its address changes', ['10.45.0.8']),
  readdress('its address changes twice within a second: the former one stays', ['10.45.0.9', '10.45.0.10']),
  ...restart,

  meddle(
    'somebody deletes its address',
    (link, kernel) => kernel.deleteAddress(link, '10.45.0.10/24'),
    `address del 10.45.0.10/24 dev ${DEVICE}`,
  ),
  verb('a join does not mend it', 'join'),
  ...restart,
  meddle(
    'somebody sets its interface down',
    (link, kernel) => kernel.alter(link, (it) => (it.up = false)),
    `link set ${DEVICE} down`,
  ),
  ...restart,
  meddle('somebody deletes its interface', (_, kernel) => kernel.remove(device), `link del ${DEVICE}`),
  verb('leaving and joining mends it', 'rejoin'),

  stop('it is stopped', 'SIGTERM'),
  deauthorise,
  start,
  later('it was refused meanwhile: what it knew stays'),
  authorise('it is authorised once more', '10.45.0.10'),
  stop('it is stopped again', 'SIGTERM'),
  start,
  verb('a join before it has read its networks', 'join'),

  cut(true),
  event(
    'it has heard nobody for long: OK all the same, and offline',
    () => undefined,
    ({ node }) => post(node, { speed: 150 }),
    510_000,
  ),
  stop('it is killed while it is cut off', 'SIGKILL'),
  start,
  later('it says OK from what it kept, and is offline'),
  cut(false),

  api('hang', 'hang'),
  verb('a join of an API that hangs', 'join'),
  api('garbage', 'garbage'),
  verb('a join of an API that answers garbage', 'join'),
  api('refuse-token', '401'),
  verb('a join with a token that is refused', 'join'),
  api('none', ''),

  {
    name: 'mooring sets the blacklist',
    afterMs: 0,
    act: () => ({ do: 'zerotier.blacklist', prefixes: ['docker', 'veth', 'flannel'] }),
  },
  ...restart,
  verb('it leaves', 'leave'),
  verb('it leaves once more', 'leave'),
  verb('leaving and joining what is not joined', 'rejoin'),
  stop('it is stopped at last', 'SIGTERM'),
];
