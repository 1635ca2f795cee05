/** k3s is started or restarted only on a link that mooring has seen stand still for `settle`. */
import type { LinksReading } from '../../../src/systems/netlink/types.ts';
import { device } from '../../support/world.ts';

export class SettledRule {
  private fingerprint = '';
  private sinceMs = 0;

  /** mooring has read the interfaces. */
  looked(links: LinksReading, nowMs: number): void {
    const link = links[device];
    const fingerprint = link === undefined ? '' : `${link.ifindex} ${link.up} ${link.addresses.join(' ')}`;
    if (fingerprint === this.fingerprint) return;
    this.fingerprint = fingerprint;
    this.sinceMs = nowMs;
  }

  /** mooring asks for a start or restart of k3s. */
  check(nowMs: number, settleMs: number): string | undefined {
    return nowMs - this.sinceMs < settleMs
      ? `k3s is started ${nowMs - this.sinceMs} ms after the link changed`
      : undefined;
  }
}
