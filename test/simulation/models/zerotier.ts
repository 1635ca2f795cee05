/**
 * zerotier-one with one network, as measured: the order of kernel events at a start, the window in which the API answers
 * before it knows its networks, OK from the cache, addresses that stay while it is refused, and that what others do to its
 * interface is never mended. `test/conformance` holds it to the stand-in.
 */
import { SystemError } from '../../../src/systems/error.ts';
import type { NetworkStatus, ZeroTier, ZeroTierReading } from '../../../src/systems/zerotier/types.ts';
import type { Random } from '../../support/random.ts';
import { aUnit, device, networkId } from '../../support/world.ts';
import type { VirtualClock } from '../clock.ts';
import type { KernelModel, SimLink } from './kernel.ts';
import type { DrivenUnit } from './systemd.ts';

type ApiTrouble = 'none' | 'hang' | 'garbage' | 'refuse-token';

const mtuBytes = 2800;
const listeningOn = ['10.99.0.2/9993'];
/** How often a node with a configuration asks its controller. */
const askedEveryMs = 60_000;
/** The adapter's. */
const deadlineMs = 2_000;

export class ZeroTierModel implements ZeroTier {
  api: ApiTrouble = 'none';
  /** `zerotier-one.service`. */
  readonly unit: DrivenUnit = {
    read: () => aUnit({ activeState: this.isRunning ? 'active' : 'inactive', startedMs: this.startedMs }),
    start: () => this.start(),
    restart: () => this.restart(),
    reload: () => undefined,
    stop: () => this.stop(),
    resetFailed: () => undefined,
  };
  /** The controller's side. */
  authorized = false;
  address = '10.45.0.7/24';
  /** Assigned addresses that mooring has been told, and has kept. */
  readonly told = new Set<string>();
  private readonly clock: VirtualClock;
  private readonly kernel: KernelModel;
  private readonly random: Random;
  private generation = 0;
  private isRunning = false;
  private apiUp = false;
  private networksRead = false;
  private joined = false;
  /** networks.d holds a configuration. */
  private cached: string | undefined;
  private status: NetworkStatus = 'REQUESTING_CONFIGURATION';
  private online = false;
  private blacklist: readonly string[] = [];
  startedMs = 0;
  private readdressedMs = Number.NEGATIVE_INFINITY;
  /** Root and controller are out of reach, and nobody says so. */
  private isCut = false;
  /** Times that it was cut off or reached again. */
  private cuts = 0;
  /** When the controller was heard, the last time that matters: it is renewed every minute while nothing is cut. */
  private heardMs: number | undefined;

  constructor(clock: VirtualClock, kernel: KernelModel, random: Random) {
    this.clock = clock;
    this.kernel = kernel;
    this.random = random;
  }

  start(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    this.online = false;
    this.heardMs = undefined;
    this.startedMs = this.clock.nowMs;
    const generation = ++this.generation;
    const later = (delayMs: number, run: () => void) =>
      this.clock.after(delayMs, () => {
        if (generation === this.generation) run();
      });
    const readMs = this.random.between(53, 150);
    later(50, () => {
      this.apiUp = true;
    });
    later(readMs, () => {
      this.networksRead = true;
      if (this.joined) this.bringUp();
    });
    later(readMs + this.random.between(3_000, 5_000), () => this.hear());
  }

  /** The device goes at once; the process, and its API, with it. */
  stop(): void {
    this.generation += 1;
    this.isRunning = false;
    this.apiUp = false;
    this.networksRead = false;
    this.kernel.remove(device);
  }

  restart(): void {
    this.stop();
    this.clock.after(1_300, () => this.start());
  }

  /** SIGKILL: the device goes as well, and systemd starts it anew. */
  kill(): void {
    if (!this.isRunning) return;
    this.stop();
    this.clock.after(100, () => this.start());
  }

