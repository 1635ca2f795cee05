"""The Kubernetes API as far as the nodes: `GET /api/v1/nodes` page by page, and one by name, for those who show a certificate.

Must always hold: who may see what is as in Kubernetes. Since 1.32 a kubelet sees its own Node alone, and k3s' agent has a
second identity that sees all (`controller`); before that both did (`kubelet`); `nobody` takes it from both.
"""
import base64
import binascii
import urllib.parse

ACCESS = ("controller", "kubelet", "nobody")
PREFIX = "flannel.alpha.coreos.com/"


def user_of(certificate):
    """The common name in a certificate as Python's ssl tells it, or None."""
    names = dict(pair for part in (certificate or {}).get("subject", ()) for pair in part)
    return names.get("commonName")


def answer(home, certificate, target):
    """(status, document) for a GET of `target`."""
    parts = urllib.parse.urlsplit(target)
    user = user_of(certificate)
    if user is None:
        return _status(401, "Unauthorized")
    path, nodes = parts.path.removeprefix("/api/v1/nodes"), home.nodes.objects()
    if not parts.path.startswith("/api/v1/nodes") or (path and not path.startswith("/")):
        return _status(404, "the server could not find the requested resource")
    name = urllib.parse.unquote(path[1:])
    if not _may_see(home.access, user, name):
        return _status(403, f'nodes is forbidden: User "{user}" cannot list resource "nodes" in API group "" at the cluster scope')
    found = [_document(node) for node in nodes if not name or node["name"] == name]
    if name:
        return (200, {"kind": "Node", "apiVersion": "v1", **found[0]}) if found else _status(404, f'nodes "{name}" not found')
    return _page(found, urllib.parse.parse_qs(parts.query))


def _may_see(access, user, name):
    if user.startswith("system:node:"):
        return access == "kubelet" or (name != "" and user == f"system:node:{name}")
    return user == "system:k3s-controller" and access != "nobody"


def _page(found, query):
    limit = int(query.get("limit", ["0"])[0]) or len(found)
    try:
        first = int(base64.b64decode(query.get("continue", ["MA=="])[0], validate=True))
    except (binascii.Error, ValueError):
        return _status(400, "continue key is not valid")
    rest = first + limit < len(found)
    token = base64.b64encode(str(first + limit).encode()).decode() if rest else ""
    return 200, {
        "kind": "NodeList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "1", **({"continue": token} if rest else {})},
        "items": found[first : first + limit],
    }


def _document(node):
    registered = {
        PREFIX + "backend-data": f'{{"VNI":1,"VtepMAC":"{node["vtepMAC"]}"}}',
        PREFIX + "backend-type": "vxlan",
        PREFIX + "kube-subnet-manager": "true",
        PREFIX + "public-ip": node["publicIP"],
    }
    return {
        "metadata": {"name": node["name"], "annotations": registered if node["vtepMAC"] else {}},
        "spec": {"podCIDR": node["podCIDR"], "podCIDRs": [node["podCIDR"]]},
        "status": {"conditions": [{"type": "Ready", "status": "True" if node["ready"] else "Unknown"}]},
    }


def _status(code, message):
    return code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code}
