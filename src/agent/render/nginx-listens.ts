/**
 * Where a rendered nginx.conf listens: what its `listen` lines say. Unix sockets are left out, and so are addresses without a
 * socket of their own: nginx picks the server by them, of those whose socket is for every address.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { Listen } from '../../systems/doors/types.ts';
import { keepingNewest } from './newest.ts';

/** Asked several times in a pass, and of the same text for days. */
export const listensOf = keepingNewest(read);

function read(conf: string): readonly Listen[] {
  return conf.split('\n').flatMap((line) => {
    const [, place, options = ''] = /^ *listen (\S+?)( [^;]*)?;$/.exec(line) ?? [];
    const [, v6, v4, digits] =
      /^(?:(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|\*)):)?(\d{1,5})$/.exec(place ?? '') ?? [];
    const address = v6 ?? (v4 === undefined || v4 === '*' ? '0.0.0.0' : v4);
    if (digits === undefined || (!isIPv4(address) && !isIPv6(address))) return [];
    const hasSocket = /^( udp)?$/.test(options) === false || ['0.0.0.0', '::'].includes(address);
    if (!hasSocket) return [];
    const protocol = /(^| )udp( |$)/.test(options) ? 'udp' : 'tcp';
    return [{ protocol, address, port: Number(digits) } as const];
  });
}
