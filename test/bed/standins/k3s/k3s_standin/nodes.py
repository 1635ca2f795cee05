"""The cluster's nodes as the home side knows them, kept in nodes.json: pod networks and node passwords survive a restart.

Must always hold: a node's name keeps its pod network and its password until the node is deleted.
"""
import hashlib
import hmac
import json
import os
import threading
import time

from . import bound


class Nodes:
    def __init__(self, folder, server_ip, grace_s):
        self.path = os.path.join(folder, "nodes.json")
        self.grace_s = grace_s
        self.lock = threading.Lock()
        self.server = {"podCIDR": "10.42.0.0/24", "publicIP": server_ip, "vtepMAC": "5a:1d:0e:2f:00:01"}
        self.nodes = {}
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.nodes = json.load(file)

    def _save(self):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.nodes, file, indent=1)
        os.rename(self.path + ".new", self.path)

    def admit(self, name, password):
        """Whether this password owns the name; the first one that comes does."""
        digest = hashlib.sha256(password.encode()).hexdigest()
        with self.lock:
            if name not in self.nodes:
                taken = {node["podCIDR"] for node in self.nodes.values()}
                free = next(f"10.42.{n}.0/24" for n in range(1, 255) if f"10.42.{n}.0/24" not in taken)
                self.nodes[name] = {"passwordHash": digest, "podCIDR": free, "joins": 0, "lastSeen": 0, "spec": {}}
                self._save()
            return hmac.compare_digest(self.nodes[name]["passwordHash"], digest)

    def report(self, name, spec):
        """A registration or heartbeat; returns what the node needs to know."""
        with self.lock:
            node = self.nodes[name]
            before = json.dumps(node, sort_keys=True)
            bound.ended(node, spec.pop("endedPods", []))
            bound.schedule(node)
            node["joins"] += 1 if spec.pop("joining", False) else 0
            # As Kubernetes: from the first registration, and never another; k3s fills it where it is empty.
            spec["providerID"] = node["spec"].get("providerID") or spec.get("providerID") or f"k3s://{name}"
            node["spec"] = spec
            has_changed = json.dumps(node, sort_keys=True) != before
            node["lastSeen"] = time.time()
            if has_changed:
                self._save()
            others = [self._lease(other) for key, other in self.nodes.items() if key != name and other["spec"]]
            return {"podCIDR": node["podCIDR"], "leases": [self.server, *others], "pods": list(node["pods"])}

    @staticmethod
    def _lease(node):
        public = next((address for address in node["spec"]["nodeIPs"] if ":" not in address), "")
        return {"podCIDR": node["podCIDR"], "publicIP": public, "vtepMAC": node["spec"]["vtepMAC"]}

    def list(self):
        """The nodes as `kubectl get nodes` would know them."""
        now = time.time()
        with self.lock:
            return [
                {
                    "name": name,
                    "ready": bool(node["spec"]) and now - node["lastSeen"] <= self.grace_s,
                    "joins": node["joins"],
                    "podCIDR": node["podCIDR"],
                    "internalIPs": node["spec"].get("nodeIPs", []),
                    "externalIPs": node["spec"].get("externalIPs", []),
                    "labels": {
                        "node.kubernetes.io/instance-type": "k3s",
                        "kubernetes.io/hostname": name,
                        "kubernetes.io/os": "linux",
                        **node["spec"].get("labels", {}),
                    },
                    "taints": node["spec"].get("taints", []),
                    "unschedulable": node.get("unschedulable", False),
                    "pods": [f"{pod['namespace']}/{pod['name']}" for pod in node.get("pods", [])],
                    "providerID": node["spec"].get("providerID", ""),
                    "vtepMAC": node["spec"].get("vtepMAC", ""),
                    "version": node["spec"].get("version", ""),
                    "lastSeenAgoMs": round((now - node["lastSeen"]) * 1000),
                }
                for name, node in sorted(self.nodes.items())
            ]

    def objects(self):
        """What the Kubernetes API tells of each node, the pretended server's first."""
        server = {"name": "server", "ready": True, **self.server}
        listed = {node["name"]: node["ready"] for node in self.list()}
        with self.lock:
            return [
                server,
                *(
                    {
                        "name": name,
                        "ready": listed.get(name, False),
                        "unschedulable": node.get("unschedulable", False),
                        **self._lease(node),
                    }
                    for name, node in sorted(self.nodes.items())
                    if node["spec"]
                ),
            ]

    def add_peer(self, name):
        """A node without an agent behind it: it stands in the list, and the others get a route to it."""
        with self.lock:
            taken = {node["podCIDR"] for node in self.nodes.values()}
            last = next(n for n in range(1, 255) if f"10.42.{n}.0/24" not in taken)
            spec = {"nodeIPs": [f"10.45.0.{last}"], "vtepMAC": f"5a:1d:0e:2f:01:{last:02x}"}
            entry = {"passwordHash": "", "podCIDR": f"10.42.{last}.0/24", "joins": 0, "lastSeen": 0, "spec": spec}
            self.nodes[name] = entry
            self._save()
            return entry["podCIDR"]

    def set_unschedulable(self, name, value):
        """As `kubectl cordon` and `uncordon`; False where there is no such node."""
        with self.lock:
            if name in self.nodes:
                self.nodes[name]["unschedulable"] = value
                self._save()
            return name in self.nodes

    def pods(self, name=None):
        """The pods on one node, or on all."""
        with self.lock:
            return [
                bound.document(pod, key)
                for key, node in sorted(self.nodes.items())
                if name in (None, key)
                for pod in node.get("pods", [])
            ]

    def delete_pod(self, namespace, name):
        """Marks it; it goes when its kubelet has ended it."""
        with self.lock:
            for node in self.nodes.values():
                for pod in node.get("pods", []):
                    if (pod["namespace"], pod["name"]) == (namespace, name):
                        pod["deleting"] = True
            self._save()

    def delete(self, name):
        """As `kubectl delete node`: its password goes with it."""
        with self.lock:
            found = self.nodes.pop(name, None) is not None
            self._save()
            return found
