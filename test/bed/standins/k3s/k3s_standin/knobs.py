"""The test's hands on the stand-in: a JSON file outside k3s' own folders, read again each time it is asked.

$K3S_STANDIN_ROOT is put before every absolute path (so that a test can run on the host without touching its /etc);
$K3S_STANDIN_CONFIG names the file, /etc/k3s-standin.json by default. A missing file means the defaults.
"""
import json
import os

DEFAULTS = {
    "version": "v1.36.3+k3s1",
    # What happens when flannel.1 disappears under a running agent: ignore | recreate | panic
    "flannelLoss": "ignore",
    # Seconds between joining and READY=1, for a slow start.
    "readyDelayS": 0,
    # Seconds between READY=1 and flannel.1; negative: before READY=1.
    "flannelDelayS": -1,
    "heartbeatS": 2,
    # Whether Traefik's entry points understand the PROXY protocol (from the pod network, as trustedIPs would be set).
    "proxyProtocol": {"http": False, "https": False},
    # nft, userland, or auto: nft where it works.
    "nodePorts": "auto",
    # iptables: NodePorts at all local addresses, 127.0.0.1 too; nftables: at the node's own address alone. Heeded at the agent's start
    # and with each change of a NodePort.
    "kubeProxy": "iptables",
    # Seconds until a changed NodePort is in force.
    "nodePortDelayS": 1,
}


def root(path):
    return os.environ.get("K3S_STANDIN_ROOT", "") + path


def read():
    path = os.environ.get("K3S_STANDIN_CONFIG") or root("/etc/k3s-standin.json")
    try:
        with open(path, encoding="utf-8") as file:
            return {**DEFAULTS, **json.load(file)}
    except FileNotFoundError:
        return dict(DEFAULTS)
