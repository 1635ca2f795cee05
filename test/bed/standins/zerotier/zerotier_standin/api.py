"""The local API of zerotier-one: who may ask, and what each path answers.

Must always hold: only the first credential present is looked at; all but /metrics and /health need the API token, and
all but /metrics a loopback source; an unknown path is 404 without a body, an unknown network 404 with `{}`.
"""

import ipaddress
import json
import os
import re

from . import VERSION_PARTS
from .loop import now_ms

JSON = "application/json"
NETWORK = re.compile(r"^/network/([0-9a-fA-F]{16})$")
CONTROLLER_NETWORK = re.compile(r"^/controller/network/([0-9a-fA-F]{16})$")
MEMBERS = re.compile(r"^/controller/network/([0-9a-fA-F]{16})/member$")
MEMBER = re.compile(r"^/controller/network/([0-9a-fA-F]{16})/member/([0-9a-fA-F]{10})$")
NOT_A_PATH = (404, None, JSON)
NOT_THERE = (404, "{}", JSON)


def _json(document):
    return 200, json.dumps(document, separators=(",", ":"), sort_keys=True), JSON


class Api:
    """`token` and `metrics_token` are read once, at the start."""

    def __init__(self, node, token, metrics_token):
        self._node = node
        self._token = token
        self._metrics_token = metrics_token

    def admit(self, request):
        """401 with `{}` for whoever may not ask, else None."""
        given = _credential(request)
        if request.path == "/metrics":
            return None if given in (self._token, self._metrics_token) else (401, "{}", JSON)
        if not self._may_manage(request.remote):
            return 401, "{}", JSON
        if request.path == "/health" or given == self._token:
            return None
        return 401, "{}", JSON

    def handle(self, request):
        with self._node.loop.lock:
            return self._route(request)

    def _may_manage(self, remote):
        address = ipaddress.ip_address(remote)
        networks = self._node.local_conf.management_networks()
        return address.is_loopback or any(address in network for network in networks)

    def _route(self, request):
        reading = request.method in ("GET", "HEAD")
        writing = request.method in ("POST", "PUT")
        if reading and request.path in self._readers:
            return self._readers[request.path](self)
        if writing and request.path == "/config/settings":
            self._node.local_conf.merge_settings(_parse(request.body))
            return 200, "{}", JSON
        network = NETWORK.match(request.path)
        if network:
            return self._network(request, network.group(1).lower(), reading, writing)
        if request.path.startswith("/controller/"):
            return self._controller(request, reading, writing)
        if reading and request.path.startswith("/peer/"):
            found = [p for p in self._node.peers.listing() if p["address"] == request.path[6:]]
            return _json(found[0]) if found else NOT_THERE
        return NOT_A_PATH

    def _network(self, request, nwid, reading, writing):
        node = self._node
        if writing:
            network = node.join(nwid, _parse(request.body))
            return _json(network.describe() if network else {})
        if request.method == "DELETE":
            return _json({"result": True} if node.leave(nwid) else {})
        if reading:
            network = node.networks.get(nwid)
            return _json(network.describe()) if network else NOT_THERE
        return NOT_A_PATH

    def _networks(self):
        return _json([network.describe() for _, network in sorted(self._node.networks.items())])

    def _peers(self):
        return _json(self._node.peers.listing())

    def _health(self):
        return _json({"clock": now_ms(), "online": self._node.online, **VERSION_PARTS})

    def _status(self):
        node = self._node
        settings = {
            "allowTcpFallbackRelay": True, "forceTcpRelay": False, "portMappingEnabled": True,
            "softwareUpdate": "disable", "softwareUpdateChannel": "release",
            **node.local_conf.settings(),
            "homeDir": node.home, "listeningOn": node.binder.listening_on(), "primaryPort": node.port,
            "secondaryPort": node.secondary_port, "surfaceAddresses": sorted(node.peers.surface), "tertiaryPort": 0,
        }  # fmt: skip
        return _json({
            "address": node.address, "clock": now_ms(), "config": {**node.local_conf.document, "settings": settings},
            "online": node.online, "planetWorldId": 990099, "planetWorldTimestamp": 1795429548000,
            "publicIdentity": node.identity, "tcpFallbackActive": False, **VERSION_PARTS,
        })  # fmt: skip

    def _config(self):
        return _json(self._node.local_conf.document)

    def _metrics(self):
        try:
            with open(os.path.join(self._node.home, "metrics.prom"), encoding="ascii") as file:
                return 200, file.read(), "text/plain"
        except FileNotFoundError:
            return 500, "{}", JSON

    def _controller_status(self):
        text = f'{{\n\t"controller": true,\n\t"apiVersion": 4,\n\t"clock": {now_ms()},\n\t"databaseReady": true\n}}\n'
        return 200, text, JSON

    def _controller_networks(self):
        return _json(sorted(self._node.controller.networks))

    def _controller(self, request, reading, writing):
        controller = self._node.controller
        match = CONTROLLER_NETWORK.match(request.path) or MEMBERS.match(request.path) or MEMBER.match(request.path)
        if match is None:
            return NOT_A_PATH
        nwid, *member = (group.lower() for group in match.groups())
        if not nwid.startswith(self._node.address):
            return NOT_A_PATH
        body = _parse(request.body) if writing else {}
        if not isinstance(body, dict):
            return 400, "{}", JSON
        if member:
            return self._member(request, nwid, member[0], body, reading, writing)
        known = controller.networks.get(nwid)
        if MEMBERS.match(request.path):
            members = {address: m["revision"] for address, m in controller.members.get(nwid, {}).items()}
            return _json(members) if known and reading else NOT_THERE
        if writing:
            return _json(controller.update_network(nwid, body))
        if known is None:
            return NOT_THERE
        return _json(controller.delete_network(nwid) if request.method == "DELETE" else known)

    def _member(self, request, nwid, address, body, reading, writing):
        controller = self._node.controller
        if nwid not in controller.networks:
            return NOT_THERE
        if writing:
            return _json(controller.update_member(nwid, address, body))
        member = controller.members.get(nwid, {}).get(address)
        if member is None:
            return NOT_THERE
        return _json(controller.delete_member(nwid, address) if request.method == "DELETE" else member)

    _readers = {
        "/status": _status, "/health": _health, "/peer": _peers, "/network": _networks, "/metrics": _metrics,
        "/config": _config, "/controller": _controller_status, "/controller/network": _controller_networks,
    }  # fmt: skip


def _credential(request):
    """The first credential present: header, then query, then bearer."""
    if "x-zt1-auth" in request.headers:
        return request.headers["x-zt1-auth"]
    if "auth" in request.query:
        return request.query["auth"]
    bearer = request.headers.get("authorization", "")
    return bearer[7:].strip() if bearer.lower().startswith("bearer ") else None


def _parse(body):
    """Invalid JSON is ignored, as the real one does."""
    try:
        return json.loads(body or b"{}")
    except ValueError:
        return {}
