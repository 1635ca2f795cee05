/** systemd-resolved on a private bus, as far as mooring uses it; answers and errors as systemd 257 gives them. */
import {
  type Answer,
  done,
  type FakeService,
  failure,
  joinBus,
  type ReceivedCall,
  variant,
} from '../../support/private-bus.ts';

interface FakeLink {
  servers: unknown;
  domains: unknown;
  defaultRoute: unknown;
}

/** A fake resolved and what a test may change about it. */
export interface FakeResolve1 {
  readonly service: FakeService;
  /** Known links by ifindex. */
  readonly links: Map<number, FakeLink>;
  /** Links that networkd manages. */
  readonly busy: Set<number>;
  /** Answers instead of the fake where it gives one. */
  override: ((call: ReceivedCall) => Answer | undefined) | undefined;
}

const dnsEx = (servers: unknown) =>
  Array.isArray(servers)
    ? servers.map((server: unknown) => (Array.isArray(server) ? [...server, 0, ''] : server))
    : [];

/** A link as a new one is. */
export function emptyLink(): FakeLink {
  return { servers: [], domains: [], defaultRoute: false };
}

/** Puts the fake on the bus under resolved's name. */
export async function joinAsResolve1(address: string): Promise<FakeResolve1> {
  const links = new Map<number, FakeLink>();
  const busy = new Set<number>();

  function get({ path, body }: ReceivedCall): Answer {
    if (path === '/org/freedesktop/resolve1' && body[1] === 'ResolvConfMode') {
      return { kind: 'return', signature: 'v', body: [variant('s', 'stub')] };
    }
    return failure('org.freedesktop.DBus.Error.UnknownProperty', `Unknown property ${String(body[1])}`);
  }

  function getAll({ path }: ReceivedCall): Answer {
    const link = links.get(Number(path.replace(/^.*\/_3(\d)(\d*)$/, '$1$2')));
    if (link === undefined)
      return failure('org.freedesktop.DBus.Error.UnknownObject', `Unknown object '${path}'.`);
    const properties = {
      ScopesMask: variant('t', 1n),
      DNS: variant('a(iay)', link.servers),
      DNSEx: variant('a(iayqs)', dnsEx(link.servers)),
      Domains: variant('a(sb)', link.domains),
      DefaultRoute: variant('b', link.defaultRoute),
      LLMNR: variant('s', 'yes'),
    };
    return { kind: 'return', signature: 'a{sv}', body: [properties] };
  }

  function setLink({ member, body }: ReceivedCall): Answer {
    const [ifindex, value] = body;
    const link = links.get(Number(ifindex));
    if (link === undefined)
      return failure('org.freedesktop.resolve1.NoSuchLink', `Link ${String(ifindex)} not known`);
    if (busy.has(Number(ifindex)))
      return failure('org.freedesktop.resolve1.LinkBusy', 'Link nd0 is managed.');
    if (member === 'SetLinkDNS') link.servers = value;
    if (member === 'SetLinkDomains') link.domains = value;
    if (member === 'SetLinkDefaultRoute') link.defaultRoute = value;
    if (member === 'RevertLink') Object.assign(link, emptyLink());
    return done;
  }

  const fake: Omit<FakeResolve1, 'service'> = { links, busy, override: undefined };
  const service = await joinBus(address, 'org.freedesktop.resolve1', (call) => {
    const other = fake.override?.(call);
    if (other !== undefined) return other;
    if (call.member === 'Get') return get(call);
    if (call.member === 'GetAll') return getAll(call);
    if (call.member === 'FlushCaches') return done;
    return setLink(call);
  });
  return Object.assign(fake, { service });
}
