"""A small HTTP/1.1 server with the manners of the one inside zerotier-one: a thread a connection, five requests or
five idle seconds each, and a body awaited for 5 s where a POST says nothing about its length.

Must always hold: authorisation is looked at before the body, everything else after it.
"""

import socket
import threading
from urllib.parse import parse_qs, urlsplit

KEEP_ALIVE_SECONDS = 5
KEEP_ALIVE_REQUESTS = 5
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 500: "Internal Server Error"}


class Request:
    def __init__(self, method, target, headers, remote):
        split = urlsplit(target)
        self.method = method
        self.path = split.path
        self.query = {key: values[0] for key, values in parse_qs(split.query).items()}
        self.headers = headers
        self.remote = remote
        self.body = b""


class Server:
    """`admit(request)` answers or returns None; `handle(request)` answers: (code, body or None, content type).
    `fault(connection)` may spoil a connection and returns True where it is then done with it."""

    def __init__(self, loop, endpoints, admit, handle, fault=None):
        self._loop = loop
        self._admit = admit
        self._handle = handle
        self._fault = fault
        self._closed = False
        self._listeners = [self._listen(host, port) for host, port in endpoints]

    def start(self):
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self):
        """Takes no more connections and answers no more requests."""
        self._closed = True
        for listener in self._listeners:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()

    def _listen(self, host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(64)
        return listener

    def _accept(self, listener):
        while True:
            try:
                connection, remote = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, remote[0]), daemon=True).start()

    def _serve(self, connection, remote):
        with connection:
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for left in range(KEEP_ALIVE_REQUESTS - 1, -1, -1):
                    connection.settimeout(KEEP_ALIVE_SECONDS)
                    if not self._one(connection, remote, left):
                        return
            except (OSError, ValueError):
                return

    def _one(self, connection, remote, left):
        head, rest = _read_head(connection)
        if head is None or self._closed or (self._fault is not None and self._fault(connection)):
            return False
        request = _parse(head, remote)
        answer = self._admit(request)
        if answer is None:
            request.body = self._read_body(connection, request, rest)
            answer = self._handle(request)
        elif "content-length" in request.headers:
            self._read_body(connection, request, rest)
        closing = left == 0 or request.headers.get("connection", "").lower() == "close"
        connection.sendall(_render(*answer, closing, request.method == "HEAD"))
        return not closing

    def _read_body(self, connection, request, body):
        if request.method not in ("POST", "PUT"):
            return body
        length = request.headers.get("content-length")
        connection.settimeout(5 / self._loop.speed if length is None else KEEP_ALIVE_SECONDS)
        try:
            while length is None or len(body) < int(length):
                part = connection.recv(65536)
                if not part:
                    break
                body += part
        except TimeoutError:
            pass
        return body


def _read_head(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part or len(data) > 65536:
            return None, b""
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _parse(head, remote):
    lines = head.split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(method, target, headers, remote)


def _render(code, body, kind, closing, head_only):
    lines = [f"HTTP/1.1 {code} {REASONS.get(code, 'Error')}"]
    data = (body or "").encode()
    lines.append(f"Content-Length: {len(data)}")
    if body is not None:
        lines.append(f"Content-Type: {kind}")
    keep = f"Keep-Alive: timeout={KEEP_ALIVE_SECONDS}, max={KEEP_ALIVE_REQUESTS}"
    lines.append("Connection: close" if closing else keep)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if head_only else data)
