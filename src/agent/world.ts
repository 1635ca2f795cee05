/** The brain's picture of the node: one immutable snapshot a pass, read afresh from every system. */
import type { CloudReading } from '../systems/cloud/types.ts';
import type { ServicesReading } from '../systems/cluster/service-types.ts';
import type { ClusterReading } from '../systems/cluster/types.ts';
import type { ControllerReading } from '../systems/controller/types.ts';
import type { DoorsReading } from '../systems/doors/types.ts';
import type { ExposedFile } from '../systems/files/types.ts';
import type { HomeReading } from '../systems/home/types.ts';
import type { InstallReading, K3sReading } from '../systems/k3s/types.ts';
import type { FlannelDevice, HostAddress, LinksReading } from '../systems/netlink/types.ts';
import type { LimitsReading } from '../systems/nginx/limits-types.ts';
import type { IngressReading } from '../systems/nginx/types.ts';
import type { DnsReading } from '../systems/resolved/types.ts';
import type { UnitsReading } from '../systems/systemd/types.ts';
import type { ZeroTierReading } from '../systems/zerotier/types.ts';

/** Which config rules, and what is wrong with the newer one if it does not. */
export type ConfigState =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'last-good'; readonly problems: readonly string[] };

/** One snapshot. Absence is a value of each reading, never an exception. */
export interface World {
  readonly hostname: string;
  readonly configState: ConfigState;
  readonly zerotier: ZeroTierReading;
  readonly links: LinksReading;
  readonly addresses: readonly HostAddress[];
  readonly dns: DnsReading;
  readonly units: UnitsReading;
  readonly podNetwork: readonly FlannelDevice[];
  readonly k3s: K3sReading;
  readonly install: InstallReading;
  /** Of the files that hold secrets. */
  readonly exposed: readonly ExposedFile[];
  readonly ingress: IngressReading;
  readonly doors: DoorsReading;
  readonly limits: LimitsReading;
  readonly cloud: CloudReading;
  readonly home: HomeReading;
  readonly controller: ControllerReading;
  readonly cluster: ClusterReading;
  readonly services: ServicesReading;
}

/** The units that mooring watches and drives. */
export const k3sUnit = 'k3s-node.service';
export const ingressUnit = 'mooring-ingress.service';
/** Holds the kernel's limits of new connections; what it loaded tells how it is. */
export const limitsUnit = 'mooring-ingress-limits.service';
export const resolvedUnit = 'systemd-resolved.service';
export const networkdUnit = 'systemd-networkd.service';
export const zerotierUnit = 'zerotier-one.service';
export const watchedUnits = [k3sUnit, ingressUnit, resolvedUnit, networkdUnit, zerotierUnit] as const;