  /** Somebody leaves the network by hand. */
  forget(): void {
    if (!this.networksRead) return;
    this.joined = false;
    this.cached = undefined;
    this.kernel.remove(device);
  }

  /** The controller gives another address; pushed in 15 ms. */
  readdress(address: string): void {
    this.address = address;
    if (this.isRunning && this.status === 'OK') this.clock.after(15, () => this.takeConfiguration());
  }

  authorize(authorized: boolean): void {
    this.authorized = authorized;
    const generation = this.generation;
    this.clock.after(authorized ? this.random.between(15, 5_000) : this.random.between(5_000, 60_000), () => {
      if (generation === this.generation && this.joined && this.networksRead) this.takeConfiguration();
    });
  }

  /** Cuts root and controller off, or lets them be reached again. `online` notices after 500 s of silence. */
  cutOff(isCut: boolean): void {
    if (isCut) this.heardMs = this.heardMs === undefined ? undefined : this.clock.nowMs - this.silentMs();
    this.isCut = isCut;
    const cuts = ++this.cuts;
    const generation = this.generation;
    const delayMs = isCut ? 498_000 : this.random.between(1_000, 5_000);
    this.clock.after(delayMs, () => {
      if (cuts !== this.cuts || generation !== this.generation) return;
      if (isCut) this.online = false;
      else {
        this.hear();
        this.takeConfiguration();
      }
    });
  }

  async read(): Promise<ZeroTierReading> {
    if (this.api === 'hang') {
      await this.clock.sleep(deadlineMs);
      return { kind: 'unreachable', error: 'deadline' };
    }
    if (this.api === 'garbage') return { kind: 'unreachable', error: 'no JSON' };
    if (this.api === 'refuse-token') return { kind: 'unauthorized' };
    if (!this.apiUp) return { kind: 'unreachable', error: 'connection refused' };
    const knows = this.networksRead && this.joined;
    return {
      kind: 'answered',
      address: '40c95ab4df',
      version: '1.14.1',
      listeningOn,
      online: this.online,
      interfacePrefixBlacklist: this.blacklist,
      networks: knows ? [this.network()] : [],
      peers: [
        {
          address: networkId.slice(0, 10),
          lastReceiveAgeMs: this.heardMs === undefined ? undefined : this.silentMs(),
        },
      ],
    };
  }

  async join(id: string): Promise<void> {
    await this.need();
    if (id !== networkId) throw new SystemError('zerotier-not-found', id);
    if (!this.networksRead) this.cached = undefined;
    if (this.joined) return;
    this.joined = true;
    if (this.networksRead) this.bringUp();
  }

  async leave(id: string): Promise<void> {
    await this.need();
    if (id !== networkId || !this.joined || !this.networksRead) return;
    this.joined = false;
    this.cached = undefined;
    this.kernel.remove(device);
  }

  async rejoin(id: string): Promise<void> {
    await this.need();
    if (!this.joined || !this.networksRead) throw new SystemError('zerotier-unexpected', 'it is not joined');
    await this.leave(id);
    await this.join(id);
  }

  async setInterfacePrefixBlacklist(prefixes: readonly string[]): Promise<void> {
    await this.need();
    this.blacklist = prefixes;
  }

  /** Whether the API can be seen to say OK, while the kernel has not got what it says. */
  isContradicted(): boolean {
    if (!this.apiUp || !this.online || this.api !== 'none' || !this.joined || !this.networksRead)
      return false;
    const link = this.kernel.links.get(device);
    return this.status === 'OK' && (link?.up !== true || !link.hasRoute || !this.hasOnlyItsAddress());
  }

  /** An address that mooring was never told of could be anybody's. */
  hasOnlyItsAddress(): boolean {
    const addresses = this.kernel.links.get(device)?.addresses ?? [];
    const isStale = (address: string) => address !== this.cached && this.told.has(address);
    return addresses.some((address) => address === this.cached) && !addresses.some(isStale);
  }

