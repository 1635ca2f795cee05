"""One joined network as the node sees it: its status, the configuration it last got, its interface.

Must always hold: a refusal changes the status only; configuration, interface, addresses and routes stay. A network
that was configured once says OK from its cached file at the next start.
"""

import ipaddress
import json
import os
import time

from . import naming
from .tap import Tap

FLAGS = {"allowManaged": True, "allowGlobal": False, "allowDefault": False, "allowDNS": False}


class Network:
    """`on_frame(network, frame)` gets what the kernel sends. `home` is the folder that holds networks.d."""

    def __init__(self, loop, home, nwid, address, on_frame):
        self.nwid = nwid
        self.number = int(nwid, 16)
        self.controller = nwid[:10]
        self.status = "REQUESTING_CONFIGURATION"
        self.config = None
        self.configured_at = None
        self.mac = naming.mac_bytes(address, self.number)
        self.tap = None
        self.flags = dict(FLAGS)
        self.subscribed = False
        self.next_poll = None
        self._loop = loop
        self._home = home
        self._applied = []
        self._on_frame = on_frame
        self._path = os.path.join(home, "networks.d", f"{nwid}.conf")
        self._local_path = os.path.join(home, "networks.d", f"{nwid}.local.conf")

    def load(self):
        """Takes flags and the cached configuration from the files of an earlier run."""
        for line in _read(self._local_path).splitlines():
            key, _, value = line.partition("=")
            if key in self.flags:
                self.flags[key] = value.strip() == "1"
        text = _read(self._path).strip()
        if text:
            self.config = json.loads(text)
            self.status = "OK"

    def save(self):
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        naming.write_private(self._path, "\n" if self.config is None else json.dumps(self.config))
        naming.write_private(self._local_path, "".join(f"{k}={int(v)}\n" for k, v in self.flags.items()))

    def open(self):
        """Makes the interface. Throws OSError where there is no tun device."""
        pinned = naming.pinned_names(self._home).get(self.nwid)
        self.tap = Tap(self._loop, self.number, self.mac, pinned, lambda frame: self._on_frame(self, frame))
        self.sync()

    def renew(self):
        """Makes the interface anew, under another ifindex, as a restart does."""
        if self.tap is not None:
            self.tap.close()
        self._applied = []
        self.open()

    def close(self, forget):
        self._loop.cancel(self.next_poll)
        if self.tap is not None:
            self.tap.close()
        if forget:
            for path in (self._path, self._local_path):
                if os.path.exists(path):
                    os.unlink(path)

    def set_flags(self, body):
        """Takes the booleans of a join's body; anything else in it is ignored."""
        for key in FLAGS:
            if isinstance(body, dict) and isinstance(body.get(key), bool):
                self.flags[key] = body[key]
        self.save()
        self.sync()

    def accept(self, config):
        """A configuration arrived: it counts from now, and the kernel follows."""
        self.configured_at = time.monotonic()
        changed = config != self.config
        self.config = config
        self.status = "OK"
        if changed:
            self.save()
            self.sync()

    def refuse(self, status):
        self.status = status

    def sync(self):
        """Brings addresses, MTU and routes to the kernel; only differences to what was applied before are touched."""
        if self.tap is None or self.config is None:
            return
        self.tap.set_mtu(self.config["mtu"])
        wanted = [text for text in self.config["addresses"] if self._allowed(ipaddress.ip_interface(text).ip)]
        for text in [text for text in self._applied if text not in wanted]:
            self.tap.remove_address(text)
        for text in [text for text in wanted if text not in self._applied]:
            self.tap.add_address(text)
        self._applied = wanted
        tap = self.tap
        tap.when_up(lambda: tap.set_routes(self._routes()))

    def describe(self):
        """The object of GET /network/<id>, keys as 1.14.1 sorts them."""
        config = self.config or {}
        name = self.tap.name if self.tap else ""
        return {
            "allowDNS": self.flags["allowDNS"],
            "allowDefault": self.flags["allowDefault"],
            "allowGlobal": self.flags["allowGlobal"],
            "allowManaged": self.flags["allowManaged"],
            "assignedAddresses": config.get("addresses", []),
            "bridge": False,
            "broadcastEnabled": config.get("broadcast", False),
            "dhcp": False,
            "dns": config.get("dns", {"domain": "", "servers": []}),
            "id": self.nwid,
            "mac": naming.mac_text(self.mac),
            "mtu": config.get("mtu", 2800),
            "multicastSubscriptions": self._subscriptions(),
            "name": config.get("name", ""),
            "netconfRevision": config.get("revision", 0),
            "nwid": self.nwid,
            "portDeviceName": name,
            "portError": 0,
            "routes": [
                {"flags": 0, "metric": 0, "target": r["target"], "via": r["via"]} for r in config.get("routes", [])
            ],
            "status": self.status,
            "type": config.get("type", "PRIVATE"),
        }

    def _allowed(self, ip):
        return self.flags["allowManaged"] and (ip.is_private or self.flags["allowGlobal"])

    def _routes(self):
        """The routes to install: not default ones, not public ones, not those the addresses bring by themselves."""
        if not self.flags["allowManaged"]:
            return set()
        own = {str(ipaddress.ip_interface(text).network) for text in self._applied}
        routes = set()
        for route in self.config["routes"]:
            target = ipaddress.ip_network(route["target"], strict=False)
            if target.prefixlen == 0 and not self.flags["allowDefault"]:
                continue
            if target.prefixlen != 0 and not self._allowed(target.network_address):
                continue
            if str(target) not in own:
                routes.add((str(target), route["via"]))
        return routes

    def _subscriptions(self):
        """They come a moment after the interface and change by themselves, as the real ones do."""
        if not self.subscribed:
            return []
        low = naming.mac_text(self.mac[3:])
        groups = [{"adi": 0, "mac": m} for m in ("01:00:5e:00:00:01", "33:33:00:00:00:01", f"33:33:ff:{low}")]
        v4 = [ipaddress.ip_interface(text).ip for text in self._applied]
        if int(time.time() * self._loop.speed) // 60 % 2 == 1:
            groups += [{"adi": int(ip), "mac": "ff:ff:ff:ff:ff:ff"} for ip in v4 if ip.version == 4]
        return groups


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""
