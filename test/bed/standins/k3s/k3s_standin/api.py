"""The Kubernetes API as far as nodes, their pods and Services, for those who show a certificate: lists page by page, a Node by name,
cordon (PATCH of spec.unschedulable) and eviction; Services in a list or a watch.

Must always hold: who may do what is as in Kubernetes. Since 1.32 a kubelet sees its own Node and its own pods alone, and k3s'
agent has a second identity that sees all (`controller`); before that both did (`kubelet`); `nobody` takes the nodes from both. Services are for a kubelet to see.
Writing is the kubelet's, and to its own Node and pods alone, but never to the Node's taints (NodeRestriction).
"""
import base64
import binascii
import json
import re
import typing
import urllib.parse

ACCESS = ("controller", "kubelet", "nobody")
# Whom it lets see Services.
SERVICE_ACCESS = ("kubelet", "controller", "nobody")
# Whether the disruption budget of the pods still allows an eviction.
BUDGETS = ("free", "spent")
PREFIX = "flannel.alpha.coreos.com/"
PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
KUBELET = "system:node:"
SERVICES = re.compile(r"/api/v1/namespaces/([^/]+)/services(?:/([^/]+))?")
EVICTION = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/]+)/eviction")


class Request(typing.NamedTuple):
    verb: str
    target: str
    content_type: str
    body: str


def user_of(certificate):
    """The common name in a certificate as Python's ssl tells it, or None."""
    names = dict(pair for part in (certificate or {}).get("subject", ()) for pair in part)
    return names.get("commonName")


def answer(home, certificate, request):
    """(status, document) for a request; for a watch the lines that its events are, None where it is to be cut."""
    parts = urllib.parse.urlsplit(request.target)
    path, query = urllib.parse.unquote(parts.path), urllib.parse.parse_qs(parts.query)
    user = user_of(certificate)
    if user is None or home.is_revoked(certificate):
        return _status(401, "Unauthorized")
    services = SERVICES.fullmatch(path)
    if services:
        return _services(home, user, query, *services.groups()) if request.verb == "GET" else _no_such_verb()
    eviction = EVICTION.fullmatch(path)
    if eviction:
        return _evict(home, user, request, *eviction.groups()) if request.verb == "POST" else _no_such_verb()
    if path == "/api/v1/pods":
        return _pods(home, user, query) if request.verb == "GET" else _no_such_verb()
    if path != "/api/v1/nodes" and not path.startswith("/api/v1/nodes/"):
        return _status(404, "the server could not find the requested resource")
    name = path.removeprefix("/api/v1/nodes").lstrip("/")
    if name and request.verb == "PATCH":
        return _patch_node(home, user, request, name)
    return _nodes(home, user, query, name) if request.verb == "GET" else _no_such_verb()


def _nodes(home, user, query, name):
    if not _may_see(home.access, user, name):
        return _forbidden(f'nodes is forbidden: User "{user}" cannot list resource "nodes" in API group "" at the cluster scope')
    found = [_document(node) for node in home.nodes.objects() if not name or node["name"] == name]
    if name:
        return (200, {"kind": "Node", "apiVersion": "v1", **found[0]}) if found else _status(404, f'nodes "{name}" not found')
    return _page("NodeList", found, query)


def _services(home, user, query, namespace, name):
    is_kubelet = user.startswith(KUBELET)
    if home.service_access != ("kubelet" if is_kubelet else "controller"):
        return _forbidden(f'services is forbidden: User "{user}" cannot list resource "services" in API group "" in the namespace "{namespace}"')
    field, _, wanted = query.get("fieldSelector", [""])[0].partition("=")
    if field not in ("", "metadata.name"):
        return _status(400, f'field label not supported: "{field}"')
    wanted = name or wanted or None
    if query.get("watch", [""])[0] in ("true", "1") and not name:
        version, seconds = query.get("resourceVersion", ["0"])[0], query.get("timeoutSeconds", ["1800"])[0]
        if not version.isdigit() or not seconds.isdigit():
            return _status(400, "resourceVersion or timeoutSeconds is no number")
        bookmarks = query.get("allowWatchBookmarks", [""])[0] in ("true", "1")
        return 200, home.services.watch(namespace, wanted, int(version), int(seconds), bookmarks)
    version, found = home.services.list(namespace, wanted)
    if name:
        return (200, found[0]) if found else _status(404, f'services "{name}" not found')
    return 200, {"kind": "ServiceList", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "items": found}


def _may_see(access, user, name):
    if user.startswith(KUBELET):
        return access == "kubelet" or (name != "" and user == KUBELET + name)
    return user == "system:k3s-controller" and access != "nobody"


