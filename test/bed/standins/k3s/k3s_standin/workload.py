"""`k3s standin-pod ADDRESS/LENGTH GATEWAY FOLDER`: the Traefik pod, in a network namespace of its own.

HTTP on 8000, HTTPS on 8443, a UDP echo on 8443. Each answer tells whom it came from. A PROXY protocol header (v1, v2) is read
only where the knob file turns it on for that entry point; elsewhere it is garbage, as for the real Traefik.
"""
import ctypes
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

from . import knobs

CLONE_NEWNET = 0x40000000
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
IDLE_S = 60
# Traefik's graceTimeOut: requests that came before SIGTERM are answered for so long.
GRACE_S = 10


def _receive(connection, length):
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise ConnectionError("closed within the PROXY header")
        data += part
    return data


def read_proxy_header(connection):
    """Takes a PROXY header off the stream; returns its source 'address:port', or None where there is no header."""
    start = connection.recv(1, socket.MSG_PEEK)
    if start == b"P":
        # `POST` and `PUT` begin alike: wait for enough to know.
        start = connection.recv(6, socket.MSG_PEEK | socket.MSG_WAITALL)
        if start != b"PROXY ":
            return None
        line = b""
        while not line.endswith(b"\r\n") and len(line) < 108:
            line += _receive(connection, 1)
        fields = line.decode("ascii", "replace").split()
        return f"{fields[2]}:{fields[4]}" if len(fields) == 6 else None
    if start != b"\r" or connection.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL) != V2_SIGNATURE:
        return None
    _, family, length = struct.unpack("!BBH", _receive(connection, 16)[12:])
    body = _receive(connection, length)
    if family >> 4 == 1:
        return f"{socket.inet_ntop(socket.AF_INET, body[:4])}:{struct.unpack('!H', body[8:10])[0]}"
    if family >> 4 == 2:
        return f"[{socket.inet_ntop(socket.AF_INET6, body[:16])}]:{struct.unpack('!H', body[32:34])[0]}"
    return None


class _Connections:
    """The open connections, so that the end is one in order: those between two requests are closed, the others answered first."""

    def __init__(self):
        self.lock = threading.Lock()
        # The stream of each connection that is between two requests, None for those that are not.
        self.resting = {}
        self.is_ending = False

    def works(self, connection):
        """From its opening, and again with each request."""
        with self.lock:
            self.resting[connection] = None

    def rests(self, connection, stream):
        """Before the next request; False where none is taken any more."""
        with self.lock:
            self.resting[connection] = stream
            return not self.is_ending

    def closed(self, connection):
        with self.lock:
            self.resting.pop(connection, None)

    def end(self):
        """Returns when all have ended, or after the grace."""
        with self.lock:
            self.is_ending = True
            for stream in filter(None, self.resting.values()):
                try:
                    socket.socket.shutdown(stream, socket.SHUT_RD)
                except OSError:
                    pass
        deadline = time.monotonic() + GRACE_S
        while self.resting and time.monotonic() < deadline:
            time.sleep(0.02)


CONNECTIONS = _Connections()


def _answer(connection, stream, told):
    """HTTP/1.1 with keep-alive, bodies of requests ignored."""
    reader = stream.makefile("rb")
    while CONNECTIONS.rests(connection, stream) and (line := reader.readline(8192)):
        CONNECTIONS.works(connection)
        parts = line.decode("latin-1").split()
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            stream.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return
        close, header = parts[2] == "HTTP/1.0", reader.readline(8192)
        while header.strip():
            close = close or header.lower().replace(b" ", b"").startswith(b"connection:close")
            header = reader.readline(8192)
        close = close or CONNECTIONS.is_ending
        body = json.dumps({**told, "path": parts[1]}).encode() + b"\n"
        ending = b"close" if close else b"keep-alive"
        stream.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (ending, len(body), body)
        )
        if close:
            return


def _serve_one(connection, peer, entry, context):
    try:
        connection.settimeout(IDLE_S)
        proxied = read_proxy_header(connection) if knobs.read()["proxyProtocol"].get(entry) else None
        stream = context.wrap_socket(connection, server_side=True) if context else connection
        told = {"pod": "traefik", "pid": os.getpid(), "entry": entry, "peer": f"{peer[0]}:{peer[1]}", "proxy": proxied}
        _answer(connection, stream, told)
        stream.close()
    except (OSError, ValueError):
        pass
    finally:
        connection.close()
        CONNECTIONS.closed(connection)


def _serve(listener, entry, context):
    while True:
        try:
            connection, peer = listener.accept()
        except OSError:
            return
        CONNECTIONS.works(connection)
        threading.Thread(target=_serve_one, args=(connection, peer, entry, context), daemon=True).start()


def _echo(endpoint):
    while True:
        data, peer = endpoint.recvfrom(65535)
        endpoint.sendto(data, peer)


def main(argv):
    address, gateway, folder = argv
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        print(f"unshare: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        return 1
    print("namespace", flush=True)
    if sys.stdin.readline() != "go\n":
        return 1
    for command in ("link set lo up", f"addr add {address} dev eth0", "link set eth0 up", f"route add default via {gateway}"):
        subprocess.run(["ip", *command.split()], check=True, timeout=10)
    own = address.partition("/")[0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "traefik.pem"))
    http = socket.create_server((own, 8000), backlog=512)
    https = socket.create_server((own, 8443), backlog=512)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((own, 8443))
    # Waited for rather than handled: a handler would run only once the main thread is woken, and a process that is stopped while
    # the signal comes, as at the system's shutdown, may have another thread take it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_serve, args=(http, "http", None), daemon=True).start()
    threading.Thread(target=_serve, args=(https, "https", context), daemon=True).start()
    print("serving", flush=True)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    threading.Thread(target=_echo, args=(udp,), daemon=True).start()
    signal.sigwait({signal.SIGTERM})
    for listener in (http, https):
        listener.shutdown(socket.SHUT_RDWR)
    CONNECTIONS.end()
    os._exit(0)
