"""The cluster's Services: Traefik's, as k3s installs it, and whatever a test adds, kept in services.json. Who watches is told of
each change.

Must always hold: each change has a version of its own; a watch begins at the version that it names, or is told that this is
forgotten. Specs are the test's to spoil: nothing here looks into those that are not Traefik's.
"""
import json
import os
import threading
import time

TRAEFIK = ("kube-system", "traefik")
# Name, port, protocol, NodePort as k3s drew it, port of the pod; HTTP/3 shares the NodePort of HTTPS, as Traefik's chart has it.
PORTS = (("web", 80, "TCP", 31693, 8000), ("websecure", 443, "TCP", 30484, 8443), ("websecure-http3", 443, "UDP", 30484, 8443))
# A real server sends one each minute.
BOOKMARK_S = 5


def _spec(node_ports):
    ports = [
        {"name": name, "port": port, "protocol": protocol, "targetPort": target, "nodePort": node_ports.get(name, usual)}
        for name, port, protocol, usual, target in PORTS
    ]
    return {"type": "LoadBalancer", "clusterIP": "10.43.91.7", "ports": ports}


class Services:
    def __init__(self, folder):
        self.path = os.path.join(folder, "services.json")
        self.changed = threading.Condition()
        self.version = 1000
        self.found = {}
        self.events = []
        # Counts the times that all watches were cut.
        self.cuts = 0
        self.watching = 0
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                kept = json.load(file)
            self.version = kept["version"]
            self.found = {tuple(key.split("/")): one for key, one in kept["found"].items()}
        else:
            self.put(TRAEFIK, _spec({}))
        self.forgotten = self.version

    def put(self, key, spec):
        """Makes it, or changes it."""
        with self.changed:
            kind = "MODIFIED" if key in self.found else "ADDED"
            self.version += 1
            metadata = {"namespace": key[0], "name": key[1], "resourceVersion": str(self.version)}
            self._tell(kind, key, {"kind": "Service", "apiVersion": "v1", "metadata": metadata, "spec": spec})

    def move(self, node_ports):
        """Gives ports of Traefik's other NodePorts, by their names."""
        with self.changed:
            now = {port["name"]: port["nodePort"] for port in self.found[TRAEFIK]["spec"]["ports"]}
            self.put(TRAEFIK, _spec({**now, **node_ports}))

    def delete(self, key):
        with self.changed:
            if key not in self.found:
                return False
            self.version += 1
            last = self.found.pop(key)
            metadata = {**last["metadata"], "resourceVersion": str(self.version)}
            self._tell("DELETED", key, {**last, "metadata": metadata})
            return True

    def _tell(self, kind, key, document):
        if kind != "DELETED":
            self.found[key] = document
        self.events.append((self.version, kind, key, document))
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump({"version": self.version, "found": {"/".join(one): document for one, document in self.found.items()}}, file)
        os.rename(self.path + ".new", self.path)
        self.changed.notify_all()

    def cut(self):
        """Ends the connections of all watches, in the middle of them."""
        with self.changed:
            self.cuts += 1
            self.changed.notify_all()

    def forget(self):
        """As after a compaction: watches from before now are gone (410)."""
        with self.changed:
            self.events = []
            self.version += 1
            self.forgotten = self.version

    def list(self, namespace, name):
        """(version, documents); a name of None stands for all."""
        with self.changed:
            return self.version, [one for key, one in sorted(self.found.items()) if key[0] == namespace and name in (None, key[1])]

    def node_ports(self, after=0, wait_s=0):
        """What kube-proxy follows: the version, and (protocol, NodePort, port of the pod). Waits for another version than `after`."""
        with self.changed:
            self.changed.wait_for(lambda: self.version != after, wait_s)
            found = self.found.get(TRAEFIK, {}).get("spec", {}).get("ports") or []
            ports = [
                [str(port["protocol"]).lower(), port["nodePort"], port["targetPort"]]
                for port in found
                if isinstance(port.get("nodePort"), int) and 0 < port["nodePort"] < 65536 and "targetPort" in port
            ]
            return {"version": self.version, "ports": ports}

    def watch(self, namespace, name, version, timeout_s, bookmarks):
        """Lines until the time is over; None in their place where the connection is to be cut."""
        with self.changed:
            cuts, end = self.cuts, time.monotonic() + timeout_s
            if version < self.forgotten:
                status = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"}
                yield _line("ERROR", status)
                return
            self.watching += 1
        try:
            next_bookmark = time.monotonic() + BOOKMARK_S
            while time.monotonic() < end:
                with self.changed:
                    until = min(end, next_bookmark) - time.monotonic()
                    self.changed.wait_for(lambda: self.cuts != cuts or self.version > version, max(0.0, until))
                    fresh = [event for event in self.events if event[0] > version]
                    version, is_cut = self.version, self.cuts != cuts
                if is_cut:
                    yield None
                    return
                for _, kind, key, document in fresh:
                    if key[0] == namespace and name in (None, key[1]):
                        yield _line(kind, document)
                if bookmarks and time.monotonic() >= next_bookmark:
                    next_bookmark = time.monotonic() + BOOKMARK_S
                    yield _line("BOOKMARK", {"kind": "Service", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}})
        finally:
            with self.changed:
                self.watching -= 1


def _line(kind, document):
    return json.dumps({"type": kind, "object": document}) + "\n"
