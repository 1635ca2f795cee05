"""`k3s agent`: options, then the server for as long as it takes, then the node, READY=1, and heartbeats until SIGTERM.

Must always hold: a server that is away, unknown or refusing never ends the agent; a node that cannot be (no interface, no
address, a label the kubelet refuses) always does, with 1. Pods, flannel.1, routes and NodePorts stay when the agent goes.
"""
import ipaddress
import json
import os
import random
import secrets
import signal
import socket
import sys
import threading
import time

from . import balancer, knobs, kubeconfig, labels, log, network, options, pods, processes
from .supervisor import Rejected, Supervisor, SupervisorError

VALIDATE_RETRY_S = 2
CONFIG_RETRY_S = 5
TOKEN_FILE_WAIT_S = 240
# Set by SIGUSR1: the client certificates are to be replaced.
RENEWAL = threading.Event()


def main(argv):
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGINT, _terminated)
    signal.signal(signal.SIGUSR1, lambda *_: RENEWAL.set())
    try:
        chosen = options.load(argv)
    except options.OptionError as error:
        print(f"Incorrect Usage: {error}\n", file=sys.stderr)
        log.fatal(f"Error: {error}")
    except (options.yaml_subset.YamlError, OSError) as error:
        log.fatal(str(error))
    _Agent(chosen).run()
    return 0


def _terminated(_signal, _frame):
    log.info("Shutdown request received: terminated")
    os._exit(0)


def notify(state):
    """One sd_notify datagram; nothing where nobody listens."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as endpoint:
        endpoint.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)


def _read_token_file(path):
    """Waits for the file as k3s does: four minutes."""
    deadline = time.monotonic() + TOKEN_FILE_WAIT_S
    while time.monotonic() < deadline:
        try:
            with open(path, encoding="utf-8") as file:
                return file.read().strip()
        except FileNotFoundError:
            log.info(f"Waiting for {path} to be available\n")
            time.sleep(2)
        except OSError as error:
            log.fatal(f"Error: open {path}: {error.strerror}")
    return log.fatal("Error: timeout while trying to read the file")


def _created(path, octets, mode):
    """The text of a file made of random hex on first use."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, mode), "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(octets) + "\n")
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def _write_private(path, text):
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _is_pod_wanted(bound):
    """Whether the pod with a process behind it is to run."""
    return any(pod["owner"] == "ReplicaSet" and not pod["deleting"] for pod in bound)


