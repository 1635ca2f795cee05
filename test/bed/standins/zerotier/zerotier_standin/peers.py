"""Who was heard and when, path by path, as /peer tells it; and hello, which finds and keeps paths.

Must always hold: a path's lastReceive moves only when a datagram came in over it, its lastSend whenever one went out.
"""

import json
import time

from . import VERSION_PARTS
from .loop import now_ms

CONTROL, DATA = 0x4A, 0x01
ACTIVITY_TIMEOUT = 500.0
PATH_TIMEOUT = 233.0
LATENCY_TIMEOUT = 241.0
ROOT_HELLO_SECONDS = 224.0


class Path:
    def __init__(self, sock, remote):
        self.sock = sock
        self.remote = remote
        self.received = None
        self.last_receive_ms = 0
        self.last_send_ms = 0


class Peer:
    def __init__(self, address, role):
        self.address = address
        self.role = role
        self.paths = {}
        self.latency = -1
        self.best = None
        self.asked = None

    def heard(self, sock, remote, prefer):
        """Notes a datagram. Traffic moves the best path at once, a hello only where the best one is silent."""
        key = (id(sock), remote)
        path = self.paths.get(key)
        if path is None:
            path = self.paths[key] = Path(sock, remote)
        path.received = time.monotonic()
        path.last_receive_ms = now_ms()
        best = self.best
        if prefer or best is None or best.received is None or path.received - best.received > 10:
            self.best = path

    def newest(self):
        times = [path.received for path in self.paths.values() if path.received is not None]
        return max(times) if times else None


class Peers:
    """All peers of this node. `root` is (address or None, (host, port)); a root itself has no upstream."""

    def __init__(self, loop, binder, own_address, root):
        self.by_address = {}
        self.surface = set()
        self._greeted = time.monotonic()
        self._loop = loop
        self._binder = binder
        self._own = own_address
        self.root_address, self._root_endpoint = root
        self.is_root = self.root_address == own_address

    def online(self):
        """True while the upstream was heard within 500 s; always for a root."""
        if self.is_root:
            return True
        times = [p.newest() for p in self.by_address.values() if p.role == "PLANET" and p.newest() is not None]
        return bool(times) and self._loop.age(max(times)) < ACTIVITY_TIMEOUT

    def heard(self, address, sock, remote, prefer):
        peer = self.by_address.get(address)
        if peer is None:
            role = "PLANET" if address == self.root_address else "LEAF"
            peer = self.by_address[address] = Peer(address, role)
        peer.heard(sock, remote, prefer)
        return peer

    def remember(self, address, remote):
        """A peer known from an earlier run, to be greeted at the start."""
        peer = self.by_address.setdefault(address, Peer(address, "LEAF"))
        for sock in self._binder.sockets():
            peer.paths[(id(sock), remote)] = Path(sock, remote)

    def hello_root(self):
        """Greets the root from every bound socket; each answer is a path."""
        self._greeted = time.monotonic()
        if not self.is_root:
            for sock in self._binder.sockets():
                self._hello(sock, self._root_endpoint)

    def hello_known(self):
        for peer in self.by_address.values():
            for path in peer.paths.values():
                self._hello(path.sock, path.remote)

    def root_needs_hello(self):
        """A root that answers is greeted every 224 s; one that is unknown, lost or owes an answer, at every look."""
        peer = self.by_address.get(self.root_address)
        newest = peer.newest() if peer else None
        if newest is None or self._loop.age(newest) >= ACTIVITY_TIMEOUT:
            return True
        if peer.asked is not None and peer.asked > newest and self._loop.age(peer.asked) > 1:
            return True
        return self._loop.age(self._greeted) >= ROOT_HELLO_SECONDS

    def send(self, address, message):
        """Sends a control message to a peer over its best path, or to the root where there is none yet."""
        peer = self.by_address.get(address)
        path = peer.best if peer else None
        if path is None or path.sock.fileno() < 0:
            path = self._any_path(peer)
        if path is None:
            return
        path.last_send_ms = now_ms()
        if peer is not None and message["t"] == "request":
            peer.asked = time.monotonic()
        self._binder.send(path.sock, path.remote, self._pack(message))

    def on_hello(self, message, sock, remote, address):
        """Answers a hello, and takes latency and surface address from an answer to ours."""
        if message["t"] == "hello":
            reply = {"t": "hello-ok", "sent": message["sent"], "you": f"{remote[0]}/{remote[1]}"}
            self._binder.send(sock, remote, self._pack(reply))
            return
        self.surface.add(message["you"])
        self.by_address[address].latency = max(1, now_ms() - message["sent"])

    def listing(self):
        return [self._describe(peer) for _, peer in sorted(self.by_address.items())]

    def prune(self):
        """Forgets paths over closed sockets and silent ones; a root keeps its last one."""
        for address, peer in list(self.by_address.items()):
            bound = {id(sock) for sock in self._binder.sockets()}
            for key, path in sorted(peer.paths.items(), key=lambda item: item[1].received or 0):
                stale = path.received is not None and self._loop.age(path.received) > PATH_TIMEOUT
                if key[0] not in bound or (stale and (peer.role == "LEAF" or len(peer.paths) > 1)):
                    del peer.paths[key]
            if peer.best not in peer.paths.values():
                peer.best = next(iter(peer.paths.values()), None)
            newest = peer.newest()
            if newest is None or self._loop.age(newest) > LATENCY_TIMEOUT:
                peer.latency = -1
            if peer.role == "LEAF" and not peer.paths:
                del self.by_address[address]

    def _any_path(self, peer):
        paths = [path for path in peer.paths.values() if path.sock.fileno() >= 0] if peer else []
        if paths:
            return paths[0]
        sockets = self._binder.sockets()
        return Path(sockets[0], self._root_endpoint) if sockets and not self.is_root else None

    def _hello(self, sock, remote):
        for peer in self.by_address.values():
            path = peer.paths.get((id(sock), remote))
            if path is not None:
                path.last_send_ms = now_ms()
        self._binder.send(sock, remote, self._pack({"t": "hello", "sent": now_ms()}))

    def _pack(self, message):
        return bytes([CONTROL]) + json.dumps({**message, "from": self._own}).encode()

    def _describe(self, peer):
        paths = [
            {
                "active": True,
                "address": f"{path.remote[0]}/{path.remote[1]}",
                "expired": False,
                "lastReceive": path.last_receive_ms,
                "lastSend": path.last_send_ms,
                "localPort": 0,
                "localSocket": key[0],
                "preferred": path is peer.best,
                "trustedPathId": 0,
            }
            for key, path in peer.paths.items()
        ]
        parts = dict(VERSION_PARTS)
        parts.pop("versionBuild")
        return {
            "address": peer.address, "isBonded": False, "latency": peer.latency, "paths": paths,
            "role": peer.role, "tunneled": not paths, **parts,
        }  # fmt: skip
