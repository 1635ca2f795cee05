"""`k3s server-standin`: the supervisor at home that agents join, and a control port for the test's hands.

Modes: ok | refuse (nothing listens) | hang (connections are taken and never answered) | 503 (all answers) | starting (503 for
everything but /ping and /cacerts, as while the API server comes up).
"""
import argparse
import base64
import binascii
import hmac
import http.server
import json
import os
import secrets
import signal
import socket
import ssl
import sys
import threading
import urllib.parse

from . import api, pki
from .nodes import Nodes
from .services import Services

NODE_PATHS = ("/v1-k3s/serving-kubelet.crt", "/v1-k3s/client-kubelet.crt", "/standin/node", "/standin/node-ports")
# How long an agent's question for NodePorts waits for a change.
NODE_PORTS_WAIT_S = 5
MODES = ("ok", "refuse", "hang", "503", "starting")


class _Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_):
        pass

    def answer(self, status, body, content_type="text/plain"):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def answer_json(self, value, status=200):
        self.answer(status, json.dumps(value, indent=1) + "\n", "application/json")

    def stream(self, lines):
        """Sends each line as it comes; an end in order, unless the connection is to be cut."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        for line in lines:
            self.server.home.await_answerable()
            if line is None:
                return
            data = line.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()


class _Supervisor(_Quiet):
    def setup(self):
        home = self.server.home
        home.await_answerable()
        self.request.settimeout(self.timeout)
        self.request = home.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self):
        super().finish()
        self.request.close()

    def do_GET(self):
        home, path = self.server.home, urllib.parse.urlsplit(self.path).path
        body = self.body()
        home.await_answerable()
        if home.mode == "503" or (home.mode == "starting" and path not in ("/ping", "/cacerts")):
            return self.answer(503, "apiserver not ready\n")
        if path == "/ping":
            return self.answer(200, "pong")
        if path == "/cacerts":
            return self.answer(200, home.read("ca.crt"))
        if path.startswith("/api/"):
            kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
            request = api.Request(self.command, self.path, kind, body)
            status, document = api.answer(home, self.request.getpeercert(), request)
            return self.answer_json(document, status) if isinstance(document, dict) else self.stream(document)
        if not self._authorised():
            return self.answer(401, "Unauthorized\n")
        if path == "/v1-k3s/config":
            pem = home.read("traefik.crt") + home.read("traefik.key")
            return self.answer_json({"clusterCIDR": "10.42.0.0/16", "flannelBackend": "vxlan", "traefikPem": pem})
        if path == "/nodes":
            return self.answer_json(home.nodes.list())
        name, password = self.headers.get("k3s-Node-Name"), self.headers.get("k3s-Node-Password")
        if path == "/v1-k3s/client-ca.crt":
            return self.answer(200, home.read("client-ca.crt"))
        if path == "/v1-k3s/client-k3s-controller.crt":
            return self.answer(200, pki.client(home.folder, "/CN=system:k3s-controller"))
        if path not in NODE_PATHS or not name or not password:
            return self.answer(404, "not found\n")
        if not home.nodes.admit(name, password):
            return self.answer(403, "node password rejected\n")
        if path == "/standin/node":
            return self.answer_json(home.nodes.report(name, json.loads(body)))
        if path == "/standin/node-ports":
            after = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("after", ["0"])[0]
            return self.answer_json(home.services.node_ports(int(after), NODE_PORTS_WAIT_S))
        if path == "/v1-k3s/client-kubelet.crt":
            return self.answer(200, pki.client(home.folder, f"/O=system:nodes/CN=system:node:{name}"))
        return self.answer(200, home.read("server.crt"))

    do_POST = do_GET
    do_PATCH = do_GET

    def _authorised(self):
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return scheme == "Basic" and user in ("node", "server") and hmac.compare_digest(password, self.server.home.password)


class _Control(_Quiet):
    def do_GET(self):
        home = self.server.home
        if self.path == "/nodes":
            return self.answer_json(home.nodes.list())
        if self.path == "/state":
            told = {"mode": home.mode, "token": home.token, "watches": home.services.watching, "nodes": home.nodes.list()}
            return self.answer_json(told)
        return self.answer(404, "not found\n")

    def do_POST(self):
        mode = self.body().strip()
        if self.path == "/service-access" and mode in api.SERVICE_ACCESS:
            self.server.home.service_access = mode
            return self.answer_json({"serviceAccess": mode})
        if self.path == "/certificates" and mode == "revoke":
            return self.answer_json({"revoked": self.server.home.revoke()})
        if self.path == "/watches" and mode in ("cut", "forget"):
            services = self.server.home.services
            (services.cut if mode == "cut" else services.forget)()
            return self.answer_json({"watches": mode})
        if self.path == "/nodeports":
            self.server.home.services.move(json.loads(mode))
            return self.answer_json(self.server.home.services.node_ports())
        service = self._service()
        if service:
            self.server.home.services.put(service, json.loads(mode))
            return self.answer_json({"service": "/".join(service)})
        if self.path == "/access" and mode in api.ACCESS:
            self.server.home.access = mode
            return self.answer_json({"access": mode})
        if self.path == "/budget" and mode in api.BUDGETS:
            self.server.home.budget = mode
            return self.answer_json({"budget": mode})
        if self.path == "/peers" and mode:
            return self.answer_json({"podCIDR": self.server.home.nodes.add_peer(mode)})
        if self.path != "/mode" or mode not in MODES:
            return self.answer(400, f"POST /mode with one of: {' '.join(MODES)}\n")
        self.server.home.set_mode(mode)
        return self.answer_json({"mode": mode})

    def _service(self):
        """The Service that the path names: /services/NAMESPACE/NAME."""
        parts = self.path.split("/")
        return tuple(parts[2:]) if len(parts) == 4 and parts[1] == "services" else None

    def do_DELETE(self):
        if self._service():
            return self.answer(200 if self.server.home.services.delete(self._service()) else 404, "")
        found = self.path.startswith("/nodes/") and self.server.home.nodes.delete(urllib.parse.unquote(self.path[7:]))
        return self.answer(200 if found else 404, "")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, home, address, handler):
        self.home = home
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, _request, _address):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            sys.stderr.write(f"server-standin: {error!r}\n")


class Home:
    """The server's state: mode, nodes, certificates."""

    def __init__(self, arguments):
        self.folder = arguments.data
        self.listen = _address(arguments.listen)
        self.mode = "ok"
        self.access = "controller"
        self.service_access = "kubelet"
        self.budget = "free"
        # Serial numbers of the certificates that clients have shown, and of those that are refused from now on.
        self.shown, self.revoked = set(), set()
        self.changed = threading.Condition()
        pki.ensure(self.folder, ["127.0.0.1", "::1", "localhost", "kubernetes", self.listen[0], *arguments.tls_san])
        self.password = arguments.token or self._kept_password()
        self.token = pki.token(self.folder, self.password)
        with open(os.open(f"{self.folder}/token", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(self.token + "\n")
        self.services = Services(self.folder)
        self.nodes = Nodes(self.folder, arguments.node_ip or self.listen[0], arguments.grace)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(f"{self.folder}/server.crt", f"{self.folder}/server.key")
        # A client may show a certificate, as in k3s; who shows a bad one is refused.
        self.tls.verify_mode = ssl.CERT_OPTIONAL
        self.tls.load_verify_locations(f"{self.folder}/client-ca.crt")
        self.supervisor = None
        self._open()

    def _kept_password(self):
        try:
            return self.read("token").strip().rpartition(":")[2]
        except FileNotFoundError:
            return secrets.token_hex(16)

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return file.read()

    def _open(self):
        self.supervisor = _Server(self, self.listen, _Supervisor)
        threading.Thread(target=self.supervisor.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def is_revoked(self, certificate):
        self.shown.add(certificate["serialNumber"])
        return certificate["serialNumber"] in self.revoked

    def revoke(self):
        """As if all client certificates that were seen had expired; open watches go on, as their connections do."""
        self.revoked |= self.shown
        return len(self.revoked)

    def set_mode(self, mode):
        if mode == "refuse":
            self.services.cut()
        with self.changed:
            if mode == "refuse" and self.supervisor is not None:
                self.supervisor.shutdown()
                self.supervisor.server_close()
                self.supervisor = None
            elif mode != "refuse" and self.supervisor is None:
                self._open()
            self.mode = mode
            self.changed.notify_all()

    def await_answerable(self):
        """Holds a connection for as long as the server hangs."""
        with self.changed:
            self.changed.wait_for(lambda: self.mode != "hang")


def _address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main(argv):
    parser = argparse.ArgumentParser(prog="k3s server-standin")
    parser.add_argument("--listen", required=True, help="ADDRESS:PORT of the supervisor")
    parser.add_argument("--data", required=True, help="folder for certificates, token and nodes")
    parser.add_argument("--token", default="", help="the password; random and kept by default")
    parser.add_argument("--tls-san", action="append", default=[], help="a further name or address of the server")
    parser.add_argument("--node-ip", default="", help="address of the pretended server node; that of --listen by default")
    parser.add_argument("--control", default="127.0.0.1:6480", help="ADDRESS:PORT of the control port")
    parser.add_argument("--grace", type=float, default=8, help="seconds without a heartbeat until a node is not Ready")
    arguments = parser.parse_args(argv)
    home = Home(arguments)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    control = _Server(home, _address(arguments.control), _Control)
    print(home.token, flush=True)
    try:
        control.serve_forever()
    except KeyboardInterrupt:
        pass
    return 0
