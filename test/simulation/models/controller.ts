/**
 * The network's controller as mooring asks it: a record of who was let in and shut out, and its troubles. It holds that only
 * a member about whom nobody has decided is authorised by mooring.
 */

import type { Controller, ControllerReading, MemberChange } from '../../../src/systems/controller/types.ts';
import { SystemError } from '../../../src/systems/error.ts';
import { at, networkId } from '../../support/world.ts';
import type { VirtualClock } from '../clock.ts';
import type { ZeroTierModel } from './zerotier.ts';

/** How old an answer may be that mooring acts upon: what a person does in between is seen too late. */
const actsUponMs = 10_500;

export class ControllerModel implements Controller {
  trouble: 'none' | 'away' | 'busy' | 'refused' = 'none';
  private readonly clock: VirtualClock;
  private readonly zerotier: ZeroTierModel;
  private readonly violate: (what: string) => void;
  private lastAuthorizedMs = 0;
  private lastDeauthorizedMs = 0;
  /** Monotonic ms of the first time that a person had a hand in it. */
  private decidedMs: number | undefined;
  private reading: ControllerReading = { members: {}, quietUntilMs: undefined };

  constructor(clock: VirtualClock, zerotier: ZeroTierModel, violate: (what: string) => void) {
    this.clock = clock;
    this.zerotier = zerotier;
    this.violate = violate;
  }

  /** Another daemon knows nothing yet. */
  forget(): void {
    this.reading = { members: {}, quietUntilMs: undefined };
  }

  read(): ControllerReading {
    return this.reading;
  }

  /** What a person does at the console. */
  decide(authorized: boolean): void {
    if (authorized !== this.zerotier.authorized) this.decidedMs ??= this.clock.nowMs;
    this.set(authorized);
  }

  async look(): Promise<void> {
    this.answer();
    this.tell();
  }

  private tell(): void {
    const member = {
      authorized: this.zerotier.authorized,
      hasLeft: false,
      lastAuthorizedMs: this.lastAuthorizedMs,
      lastDeauthorizedMs: this.lastDeauthorizedMs,
      name: undefined,
      addresses: [],
      noAutoAssignIps: false,
    };
    this.reading = {
      ...this.reading,
      members: { [networkId]: { kind: 'known', atMs: this.clock.nowMs, member } },
    };
  }

  async change(_network: string, _address: string, change: MemberChange): Promise<void> {
    this.answer();
    const isTooLate = this.decidedMs !== undefined && this.clock.nowMs - this.decidedMs > actsUponMs;
    if (change.authorized === true && isTooLate && !this.zerotier.authorized)
      this.violate('a member is let in that a person had decided about');
    if (change.authorized !== undefined) this.set(change.authorized);
    this.tell();
  }

  private set(authorized: boolean): void {
    if (authorized === this.zerotier.authorized) return;
    const { wallMs } = at(this.clock.nowMs);
    if (authorized) this.lastAuthorizedMs = wallMs;
    else this.lastDeauthorizedMs = wallMs;
    this.zerotier.authorize(authorized);
  }

  private answer(): void {
    if (this.trouble === 'away') throw new SystemError('controller-away', 'no answer within 10000 ms');
    if (this.trouble === 'refused') throw new SystemError('controller-refused', 'it refuses the token');
    if (this.trouble === 'none') return;
    this.reading = { ...this.reading, quietUntilMs: this.clock.nowMs + 45_000 };
    throw new SystemError('controller-busy', 'it is asked too often');
  }
}
