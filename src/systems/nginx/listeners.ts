/**
 * What the generated nginx.conf says of its listeners: the text that nginx reads is the truth about names, ports and upstreams,
 * wherever they came from. Only the shape that mooring itself writes is understood.
 */

/** One `server` block that writes down its sessions. */
export interface Listener {
  readonly name: string;
  readonly protocol: 'tcp' | 'udp';
  /** As nginx has them: `443` and `[::]:443` are `:443`, others `address:port`. */
  readonly listens: readonly string[];
  /** `address:port`, IPv6 in brackets. */
  readonly upstreams: readonly string[];
}

/** In the order of the text. Text that mooring did not write gives what looks like it. */
export function listenersIn(config: string): readonly Listener[] {
  const upstreams = new Map<string, string[]>();
  const listeners: Listener[] = [];
  let into: string[] = [];
  let listens: string[] = [];
  let name = '';
  let isUdp = false;
  for (const line of config.split('\n')) {
    const [word = '', first = '', second = ''] = line.trim().replace(/;$/, '').split(/\s+/);
    if (word === 'upstream') {
      into = [];
      upstreams.set(first, into);
    } else if (word === 'server' && first === '{') {
      [listens, name, isUdp] = [[], '', false];
    } else if (word === 'server') into.push(first);
    else if (word === 'listen') {
      listens.push(placeOf(first));
      isUdp ||= /\sudp\b/.test(line);
    } else if (word === 'access_log') name = second;
    else if (word === '}' && name !== '') {
      const protocol = isUdp ? 'udp' : 'tcp';
      listeners.push({
        name,
        protocol,
        listens: [...new Set(listens)],
        upstreams: upstreams.get(name) ?? [],
      });
      name = '';
    }
  }
  return listeners;
}

/** `443`, `*:443`, `0.0.0.0:443` and `[::]:443` are all addresses' port. */
function placeOf(listen: string): string {
  const match = /^(?:(?:\*|0\.0\.0\.0|\[::\]):)?(\d+)$/.exec(listen);
  return match?.[1] === undefined ? listen : `:${match[1]}`;
}
