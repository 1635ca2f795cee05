"""The pods that the server bound to a node, and what cordon and eviction do to them. Kept in the node's entry of nodes.json.

Must always hold: the Deployment's pod is put on a node only while that may be scheduled to, the DaemonSet's whenever it is
missing; a pod that is being deleted goes only when its kubelet says that it has ended.
"""
import secrets

# The Deployment's pod is the one with a process behind it; of the DaemonSet's there is the object alone.
DEPLOYED = {"namespace": "kube-system", "owner": "ReplicaSet", "prefix": "traefik-5a1d0e2fbc-"}
DAEMON = {"namespace": "monitoring", "owner": "DaemonSet", "prefix": "node-exporter-"}


def schedule(entry):
    """What scheduler and DaemonSet controller do at each look."""
    pods = entry.setdefault("pods", [])
    for kind in (DEPLOYED, DAEMON):
        is_there = any(pod["owner"] == kind["owner"] for pod in pods)
        if not is_there and (kind is DAEMON or not entry.get("unschedulable")):
            name = kind["prefix"] + secrets.token_hex(3)[:5]
            pods.append({"name": name, "namespace": kind["namespace"], "owner": kind["owner"], "deleting": False})


def ended(entry, names):
    """The kubelet has ended these; only what is being deleted goes."""
    entry["pods"] = [pod for pod in entry.get("pods", []) if not (pod["deleting"] and pod["name"] in names)]


def document(pod, node):
    """The pod as the API tells it."""
    metadata = {
        "name": pod["name"],
        "namespace": pod["namespace"],
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": pod["owner"], "name": pod["name"].rpartition("-")[0], "controller": True}],
    }
    if pod["deleting"]:
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": {"phase": "Running"}}