class _Agent:
    def __init__(self, chosen):
        self.options = chosen
        self.interface = chosen["flannel-iface"]
        self.node_ips = chosen["node-ip"]
        self.name = (chosen["node-name"] or socket.gethostname()).lower()
        self.password = ""
        self.lost_since = None
        # Whether the server has a pod here that is to run, and which it has not yet been told of as ended.
        self.has_pod = True
        self.ended = []
        # NodePorts as the server tells them, those that are in force, and when the newest are to be.
        self.told_ports = {"version": 0, "ports": []}
        self.node_ports = []
        self.ports_due = float("inf")

    def run(self):
        chosen = self.options
        token = _read_token_file(chosen["token-file"]) if chosen["token-file"] else chosen["token"]
        if not token:
            log.fatal("Error: --token is required")
        if not chosen["server"]:
            log.fatal("Error: --server is required")
        self._check_node_addresses()
        log.info(f"Starting k3s agent {knobs.read()['version']} (5a1d0e2f)")
        self.children = processes.Children(chosen["data-dir"])
        self.children.write("agent", os.getpid())
        self.server = Supervisor(chosen["server"], token)
        try:
            balancer.start(chosen["server"])
        except OSError as error:
            log.fatal(f"Error: listen tcp 127.0.0.1:{balancer.PORT}: {error.strerror}")
        self._validate()
        config = self._retrieve_config()
        refusal = labels.refusal(labels.parse_labels(chosen["node-label"]), chosen["node-taint"])
        if refusal:
            log.fatal(f"Error: kubelet exited: {refusal}")
        self._start_node(config)
        threading.Thread(target=self._follow_node_ports, daemon=True).start()
        self._serve()

    def _check_node_addresses(self):
        interface = self.interface
        if interface and not self.node_ips:
            prefix = f"Error: interface {interface} does not have a correct global unicast ip: "
            if not network.exists(interface):
                log.fatal(prefix + f"unable to find interface {interface}: route ip+net: no such network interface")
            found = [address for address in network.addresses(interface) if ":" not in address]
            if not found:
                log.fatal(prefix + f"can't find ip for interface {interface}")
            self.node_ips = found[:1]
        for address in self.node_ips:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                log.fatal(f"Error: failed to get node name and addresses: invalid node-ip: invalid ip format '{address}'")
        if interface and not network.exists(interface):
            log.fatal(f"Error: unable to find interface {interface}: route ip+net: no such network interface")
        if interface:
            held = network.addresses(interface)
            if not held:
                log.fatal(f"Error: flannel exited: failed to find IPv4 address for interface {interface}")
            for address in self.node_ips:
                if address not in held:
                    log.fatal(f"Error: node IP: \"{address}\" not found in the addresses of interface {interface}")

    def _validate(self):
        while True:
            try:
                return self.server.validate()
            except SupervisorError as error:
                log.error(f"Failed to validate connection to cluster at {self.options['server']}: {error}")
            time.sleep(VALIDATE_RETRY_S)

    def _retrieve_config(self):
        while True:
            try:
                return self._get_config()
            except SupervisorError as error:
                log.info(f"Waiting to retrieve agent configuration; server is not ready: {error}")
            time.sleep(CONFIG_RETRY_S * (1 + random.random()))

    def _get_config(self):
        try:
            config = json.loads(self.server.call("GET", "/v1-k3s/config"))
        except SupervisorError as error:
            raise SupervisorError(f"failed to retrieve configuration from server: {error}") from error
        node_folder = knobs.root("/etc/rancher/node")
        if self.options["with-node-id"] and not self.password:
            self.name += "-" + _created(f"{node_folder}/id", 4, 0o644)
        self.password = _created(f"{node_folder}/password", 16, 0o600)
        try:
            certificate = self.server.call("GET", "/v1-k3s/serving-kubelet.crt", self._node_headers())
        except Rejected as error:
            raise SupervisorError(
                f"Node password rejected, duplicate hostname or contents of '{node_folder}/password' may not match server "
                "node-passwd entry, try enabling a unique node name with the --with-node-id flag"
            ) from error
        folder = os.path.join(self.options["data-dir"], "agent")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _write_private(f"{folder}/server-ca.crt", self.server.ca)
        _write_private(f"{folder}/client-ca.crt", self.server.call("GET", "/v1-k3s/client-ca.crt"))
        _write_private(f"{folder}/serving-kubelet.crt", certificate)
        _write_private(f"{self.children.folder}/traefik.pem", config["traefikPem"])
        self._renew_certificates()
        self.told_ports = self._ask_node_ports(0)
        self.node_ports = self.told_ports["ports"]
        return config

    def _renew_certificates(self):
        folder = os.path.join(self.options["data-dir"], "agent")
        kubelet = self.server.call("GET", "/v1-k3s/client-kubelet.crt", self._node_headers())
        controller = self.server.call("GET", "/v1-k3s/client-k3s-controller.crt")
        kubeconfig.write(folder, "kubelet", "client-kubelet", kubelet)
        kubeconfig.write(folder, "k3scontroller", "client-k3s-controller", controller)

    def _ask_node_ports(self, after):
        return json.loads(self.server.call("GET", f"/standin/node-ports?after={after}", self._node_headers()))

    def _follow_node_ports(self):
        """kube-proxy's watch: what changes is in force a moment later."""
        while True:
            try:
                told = self._ask_node_ports(self.told_ports["version"])
            except SupervisorError:
                time.sleep(1)
                continue
            if told["ports"] != self.told_ports["ports"]:
                self.ports_due = time.monotonic() + knobs.read()["nodePortDelayS"]
            self.told_ports = told

    def _node_headers(self):
        return {
            "k3s-Node-Name": self.name,
            "k3s-Node-Password": self.password,
            "k3s-Node-IP": ",".join(self.node_ips),
        }

    def _report(self, joining):
        """Registers or renews the node; the answer holds its pod network and the other nodes' leases."""
        body = {
            "joining": joining,
            "nodeIPs": self.node_ips,
            "externalIPs": self.options["node-external-ip"],
            "labels": labels.parse_labels(self.options["node-label"]),
            "taints": self.options["node-taint"],
            "providerID": options.kubelet_argument(self.options, "provider-id"),
            "vtepMAC": self.flannel.mac() if self.flannel else "",
            "version": knobs.read()["version"],
            "endedPods": self.ended,
        }
        answer = json.loads(self.server.call("POST", "/standin/node", self._node_headers(), body))
        self.ended = []
        return answer

    def _start_node(self, config):
        network.configure_kernel()
        self.flannel = None
        while True:
            try:
                lease = self._report(joining=True)
                self.has_pod = _is_pod_wanted(lease["pods"])
                break
            except SupervisorError as error:
                log.error(f"Unable to register node with API server: {error}")
            time.sleep(VALIDATE_RETRY_S)
        local = next((address for address in self.node_ips if ":" not in address), None)
        if local is None:
            log.fatal(f"Error: cluster-cidr: [{config['clusterCIDR']}] and node-ip: {self.node_ips}, must share the same IP version")
        delay_s = knobs.read()["flannelDelayS"]
        self.flannel = network.Flannel(self.interface, local, lease["podCIDR"])
        try:
            if delay_s < 0:
                self._start_network(lease["leases"])
            time.sleep(knobs.read()["readyDelayS"])
            log.info("k3s agent is up and running")
            notify("READY=1\n")
            os.environ.pop("NOTIFY_SOCKET", None)
            if delay_s >= 0:
                time.sleep(delay_s)
                self._start_network(lease["leases"])
        except (network.NetworkError, pods.PodError) as error:
            log.fatal(f"Error: flannel exited: {error}")

    def _start_network(self, leases):
        self.flannel.set_up()
        self.flannel.learn(leases)
        self.flannel.set_up_bridge()
        self._start_pod()

    def _start_pod(self):
        if not self.has_pod:
            pods.end(self.children)
        address = pods.ensure(self.children, self.flannel)[1] if self.has_pod else None
        pods.ensure_node_ports(self.children, address, self.node_ports, self.flannel.node_ip)

    def _sync_pods(self, bound):
        """Starts and ends what the server wants started and ended, and tells it what has ended."""
        wanted = _is_pod_wanted(bound)
        if wanted != self.has_pod:
            self.has_pod = wanted
            self._start_pod()
        self.ended = [pod["name"] for pod in bound if pod["deleting"]]
        if self.ended:
            self._report(joining=False)

    def _serve(self):
        next_beat, lost_vxlan = 0.0, False
        while True:
            processes.reap()
            if not network.exists(network.VXLAN):
                lost_vxlan = self._vxlan_lost(lost_vxlan)
            else:
                lost_vxlan = False
            try:
                if self.has_pod:
                    pods.ensure(self.children, self.flannel)
                if time.monotonic() >= self.ports_due:
                    self.ports_due = float("inf")
                    self.node_ports = self.told_ports["ports"]
                    self._start_pod()
            except (network.NetworkError, pods.PodError) as error:
                log.error(f"Error syncing pod, skipping: {error}")
            if time.monotonic() >= next_beat:
                self._beat()
                next_beat = time.monotonic() + knobs.read()["heartbeatS"]
            if RENEWAL.is_set():
                self._try_renewal()
            time.sleep(0.5)

    def _try_renewal(self):
        try:
            self._renew_certificates()
            RENEWAL.clear()
            log.info("Renewed the client certificates")
        except SupervisorError as error:
            log.error(f"Failed to renew the client certificates: {error}")

    def _vxlan_lost(self, already):
        behaviour = knobs.read()["flannelLoss"]
        if behaviour == "panic":
            sys.stderr.write("panic: runtime error: invalid memory address or nil pointer dereference\n")
            os._exit(2)
        if behaviour == "recreate" and network.exists(self.interface) and self.flannel.node_ip in network.addresses(self.interface):
            try:
                known = list(self.flannel.known.values())
                self.flannel.set_up()
                self.flannel.learn(known)
                log.info("Recreated flannel.1")
            except network.NetworkError as error:
                log.error(f"Failed to recreate flannel.1: {error}")
        elif not already and behaviour == "ignore":
            log.error("failed to add vxlanRoute: network is down")
        return True

    def _beat(self):
        try:
            answer = self._report(joining=False)
            self.flannel.learn(answer["leases"])
            self._sync_pods(answer["pods"])
            if self.lost_since is not None:
                log.info("Remotedialer connected to proxy")
            self.lost_since = None
        except SupervisorError as error:
            if self.lost_since is None or time.monotonic() - self.lost_since > 10:
                log.error(f"Failed to update lease; Error updating node status, will retry: {error}")
                self.lost_since = time.monotonic()
        except network.NetworkError as error:
            log.error(f"failed to add route: {error}")
        except pods.PodError as error:
            log.error(f"Error syncing pod, skipping: {error}")
