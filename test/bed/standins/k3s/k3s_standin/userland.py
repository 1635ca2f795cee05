"""`k3s standin-nodeports`: NodePorts without nftables. Listens on every IPv4 address of the node and copies bytes to the pod;
the pod sees the node's address on cni0, as behind kube-proxy's masquerade."""
import asyncio
import os
import sys

UDP_IDLE_S = 30


async def _copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


class _UdpClient(asyncio.DatagramProtocol):
    def __init__(self, reply):
        self.reply = reply

    def datagram_received(self, data, _address):
        self.reply(data)


class _UdpPort(asyncio.DatagramProtocol):
    def __init__(self, address, port):
        self.target = (address, port)
        self.flows = {}

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, source):
        asyncio.ensure_future(self._forward(data, source))

    async def _forward(self, data, source):
        if source not in self.flows:
            self.flows[source] = asyncio.ensure_future(
                asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: _UdpClient(lambda answer: self.transport.sendto(answer, source)), remote_addr=self.target
                )
            )
            asyncio.get_running_loop().call_later(UDP_IDLE_S, self._drop, source)
        transport, _ = await self.flows[source]
        transport.sendto(data)

    def _drop(self, source):
        flow = self.flows.pop(source)
        if flow.done() and not flow.cancelled() and flow.exception() is None:
            flow.result()[0].close()


async def _serve(address, ports):
    loop = asyncio.get_running_loop()
    for entry in ports:
        proto, port, target = entry.split(":")
        if proto == "udp":
            await loop.create_datagram_endpoint(
                lambda target=target: _UdpPort(address, int(target)), local_addr=("0.0.0.0", int(port))
            )
            continue

        async def accept(reader, writer, target=target):
            try:
                far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(address, int(target)), 5)
            except (OSError, asyncio.TimeoutError):
                writer.close()
                return
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            far_writer.close()
            writer.close()

        await asyncio.start_server(accept, "0.0.0.0", int(port), backlog=512)
    print("serving", flush=True)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    await asyncio.Event().wait()


def main(argv):
    try:
        asyncio.run(_serve(argv[0], argv[1:]))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"nodeports: {error}", file=sys.stderr)
        return 1
    return 0
