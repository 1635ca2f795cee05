/** The address of this host that others would use: that from which the kernel would send to the internet. */
import { createSocket } from 'node:dgram';

/** Addresses for documentation (RFC 5737, RFC 3849): connecting a UDP socket picks a route and an address, and sends nothing. */
const anywhere = { udp4: '192.0.2.1', udp6: '2001:db8::1' } as const;

/** Undefined where there is no such route. */
export function ownAddress(family: 'udp4' | 'udp6'): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(family);
    const finish = (address: string | undefined) => {
      socket.close();
      resolve(address);
    };
    socket.once('error', () => finish(undefined));
    // Without a route it is told here, and the socket has the address of nowhere.
    socket.connect(9, anywhere[family], (error?: Error) => {
      const address = error === undefined ? socket.address().address : undefined;
      finish(address === '0.0.0.0' || address === '::' ? undefined : address);
    });
  });
}
