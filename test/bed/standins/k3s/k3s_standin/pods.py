"""The pod: Traefik in a network namespace of its own, a veth away on cni0, and the NodePorts that lead to it.

Held here: a pod that runs is never touched by an agent's start, unless the node's pod network changed.
"""
import ipaddress
import select
import shutil

from . import knobs, log, network

POD = "traefik"
PROXY = "nodeports"
TABLE = "k3s-standin"
# terminationGracePeriodSeconds' default
GRACE_S = 30


class PodError(Exception):
    pass


def _expect(child, word):
    """Waits up to 10 s for one line from the child."""
    ready, _, _ = select.select([child.stdout], [], [], 10)
    line = child.stdout.readline().decode().strip() if ready else ""
    if line != word:
        child.kill()
        raise PodError(f"pod said '{line}' instead of '{word}'")


def ensure(children, flannel):
    """Starts the pod where it does not run; returns its pid and address."""
    record = children.read(POD)
    if record is not None and record["podCIDR"] == str(flannel.subnet):
        return record["pid"], record["address"]
    children.kill(POD)
    address = str(flannel.subnet[2])
    child = children.start(POD, "standin-pod", f"{address}/{flannel.subnet.prefixlen}", flannel.gateway, children.folder)
    _expect(child, "namespace")
    veth = f"veth{child.pid:08x}"
    network.run(
        "ip", "link", "add", veth, "mtu", str(flannel.mtu), "type", "veth",
        "peer", "name", "eth0", "mtu", str(flannel.mtu), "netns", str(child.pid),
    )  # fmt: skip
    network.run("ip", "link", "set", veth, "master", network.BRIDGE, "up")
    child.stdin.write(b"go\n")
    child.stdin.close()
    _expect(child, "serving")
    child.stdout.close()
    children.write(POD, child.pid, podCIDR=str(flannel.subnet), address=address)
    log.info(f"Started container traefik, pid {child.pid}, at {address}")
    return child.pid, address


def end(children):
    """As a kubelet after an eviction: SIGTERM, SIGKILL where that was not enough."""
    record = children.read(POD)
    if record is not None:
        log.info(f"Stopping container traefik, pid {record['pid']}")
    children.end(POD, GRACE_S)


def ruleset(address, ports, node_ip):
    """kube-proxy's NodePorts, and its masquerade; no IPv6, as with an IPv4 cluster. `ports`: (protocol, NodePort, port of the pod).

    In iptables mode they are for all local addresses of the node, in nftables mode for its address in the cluster alone.
    Without a pod (None) the ports lead nowhere, and the hooks stay for connections that are still open.
    """
    rules = "\n".join(f"{proto} dport {port} dnat to {address}:{to}" for proto, port, to in ports if address)
    local = f"ip daddr {node_ip}" if knobs.read()["kubeProxy"] == "nftables" else "fib daddr type local"
    masquerade = f"ct status dnat ip daddr {address} masquerade" if address else ""
    pods = ipaddress.ip_network("10.42.0.0/16")
    return f"""add table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
chain nodeports {{
{rules}
}}
chain output {{
type nat hook output priority -100;
{local} jump nodeports
}}
chain prerouting {{
type nat hook prerouting priority -100;
{local} jump nodeports
}}
chain postrouting {{
type nat hook postrouting priority 100;
{masquerade}
ip saddr {pods} ip daddr != {pods} ip daddr != 224.0.0.0/4 masquerade
}}
}}
"""


def drop_rules():
    """Removes the NodePort rules, where there are any."""
    if shutil.which("nft"):
        network.run("nft", "-f", "-", stdin=f"add table ip {TABLE}\ndelete table ip {TABLE}\n")


def ensure_node_ports(children, address, node_ports, node_ip):
    """By nftables where that works, else by a process that listens and connects from cni0's address."""
    choice = knobs.read()["nodePorts"]
    if choice == "userland":
        drop_rules()
    if choice != "userland":
        try:
            network.run("nft", "-f", "-", stdin=ruleset(address, node_ports, node_ip))
            children.kill(PROXY)
            return
        except network.NetworkError as error:
            if choice == "nft":
                raise
            log.warning(f"no nftables, NodePorts come from a process: {error}")
    record = children.read(PROXY)
    ports = [f"{proto}:{port}:{to}" for proto, port, to in node_ports]
    if record is not None and (record["address"], record.get("ports")) == (address, ports):
        return
    children.kill(PROXY)
    if address is None:
        return
    child = children.start(PROXY, "standin-nodeports", address, *ports)
    child.stdin.close()
    _expect(child, "serving")
    child.stdout.close()
    children.write(PROXY, child.pid, address=address, ports=ports)
