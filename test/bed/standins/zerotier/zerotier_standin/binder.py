"""The physical side: one UDP socket per address and port, tied to its interface, as `listeningOn` shows.

Must always hold: loopback, zt*, tun*, tap* and blacklisted prefixes are never bound; a changed blacklist or a new
address is in force only after `refresh` has run (every 30 s).
"""

import ipaddress
import socket

from . import kernel

ALWAYS_EXCLUDED = ("lo", "zt", "tun", "tap")
BATCH = 64


class Binder:
    """`on_packet(socket, remote, data)` gets each datagram. `blacklist` is a list of interface name prefixes."""

    def __init__(self, loop, ports, on_packet):
        self.blacklist = []
        self.cut = False
        self._loop = loop
        self._ports = ports
        self._on_packet = on_packet
        self._sockets = {}

    def refresh(self):
        """Binds what is new and closes what is gone or excluded by now."""
        wanted = {(name, address, port) for name, address in self._bindable() for port in self._ports}
        for key in set(self._sockets) - wanted:
            self._close(key)
        for key in sorted(wanted - set(self._sockets)):
            self._open(key)

    def sockets(self):
        """The bound sockets, primary port first."""
        return [self._sockets[key] for key in self._ordered()]

    def listening_on(self):
        return [f"{address}/{port}" for _, address, port in self._ordered()]

    def send(self, sock, remote, data):
        """Datagram semantics: what cannot be sent is lost."""
        if self.cut:
            return
        try:
            sock.sendto(data, remote)
        except OSError:
            pass

    def close(self):
        for key in list(self._sockets):
            self._close(key)

    def _ordered(self):
        return sorted(self._sockets, key=lambda key: (self._ports.index(key[2]), key))

    def _bindable(self):
        excluded = tuple(ALWAYS_EXCLUDED) + tuple(self.blacklist)
        for name, text in kernel.addresses():
            address = ipaddress.ip_interface(text).ip
            if name.startswith(excluded) or address.version != 4 or address.is_link_local or address.is_loopback:
                continue
            yield name, str(address)

    def _open(self, key):
        name, address, port = key
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            for option, plain in ((33, socket.SO_RCVBUF), (32, socket.SO_SNDBUF)):
                try:
                    sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
                except OSError:
                    sock.setsockopt(socket.SOL_SOCKET, plain, 4 << 20)
            sock.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: a frame may be larger than the path's MTU
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
            sock.bind((address, port))
        except OSError:
            sock.close()
            return
        self._sockets[key] = sock
        self._loop.watch(sock.fileno(), lambda events: self._readable(sock))

    def _close(self, key):
        sock = self._sockets.pop(key)
        self._loop.unwatch(sock.fileno())
        sock.close()

    def _readable(self, sock):
        try:
            for _ in range(BATCH):
                data, remote = sock.recvfrom(65536)
                if not self.cut:
                    self._on_packet(sock, remote, data)
        except OSError:
            return