def _patch_node(home, user, request, name):
    if not user.startswith(KUBELET):
        return _forbidden(f'nodes "{name}" is forbidden: User "{user}" cannot patch resource "nodes" in API group "" at the cluster scope')
    own = user.removeprefix(KUBELET)
    if request.content_type not in PATCHES:
        return _status(415, f"the body of the request was in an unknown format - accepted media types include: {', '.join(PATCHES)}")
    change = _object(request.body)
    spec = (change or {}).get("spec")
    if not isinstance(spec, dict):
        return _status(400, "the body is no patch of a spec")
    if own != name:
        return _forbidden(f'nodes "{name}" is forbidden: node "{own}" is not allowed to modify node "{name}"')
    if "taints" in spec:
        return _forbidden(f'nodes "{name}" is forbidden: node "{own}" is not allowed to modify taints')
    value = spec.get("unschedulable")
    if set(change) != {"spec"} or set(spec) != {"unschedulable"} or not (value is None or isinstance(value, bool)):
        return _status(501, "the stand-in patches nothing but spec.unschedulable")
    if not home.nodes.set_unschedulable(name, bool(value)):
        return _status(404, f'nodes "{name}" not found')
    return _nodes(home, user, {}, name)


def _pods(home, user, query):
    selector = query.get("fieldSelector", [""])[0]
    chosen = re.fullmatch(r"spec\.nodeName==?([^,=]+)", selector)
    if selector and not chosen:
        return _status(400, f'Unable to find "/v1, Resource=pods" that match field selector "{selector}": the stand-in knows spec.nodeName')
    node = chosen.group(1) if chosen else None
    forbidden = f'pods is forbidden: User "{user}" cannot list resource "pods" in API group "" at the cluster scope'
    if user.startswith(KUBELET) and home.access != "kubelet" and node != user.removeprefix(KUBELET):
        return _forbidden(f"{forbidden}: can only list/watch pods with spec.nodeName field selector")
    if not user.startswith(KUBELET) and user != "system:k3s-controller":
        return _forbidden(forbidden)
    return _page("PodList", home.nodes.pods(node), query)


def _evict(home, user, request, namespace, name):
    named = f'pods "{name}" is forbidden:'
    if not user.startswith(KUBELET):
        return _forbidden(f'{named} User "{user}" cannot create resource "pods/eviction" in API group "" in the namespace "{namespace}"')
    eviction = _object(request.body)
    if request.content_type != "application/json" or not eviction or eviction.get("kind") != "Eviction":
        return _status(400, "the body is no Eviction")
    metadata = eviction.get("metadata")
    if eviction.get("apiVersion") != "policy/v1" or not isinstance(metadata, dict) or metadata.get("name") != name:
        return _status(400, "name in URL does not match name in Eviction object, or its version is not policy/v1")
    found = [pod for pod in home.nodes.pods() if (pod["metadata"]["namespace"], pod["metadata"]["name"]) == (namespace, name)]
    if not found:
        return _status(404, f'pods "{name}" not found')
    own = user.removeprefix(KUBELET)
    if found[0]["spec"]["nodeName"] != own:
        return _forbidden(f"{named} node {own} can only evict pods with spec.nodeName set to itself")
    # A pod that is on its way out no longer counts.
    if home.budget == "spent" and "deletionTimestamp" not in found[0]["metadata"]:
        return _status(429, "Cannot evict pod as it would violate the pod's disruption budget.")
    home.nodes.delete_pod(namespace, name)
    return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _object(text):
    """The JSON object in a body, or None."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _page(kind, found, query):
    limit = int(query.get("limit", ["0"])[0]) or len(found)
    try:
        first = int(base64.b64decode(query.get("continue", ["MA=="])[0], validate=True))
    except (binascii.Error, ValueError):
        return _status(400, "continue key is not valid")
    rest = first + limit < len(found)
    token = base64.b64encode(str(first + limit).encode()).decode() if rest else ""
    return 200, {
        "kind": kind,
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
    cordoned = {"unschedulable": True, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}
    return {
        "metadata": {"name": node["name"], "annotations": registered if node["vtepMAC"] else {}},
        "spec": {
            "podCIDR": node["podCIDR"],
            "podCIDRs": [node["podCIDR"]],
            **(cordoned if node.get("unschedulable") else {}),
        },
        "status": {"conditions": [{"type": "Ready", "status": "True" if node["ready"] else "Unknown"}]},
    }


def _forbidden(message):
    return _status(403, message)


def _no_such_verb():
    return _status(405, "the server does not allow this method on the requested resource")


def _status(code, message):
    return code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code}
