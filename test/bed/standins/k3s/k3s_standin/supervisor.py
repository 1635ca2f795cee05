"""The agent's side of the supervisor protocol: token, CA check, requests. Every request ends within ten seconds, as k3s' do.

Errors come as SupervisorError with the words Go's client would use. The server's name is not compared with its
certificate: a real agent reaches it through its own balancer at 127.0.0.1, so only the chain to the token's CA counts.
"""
import base64
import hashlib
import http.client
import json
import re
import socket
import ssl
import urllib.parse

TIMEOUT_S = 10


class SupervisorError(Exception):
    pass


class Rejected(SupervisorError):
    """403: this node name belongs to another node password."""


def parse_token(token):
    """K10<ca hash>::<user>:<password> or a bare password -> (hash or '', password)."""
    if not token.startswith("K10"):
        token = "K10:::" + token
    ca_hash, separator, credentials = token[3:].partition("::")
    if not separator:
        ca_hash, credentials = "", token[3:]
    if ca_hash and len(ca_hash) != 64:
        raise SupervisorError("invalid token CA hash length")
    _, colon, password = credentials.partition(":")
    if not colon or not password:
        raise SupervisorError("invalid token format")
    return ca_hash, password


class Supervisor:
    """One server and one token. `validate` first; it learns the CA."""

    def __init__(self, server, token):
        self.url = server.rstrip("/")
        self.token = token
        self.password = ""
        self.ca = ""

    def validate(self):
        ca_hash, self.password = parse_token(self.token)
        if urllib.parse.urlsplit(self.url).scheme != "https":
            raise SupervisorError(f"only https:// URLs are supported, invalid scheme: {self.url}")
        try:
            bundle = self._request("GET", "/cacerts", _unverified())
        except SupervisorError as error:
            raise SupervisorError(f"failed to get CA certs: {error}") from error
        if "BEGIN CERTIFICATE" not in bundle:
            raise SupervisorError("CA cert validation failed: no certificate in the CA bundle")
        actual = hashlib.sha256(bundle.encode()).hexdigest()
        if ca_hash and ca_hash != actual:
            raise SupervisorError(f"token CA hash does not match the Cluster CA certificate hash: {ca_hash} != {actual}")
        self.ca = bundle
        try:
            self._request("GET", "/cacerts", self._verified())
        except SupervisorError as error:
            raise SupervisorError(f"CA cert validation failed: {error}") from error

    def call(self, method, path, headers=None, body=None):
        """An authorised request; returns the body's text."""
        credentials = base64.b64encode(f"node:{self.password}".encode()).decode()
        all_headers = {"Authorization": f"Basic {credentials}", **(headers or {})}
        text = None if body is None else json.dumps(body)
        return self._request(method, path, self._verified(), all_headers, text)

    def _verified(self):
        context = _unverified()
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.ca)
        return context

    def _request(self, method, path, context, headers=None, body=None):
        parts = urllib.parse.urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or 443
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        try:
            connection.request(method, path, body=body, headers={"Connection": "close", **(headers or {})})
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise SupervisorError(f'{method.capitalize()} "{self.url}{path}": {_words(error, host, port)}') from error
        finally:
            connection.close()
        if response.status == 403:
            raise Rejected(text)
        if response.status != 200:
            raise SupervisorError(f"{self.url}{path}: {response.status} {response.reason}")
        return text


def _unverified():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _words(error, host, port):
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    if isinstance(error, TimeoutError):
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    return re.sub(r"^\[Errno \d+\] ", "", str(error)) or "EOF"
