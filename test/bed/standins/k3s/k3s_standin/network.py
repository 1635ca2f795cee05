"""The node's network as k3s' flannel and CNI plugins leave it: flannel.1, cni0, routes to remote pod networks, subnet.env.

Everything outlives the agent. A device that already fits is kept as it is, as flannel keeps it; one that differs is replaced.
"""
import ipaddress
import json
import os
import socket
import subprocess

from . import knobs, log

VXLAN = "flannel.1"
BRIDGE = "cni0"


class NetworkError(Exception):
    pass


def run(*command, stdin=None):
    """Runs a command within 10 s; returns stdout, throws NetworkError with its stderr."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NetworkError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise NetworkError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def exists(interface):
    try:
        socket.if_nametoindex(interface)
    except OSError:
        return False
    return True


def link(interface):
    """The device as `ip` tells it, or None."""
    return json.loads(run("ip", "-j", "-d", "link", "show", "dev", interface))[0] if exists(interface) else None


def addresses(interface):
    """Global addresses of a device, as strings."""
    told = json.loads(run("ip", "-j", "addr", "show", "dev", interface))
    return [entry["local"] for item in told for entry in item.get("addr_info", []) if entry.get("scope") == "global"]


class Flannel:
    """flannel.1 and what hangs on it, for one node address and pod network."""

    def __init__(self, interface, node_ip, pod_cidr):
        self.interface = interface
        self.node_ip = node_ip
        self.subnet = ipaddress.ip_network(pod_cidr)
        self.gateway = str(self.subnet[1])
        self.mtu = 1450
        self.known = {}

    def set_up(self):
        parent = link(self.interface)
        if parent is None:
            raise NetworkError(f"failed to find interface {self.interface}")
        self.mtu = parent["mtu"] - 50
        self.known = {}
        current = link(VXLAN)
        if current is not None and not self._fits(current):
            run("ip", "link", "delete", VXLAN)
            current = None
        if current is None:
            run(
                "ip", "link", "add", VXLAN, "mtu", str(self.mtu), "type", "vxlan", "id", "1", "dev", self.interface,
                "local", self.node_ip, "dstport", "8472", "nolearning",
            )  # fmt: skip
        run("ip", "link", "set", VXLAN, "mtu", str(self.mtu), "up")
        own = str(self.subnet[0])
        for address in addresses(VXLAN):
            if address != own and ":" not in address:
                run("ip", "addr", "del", f"{address}/32", "dev", VXLAN)
        run("ip", "addr", "replace", f"{own}/32", "dev", VXLAN)
        self._write_subnet_file()

    def set_up_bridge(self):
        if not exists(BRIDGE):
            run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "mtu", str(self.mtu), "up")
        if addresses(BRIDGE) != [self.gateway]:
            run("ip", "-4", "addr", "flush", "dev", BRIDGE)
            run("ip", "addr", "add", f"{self.gateway}/{self.subnet.prefixlen}", "dev", BRIDGE)

    def mac(self):
        told = link(VXLAN)
        return told["address"] if told else ""

    def learn(self, leases):
        """Routes to the other nodes. Only news is acted on: a route that somebody removed stays away, as with flannel."""
        wanted = {lease["podCIDR"]: lease for lease in leases}
        for cidr, lease in wanted.items():
            if self.known.get(cidr) != lease and exists(VXLAN):
                via = str(ipaddress.ip_network(cidr)[0])
                if lease["vtepMAC"]:
                    run("ip", "neigh", "replace", via, "lladdr", lease["vtepMAC"], "dev", VXLAN, "nud", "permanent")
                    run("bridge", "fdb", "replace", lease["vtepMAC"], "dev", VXLAN, "dst", lease["publicIP"])
                run("ip", "route", "replace", cidr, "via", via, "dev", VXLAN, "onlink")
                self.known[cidr] = lease
        for cidr in set(self.known) - set(wanted):
            if exists(VXLAN) and run("ip", "route", "show", cidr, "dev", VXLAN):
                run("ip", "route", "del", cidr, "dev", VXLAN)
            del self.known[cidr]

    def _fits(self, current):
        data = current.get("linkinfo", {}).get("info_data", {})
        return (
            data.get("link") == self.interface
            and data.get("local") == self.node_ip
            and data.get("id") == 1
            and data.get("port") == 8472
        )

    def _write_subnet_file(self):
        folder = knobs.root("/run/flannel")
        os.makedirs(folder, exist_ok=True)
        text = (
            f"FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET={self.gateway}/{self.subnet.prefixlen}\n"
            f"FLANNEL_MTU={self.mtu}\nFLANNEL_IPMASQ=true\n"
        )
        with open(f"{folder}/.subnet.env", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(f"{folder}/.subnet.env", f"{folder}/subnet.env")


def set_sysctl(path, value):
    """Writes a /proc/sys file. A container's /proc/sys may be read-only: then through a proc of its own, in a mount namespace."""
    try:
        with open(path, "r+", encoding="utf-8") as file:
            if file.read().strip() != value:
                file.seek(0)
                file.write(value)
    except OSError:
        try:
            run("unshare", "--mount", "sh", "-c", f"mount -t proc proc /proc && echo {value} >{path}")
        except NetworkError as error:
            log.warning(f"Failed to set sysctl: {error}")


def configure_kernel():
    """What k3s and kube-proxy set at each start."""
    set_sysctl("/proc/sys/net/ipv4/ip_forward", "1")
    set_sysctl("/proc/sys/net/ipv4/conf/all/route_localnet", "1")
