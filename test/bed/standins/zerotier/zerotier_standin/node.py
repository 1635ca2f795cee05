"""The node: brings loop, binder, peers, networks and controller together, and moves frames.

Must always hold: a leaf sends every frame to its network's controller, which forwards only between authorised
members and only frames whose source MAC is the sender's. State changes happen under `loop.lock`.
"""

import json
import os
import random
import sys
import time

from . import metrics, peers
from .binder import Binder
from .controller import Controller
from .localconf import LocalConf
from .network import Network

TICK_SECONDS = 5.0
AUTOCONF_SECONDS = 60.0
BIND_REFRESH_SECONDS = 30.0
MULTICAST = 1
SMALLEST_FRAME = 1 + 8 + 5 + 14


class Node:
    """`options` are those of standin.json and planet, see README.md."""

    def __init__(self, loop, home, address, identity, port, options):
        self.loop = loop
        self.home = home
        self.address = address
        self.identity = identity
        self.port = port
        self.networks = {}
        self.online = False
        self.data_cut = False
        self.local_conf = LocalConf(loop, home, self._apply_local_conf)
        self.secondary_port = 20000 + int(address, 16) % 25500
        self.binder = Binder(loop, [port, self.secondary_port], self._packet)
        self.peers = peers.Peers(loop, self.binder, address, options["root"])
        self.controller = Controller(loop, home, address, self._tell)
        self._source = bytes.fromhex(address)

    def start(self):
        """Everything but the networks: binds, greets the root, starts the periodic work."""
        self.controller.load()
        self.binder.refresh()
        self._recall_peers()
        self.peers.hello_known()
        self.loop.every(TICK_SECONDS, self._tick)
        self.loop.every(BIND_REFRESH_SECONDS, self._refresh_binder)
        self.loop.every(TICK_SECONDS, lambda: metrics.write(self))
        self.local_conf.watch()
        self.peers.hello_root()
        self.online = self.peers.online()

    def load_networks(self):
        """Rejoins what networks.d names; the statuses are OK at once where a configuration is cached."""
        folder = os.path.join(self.home, "networks.d")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            nwid = name.removesuffix(".conf")
            if len(nwid) == 16 and nwid not in self.networks:
                network = self._network(nwid)
                network.load()
                self._open(network, 0.5 if network.config else random.uniform(3.8, 4.9))

    def join(self, nwid, body):
        """Joins, idempotently. Returns the network, or None where no interface can be made."""
        network = self.networks.get(nwid)
        if network is None:
            network = self._network(nwid)
            network.set_flags(body)
            return network if self._open(network, random.uniform(3.8, 4.9)) else None
        network.set_flags(body)
        return network

    def leave(self, nwid):
        network = self.networks.pop(nwid, None)
        if network is None:
            return False
        network.close(forget=True)
        return True

    def close(self):
        for network in self.networks.values():
            network.close(forget=False)
        self.binder.close()

    def _network(self, nwid):
        return Network(self.loop, self.home, nwid, self.address, self._frame_from_kernel)

    def _open(self, network, first_poll_seconds):
        try:
            network.open()
        except OSError as error:
            text = f"ERROR: unable to configure virtual network port: could not open TUN/TAP device: {error}"
            print(text, file=sys.stderr, flush=True)
            return False
        self.networks[network.nwid] = network
        network.next_poll = self.loop.after(first_poll_seconds, lambda: self._poll(network))
        return True

    def _poll(self, network):
        """Asks the controller every 5 s while there is no configuration, every 60 s (on the 5 s grid) with one."""
        network.next_poll = self.loop.after(TICK_SECONDS, lambda: self._poll(network))
        network.subscribed = True
        if network.configured_at is None or self.loop.age(network.configured_at) >= AUTOCONF_SECONDS:
            self._ask(network)

    def _ask(self, network):
        if network.controller == self.address:
            self._deliver(self.controller.answer(network.nwid, self.address, self.identity))
            return
        known = self.peers.by_address.get(network.controller)
        if known is not None:
            self.peers.send(network.controller, {"t": "request", "nwid": network.nwid, "identity": self.identity})

    def _tell(self, address, message):
        if address == self.address:
            self._deliver(message)
        else:
            self.peers.send(address, message)

    def _deliver(self, message):
        network = self.networks.get(message["nwid"])
        if network is None:
            return
        if message["t"] == "config":
            network.accept(message["config"])
        else:
            network.refuse(message["status"])

    def _tick(self):
        self.online = self.peers.online()
        self.peers.prune()
        if self.peers.root_needs_hello():
            self.peers.hello_root()

    def _refresh_binder(self):
        self.binder.refresh()
        self.peers.prune()
        self.peers.hello_root()

    def _apply_local_conf(self):
        self.binder.blacklist = self.local_conf.blacklist()

    # The data plane. Runs without the lock: it only reads tables that are replaced, never changed.

    def _frame_from_kernel(self, network, frame):
        if network.config is None or self.data_cut:
            return
        if network.controller == self.address:
            self._forward(network.nwid, self.address, frame)
            return
        peer = self.peers.by_address.get(network.controller)
        if peer is not None and peer.best is not None:
            self._send_frame(peer.best, network.nwid, self._source, frame)

    def _send_frame(self, path, nwid, source, frame):
        path.last_send_ms = int(time.time() * 1000)
        self.binder.send(path.sock, path.remote, b"\x01" + bytes.fromhex(nwid) + source + frame)

    def _forward(self, nwid, sender, frame):
        """At the controller: to the member that owns the MAC, or to all for broadcast and multicast."""
        allowed = self.controller.authorised.get(nwid, {})
        if allowed.get(frame[6:12]) != sender:
            return
        if frame[0] & MULTICAST:
            targets = [address for address in allowed.values() if address != sender]
        else:
            target = allowed.get(frame[:6])
            targets = [target] if target else []
        for target in targets:
            if target == self.address:
                network = self.networks.get(nwid)
                if network is not None and network.tap is not None:
                    network.tap.write(frame)
                continue
            peer = self.peers.by_address.get(target)
            if peer is not None and peer.best is not None:
                self._send_frame(peer.best, nwid, self._source, frame)

    def _packet(self, sock, remote, data):
        """Whatever comes in over the wire: a frame, a message, or rubbish, which is dropped."""
        if data[:1] == bytes([peers.DATA]) and len(data) >= SMALLEST_FRAME:
            self._frame_from_peer(sock, remote, data)
        elif data[:1] == bytes([peers.CONTROL]):
            try:
                message = json.loads(data[1:])
            except ValueError:
                return
            with self.loop.lock:
                self._control(sock, remote, message)

    def _frame_from_peer(self, sock, remote, data):
        if self.data_cut:
            return
        sender = data[9:14].hex()
        self.peers.heard(sender, sock, remote, prefer=True)
        nwid = data[1:9].hex()
        if nwid.startswith(self.address):
            self._forward(nwid, sender, data[14:])
            return
        network = self.networks.get(nwid)
        if network is not None and network.controller == sender and network.tap is not None:
            network.tap.write(data[14:])

    def _control(self, sock, remote, message):
        sender = message["from"]
        kind = message["t"]
        known = sender in self.peers.by_address
        self.peers.heard(sender, sock, remote, prefer=kind not in ("hello", "hello-ok"))
        if not known:
            self._save_peer(sender, remote)
        if kind in ("hello", "hello-ok"):
            self.peers.on_hello(message, sock, remote, sender)
        elif kind == "request":
            self.peers.send(sender, self.controller.answer(message["nwid"], sender, message["identity"]))
        elif message["nwid"].startswith(sender):
            self._deliver(message)

    def _save_peer(self, address, remote):
        """Known peers are greeted at the next start, so that a restarted controller reaches its members at once."""
        folder = os.path.join(self.home, "peers.d")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{address}.peer"), "w", encoding="ascii") as file:
            file.write(f"{remote[0]}/{remote[1]}")

    def _recall_peers(self):
        folder = os.path.join(self.home, "peers.d")
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), encoding="ascii") as file:
                host, _, port = file.read().partition("/")
            if name.removesuffix(".peer") != self.peers.root_address:
                self.peers.remember(name.removesuffix(".peer"), (host, int(port)))
