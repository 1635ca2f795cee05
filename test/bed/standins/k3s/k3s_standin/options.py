"""Options of `k3s agent`: config.yaml, config.yaml.d/*.yaml, then the command line, merged by k3s' rules.

Held here, as read in k3s' pkg/configfilearg: drop-ins come in name order; a key replaces what earlier files said, `key+`
appends to it; the files become flags *before* those of the command line, so a later single value wins and lists grow.
An unknown option in a file is skipped with a warning; on the command line it is fatal.
"""
import os

from . import knobs, log, yaml_subset

LISTS = {
    "node-ip", "node-external-ip", "node-label", "node-taint", "kubelet-arg", "kube-proxy-arg",
    "airgap-extra-registry", "node-internal-dns", "node-external-dns",
}  # fmt: skip
BOOLS = {
    "with-node-id", "debug", "alsologtostderr", "selinux", "protect-kernel-defaults", "docker", "rootless", "no-flannel",
    "prefer-bundled-bin", "disable-selinux", "disable-default-registry-endpoint", "nonroot-devices",
    "disable-apiserver-lb", "enable-pprof",
}  # fmt: skip
STRINGS = {
    "config", "token", "token-file", "server", "data-dir", "node-name", "flannel-iface", "flannel-conf", "flannel-cni-conf",
    "resolv-conf", "lb-server-port", "bind-address", "container-runtime-endpoint", "image-service-endpoint", "pause-image",
    "snapshotter", "private-registry", "system-default-registry", "image-credential-provider-bin-dir",
    "image-credential-provider-config", "vpn-auth", "vpn-auth-file", "cluster-secret", "v", "vmodule", "log",
}  # fmt: skip
ALIASES = {"c": "config", "t": "token", "s": "server", "d": "data-dir", "i": "node-ip", "l": "log"}
ENVIRONMENT = {
    "K3S_TOKEN": "token", "K3S_TOKEN_FILE": "token-file", "K3S_URL": "server", "K3S_NODE_NAME": "node-name",
}  # fmt: skip


class OptionError(Exception):
    pass


def known(name):
    return name in LISTS or name in BOOLS or name in STRINGS


def read_files(config_file):
    """The merged files as [(key, value)]; none at all is fine."""
    folder = config_file + ".d"
    files = [config_file] if os.path.exists(config_file) else []
    if os.path.isdir(folder):
        names = sorted(name for name in os.listdir(folder) if name.lower().endswith((".yaml", ".yml")))
        files += [os.path.join(folder, name) for name in names if not os.path.isdir(os.path.join(folder, name))]
    values = {}
    for file in files:
        with open(file, encoding="utf-8") as stream:
            for key, value in yaml_subset.parse(stream.read()):
                name = key.removesuffix("+")
                appended = key.endswith("+") and name in values
                values[name] = _list(values[name]) + _list(value) if appended else value
    return list(values.items())


def _list(value):
    return list(value) if isinstance(value, list) else [value] if value.strip() else []


def split_flags(argv):
    """Command line -> [(name, value or None)]."""
    flags, rest = [], list(argv)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-") or argument == "-":
            raise OptionError(f"unexpected argument {argument}")
        name, equals, value = argument.lstrip("-").partition("=")
        name = ALIASES.get(name, name)
        if not known(name):
            raise OptionError(f"flag provided but not defined: -{name}")
        if equals:
            flags.append((name, value))
        elif name in BOOLS:
            flags.append((name, "true"))
        elif rest:
            flags.append((name, rest.pop(0)))
        else:
            raise OptionError(f"flag needs an argument: --{name}")
    return flags


def load(argv):
    """Every option of the agent. Lists are lists, booleans booleans, the rest strings; absent ones have their default."""
    flags = split_flags(argv)
    config_file = dict(flags).get("config") or os.environ.get("K3S_CONFIG_FILE") or knobs.root("/etc/rancher/k3s/config.yaml")
    from_files = []
    for key, value in read_files(config_file):
        name = ALIASES.get(key, key)
        if not known(name):
            log.warning(f"Unknown flag --{key} found in config.yaml, skipping\n")
            continue
        from_files += [(name, item) for item in (value if isinstance(value, list) else [value])]
    options = {name: [] for name in LISTS} | {name: False for name in BOOLS} | {name: "" for name in STRINGS}
    options["data-dir"] = knobs.root("/var/lib/rancher/k3s")
    options |= {option: os.environ[name] for name, option in ENVIRONMENT.items() if os.environ.get(name)}
    for name, value in from_files + flags:
        if name in LISTS:
            options[name].append(value)
        elif name in BOOLS:
            if value.lower() not in ("true", "false", "1", "0", "t", "f"):
                raise OptionError(f'invalid boolean value "{value}" for -{name}: parse error')
            options[name] = value.lower() in ("true", "1", "t")
        else:
            options[name] = value
    for name in ("node-ip", "node-external-ip"):
        options[name] = [part.strip() for item in options[name] for part in item.split(",")]
    return options


def kubelet_argument(options, name):
    """The last `name=value` of --kubelet-arg, as the kubelet's own flags are read; empty where there is none."""
    values = [argument.removeprefix("--").partition("=")[2] for argument in options["kubelet-arg"] if argument.removeprefix("--").startswith(name + "=")]
    return values[-1] if values else ""
