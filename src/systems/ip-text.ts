/** Addresses as text, in the one form that the kernel, resolved and Node.js print. */
import { isIP, SocketAddress } from 'node:net';

/** An address in canonical form (IPv6 compressed, lower case), or undefined where it is none or has a zone. */
export function canonicalAddress(text: string): string | undefined {
  const family = isIP(text);
  if (family === 0 || text.includes('%')) return undefined;
  return family === 4 ? text : new SocketAddress({ address: text, family: 'ipv6' }).address;
}

/** `address/prefix` in canonical form, or undefined. */
export function canonicalCidr(text: string): string | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const address = match?.[1] === undefined ? undefined : canonicalAddress(match[1]);
  if (address === undefined) return undefined;
  const prefix = Number(match?.[2]);
  return prefix <= (isIP(address) === 4 ? 32 : 128) ? `${address}/${prefix}` : undefined;
}