  /** Whether the link is what the controller wants it to be, and authorised: the truth behind the reading. */
  isGood(): boolean {
    return this.authorized && !this.isCut && this.cached === this.address && this.looksGood();
  }

  /** Whether packets go through it. */
  carries(): boolean {
    return this.isGood() && this.kernel.links.get(device)?.hasRoute === true;
  }

  /** Whether API and kernel agree that it is, as mooring sees it: a node that is shut out is told so late. */
  looksGood(): boolean {
    const link = this.kernel.links.get(device);
    return (
      this.status === 'OK' &&
      link?.up === true &&
      link.mtuBytes === mtuBytes &&
      this.cached !== undefined &&
      link.addresses.includes(this.cached)
    );
  }

  /** Whether its API answers, and knows its networks. */
  answers(): boolean {
    return this.apiUp && this.api === 'none' && this.networksRead;
  }

  /** Throws what the adapter throws while the API is in trouble. */
  private async need(): Promise<void> {
    if (this.api === 'hang') await this.clock.sleep(deadlineMs);
    if (this.api === 'refuse-token')
      throw new SystemError('zerotier-unauthorized', 'the API token is refused');
    if (this.api === 'garbage') throw new SystemError('zerotier-unexpected', 'no JSON');
    if (!this.apiUp || this.api !== 'none') throw new SystemError('zerotier-unreachable', 'no answer');
  }

  private hear(): void {
    if (this.isCut || !this.isRunning) return;
    this.online = true;
    this.heardMs = this.clock.nowMs;
  }

  /** Since the controller was heard last. */
  private silentMs(): number {
    const sinceMs = this.clock.nowMs - (this.heardMs ?? this.clock.nowMs);
    return this.isCut ? sinceMs : sinceMs % askedEveryMs;
  }

  private network() {
    const { name, mac, dns } = {
      name: 'home',
      mac: '02:00:00:00:00:01',
      dns: { domain: 'home.example', servers: ['10.45.0.1'] },
    };
    const isKnown = this.cached !== undefined;
    return {
      id: networkId,
      name: isKnown ? name : '',
      status: this.status,
      portDeviceName: device,
      mac,
      mtuBytes,
      assignedAddresses: this.cached === undefined ? [] : [this.cached],
      dns: isKnown ? dns : { domain: '', servers: [] },
    };
  }

  private bringUp(): void {
    const link = this.kernel.create(device);
    const generation = this.generation;
    this.status = this.cached === undefined ? 'REQUESTING_CONFIGURATION' : 'OK';
    const cached = this.cached;
    if (cached !== undefined) this.kernel.alter(link, (it) => it.addresses.push(cached));
    this.clock.after(100, () => this.kernel.alter(link, (it) => (it.up = true)));
    this.clock.after(200, () => this.kernel.alter(link, (it) => (it.mtuBytes = mtuBytes)));
    this.clock.after(this.random.between(500, 5_000), () => {
      if (generation === this.generation) this.takeConfiguration();
    });
  }

  /** The controller's answer arrives. */
  private takeConfiguration(): void {
    if (!this.isRunning || !this.joined || this.isCut) return;
    if (!this.authorized) {
      this.status = 'ACCESS_DENIED';
      return;
    }
    this.status = 'OK';
    const before = this.cached;
    this.cached = this.address;
    const link: SimLink | undefined = this.kernel.links.get(device);
    // An address that it has set once is never looked after again.
    if (link === undefined || before === this.cached) return;
    const { address } = this;
    // It sees what the interface has through a cache of one second: after a change it does not find what to remove.
    const isBlind = this.clock.nowMs - this.readdressedMs < 1_000;
    this.readdressedMs = this.clock.nowMs;
    if (!isBlind) this.kernel.alter(link, (it) => (it.addresses = []));
    this.kernel.alter(link, (it) => (it.addresses = [...it.addresses, address]));
  }
}
