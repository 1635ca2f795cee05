/**
 * Runs inside a network namespace, with mooring's own adapters on what is there, as the daemon there would. It answers each
 * request exactly once. Started by observing.ts; what it needs to know comes as JSON in its argument.
 */
import { createBus } from '../../src/systems/dbus/bus.ts';
import { messageOf } from '../../src/systems/error.ts';
import { createFlannelReader } from '../../src/systems/netlink/flannel.ts';
import { readLinks } from '../../src/systems/netlink/links.ts';
import { createResolved, resolvedMatches } from '../../src/systems/resolved/resolved.ts';
import { createSystemd, systemdMatches } from '../../src/systems/systemd/systemd.ts';
import { createZeroTier } from '../../src/systems/zerotier/zerotier.ts';
import { type Act, type Scope, type Seen, type Systems, sideOf } from './side.ts';

/** What there is. */
export interface Place extends Scope {
  /** The system bus, as the observer reaches it. */
  readonly busAddress?: string;
  readonly zerotierToken?: string;
}

export type Request = 'look' | Act;

export type Answer =
  | { readonly kind: 'seen'; readonly seen: Seen }
  | { readonly kind: 'acted'; readonly code: string | undefined }
  | { readonly kind: 'broken'; readonly message: string };

function onBus(address: string | undefined, units: readonly string[]): Partial<Systems> {
  if (address === undefined) return {};
  const wake = () => undefined;
  const bus = createBus({
    address,
    matches: [...resolvedMatches, ...systemdMatches(units)],
    wake,
    log: () => undefined,
  });
  return { resolved: createResolved({ bus, wake }), systemd: createSystemd({ bus, wake, units }) };
}

const place: Place = JSON.parse(process.argv[2] ?? '');
const { zerotierToken } = place;
const side = sideOf(
  {
    netlink: { read: async () => readLinks() },
    flannel: createFlannelReader(),
    ...onBus(place.busAddress, place.units),
    ...(zerotierToken === undefined ? {} : { zerotier: createZeroTier({ tokenFile: zerotierToken }) }),
  },
  place,
);

async function answer(request: Request): Promise<Answer> {
  try {
    if (request === 'look') return { kind: 'seen', seen: await side.look() };
    return { kind: 'acted', code: await side.act(request) };
  } catch (error) {
    return { kind: 'broken', message: messageOf(error) };
  }
}

process.on('message', async ({ id, request }: { id: number; request: Request }) => {
  process.send?.({ id, answer: await answer(request) });
});
process.on('disconnect', () => process.exit(0));
