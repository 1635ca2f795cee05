"""The network controller: networks and members on disk, and what each member is told.

Must always hold: a change of a member that was configured before is pushed within 15 ms; one that never was waits for
its own next request; a de-authorised one is told only at its next request, while its traffic stops at once.
"""

import ipaddress
import json
import os

from . import naming
from .loop import now_ms

PUSH_SECONDS = 0.012


class Controller:
    """`push(address, message)` delivers to a member."""

    def __init__(self, loop, home, own_address, push):
        self.networks = {}
        self.members = {}
        self.authorised = {}
        self._loop = loop
        self._folder = os.path.join(home, "controller.d", "network")
        self._own = own_address
        self._push = push
        self._configured = set()

    def load(self):
        for name in sorted(os.listdir(self._folder)) if os.path.isdir(self._folder) else []:
            path = os.path.join(self._folder, name)
            if name.endswith(".json"):
                self.networks[name[:-5]] = _read(path)
                continue
            members = os.listdir(os.path.join(path, "member"))
            self.members[name] = {m[:-5]: _read(os.path.join(path, "member", m)) for m in members}
        for nwid in self.networks:
            self._index(nwid)

    def answer(self, nwid, address, identity):
        """What a member's request gets: its configuration, or an error code."""
        network = self.networks.get(nwid)
        if network is None:
            return {"t": "error", "nwid": nwid, "status": "NOT_FOUND"}
        member = self.members.setdefault(nwid, {}).get(address)
        if member is None:
            member = self._new_member(nwid, address)
        if identity and not member["identity"]:
            member["identity"] = identity
            self._save_member(member)
        if not network["private"] and not member["authorized"]:
            self._authorise(member, True)
            self._save_member(member)
        if not member["authorized"]:
            return {"t": "error", "nwid": nwid, "status": "ACCESS_DENIED"}
        if not member["ipAssignments"] and not member["noAutoAssignIps"] and network["v4AssignMode"].get("zt"):
            self._draw(network, member)
        self._configured.add((nwid, address))
        return {"t": "config", "nwid": nwid, "config": self._config(network, member)}

    def update_network(self, nwid, body):
        """Creates or updates; returns the network object. A change raises the revision and goes to all members."""
        network = self.networks.get(nwid)
        before = json.dumps(network)
        if network is None:
            network = self.networks[nwid] = _new_network(nwid)
        for key, value in body.items():
            if key in _SETTABLE and isinstance(value, type(network[key])):
                network[key] = value
        for route in network["routes"]:
            route.setdefault("via", None)
        if json.dumps(network) != before:
            network["revision"] += 1
            self._write(os.path.join(self._folder, f"{nwid}.json"), network)
            for address in list(self.members.get(nwid, {})):
                self._push_soon(nwid, address)
        self._index(nwid)
        return network

    def delete_network(self, nwid):
        network = self.networks.pop(nwid)
        for address in list(self.members.get(nwid, {})):
            self.delete_member(nwid, address)
        os.unlink(os.path.join(self._folder, f"{nwid}.json"))
        self.members.pop(nwid, None)
        self._index(nwid)
        return network

    def update_member(self, nwid, address, body):
        member = self.members.setdefault(nwid, {}).get(address) or self._new_member(nwid, address)
        before = json.dumps(member)
        if isinstance(body.get("authorized"), bool) and body["authorized"] != member["authorized"]:
            self._authorise(member, body["authorized"])
        for key in ("noAutoAssignIps", "activeBridge"):
            if isinstance(body.get(key), bool):
                member[key] = body[key]
        if isinstance(body.get("ipAssignments"), list):
            member["ipAssignments"] = [ip for ip in body["ipAssignments"] if _is_address(ip)]
        if json.dumps(member) != before:
            member["revision"] += 1
            self._save_member(member)
            self._push_soon(nwid, address)
        return member

    def delete_member(self, nwid, address):
        member = self.members[nwid].pop(address)
        self._configured.discard((nwid, address))
        os.unlink(self._member_path(nwid, address))
        self._index(nwid)
        return member

    def _authorise(self, member, value):
        member["authorized"] = value
        member["lastAuthorizedTime" if value else "lastDeauthorizedTime"] = now_ms()
        if value:
            member["lastAuthorizedCredentialType"] = "api"

    def _push_soon(self, nwid, address):
        if (nwid, address) not in self._configured:
            return

        def push():
            member = self.members.get(nwid, {}).get(address)
            if member is not None and member["authorized"]:
                self._push(address, self.answer(nwid, address, None))

        self._loop.after_real(PUSH_SECONDS, push)

    def _config(self, network, member):
        addresses = []
        for ip in member["ipAssignments"]:
            for route in network["routes"]:
                target = ipaddress.ip_network(route["target"], strict=False)
                if route["via"] is None and ipaddress.ip_address(ip) in target:
                    addresses.append(f"{ip}/{target.prefixlen}")
                    break
        dns = network["dns"]
        return {
            "addresses": addresses,
            "broadcast": network["enableBroadcast"],
            "dns": {"domain": dns.get("domain", ""), "servers": list(dns.get("servers", []))[:4]},
            "mtu": network["mtu"],
            "name": network["name"],
            "revision": network["revision"],
            "routes": network["routes"],
            "type": "PRIVATE" if network["private"] else "PUBLIC",
        }

    def _draw(self, network, member):
        used = {ip for other in self.members[network["id"]].values() for ip in other["ipAssignments"]}
        for pool in network["ipAssignmentPools"]:
            first, last = (int(ipaddress.ip_address(pool[k])) for k in ("ipRangeStart", "ipRangeEnd"))
            for offset in range(last - first + 1):
                drawn = first + (int(member["address"], 16) + offset) % (last - first + 1)
                if str(ipaddress.ip_address(drawn)) not in used:
                    member["ipAssignments"] = [str(ipaddress.ip_address(drawn))]
                    self._save_member(member)
                    return

    def _new_member(self, nwid, address):
        member = {
            "activeBridge": False, "address": address, "authenticationExpiryTime": 0, "authorized": False,
            "capabilities": [], "creationTime": now_ms(), "id": address, "identity": "", "ipAssignments": [],
            "lastAuthorizedCredential": None, "lastAuthorizedCredentialType": None, "lastAuthorizedTime": 0,
            "lastDeauthorizedTime": 0, "noAutoAssignIps": False, "nwid": nwid, "objtype": "member",
            "remoteTraceLevel": 0, "remoteTraceTarget": None, "revision": 1, "ssoExempt": False, "tags": [],
            "vMajor": -1, "vMinor": -1, "vProto": -1, "vRev": -1,
        }  # fmt: skip
        self.members[nwid][address] = member
        self._save_member(member)
        return member

    def _save_member(self, member):
        self._write(self._member_path(member["nwid"], member["address"]), member)
        self._index(member["nwid"])

    def _member_path(self, nwid, address):
        return os.path.join(self._folder, nwid, "member", f"{address}.json")

    def _index(self, nwid):
        """What the data plane looks at: MAC -> address of the members that may speak. Replaced, never changed."""
        allowed = [a for a, m in self.members.get(nwid, {}).items() if m["authorized"]] if nwid in self.networks else []
        self.authorised[nwid] = {naming.mac_bytes(a, int(nwid, 16)): a for a in allowed}

    def _write(self, path, document):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.rename(path + ".new", path)


_SETTABLE = {
    "name", "private", "enableBroadcast", "mtu", "multicastLimit", "routes", "ipAssignmentPools", "dns",
    "v4AssignMode", "v6AssignMode", "rules", "tags", "capabilities",
}  # fmt: skip


def _new_network(nwid):
    return {
        "authTokens": [None], "authorizationEndpoint": "", "capabilities": [], "clientId": "",
        "creationTime": now_ms(), "dns": {"domain": "", "servers": []}, "enableBroadcast": True, "id": nwid,
        "ipAssignmentPools": [], "mtu": 2800, "multicastLimit": 32, "name": "", "nwid": nwid, "objtype": "network",
        "private": True, "remoteTraceLevel": 0, "remoteTraceTarget": None, "revision": 0, "routes": [],
        "rules": [{"not": False, "or": False, "type": "ACTION_ACCEPT"}], "rulesSource": "", "ssoEnabled": False,
        "tags": [], "v4AssignMode": {"zt": False}, "v6AssignMode": {"6plane": False, "rfc4193": False, "zt": False},
    }  # fmt: skip


def _is_address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)
