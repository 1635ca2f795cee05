"""Kubelet's rules for the labels and taints a node gives itself. Breaking one ends the kubelet, and k3s with it."""
import re

ALLOWED = {
    "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch", "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type", "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
}  # fmt: skip
NAME = re.compile(r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
TAINT = re.compile(r"^([^=:]+)(=[^:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$")


def parse_labels(pairs):
    """['a=b'] -> {'a': 'b'}; a later one wins."""
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def refusal(labels, taints):
    """The kubelet's complaint, or None."""
    unknown = sorted(key for key in labels if _reserved(key) and not _allowed(key))
    if unknown:
        return (
            "failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: "
            f"[{' '.join(unknown)}]\n--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix "
            "(kubelet.kubernetes.io, node.kubernetes.io) or be in the specifically allowed set"
        )
    for key, value in labels.items():
        if not NAME.match(key) or not VALUE.match(value):
            return f"failed to validate kubelet flags: invalid --node-labels entry {key}={value}"
    for taint in taints:
        match = TAINT.match(taint)
        if not match or not NAME.match(match[1]):
            return f'failed to parse kubelet flag: invalid argument "{taint}" for "--register-with-taints" flag: invalid taint spec'
    return None


def _reserved(key):
    namespace = key.partition("/")[0] if "/" in key else ""
    return any(namespace == domain or namespace.endswith("." + domain) for domain in ("kubernetes.io", "k8s.io"))


def _allowed(key):
    namespace = key.partition("/")[0]
    prefixes = ("kubelet.kubernetes.io", "node.kubernetes.io")
    return key in ALLOWED or any(namespace == prefix or namespace.endswith("." + prefix) for prefix in prefixes)
