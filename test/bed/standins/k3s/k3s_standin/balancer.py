"""The agent's load balancer at 127.0.0.1:6444: what its kubeconfigs name, passed on to the one server, TLS untouched."""
import socket
import threading
import urllib.parse

PORT = 6444
CONNECT_S = 10


def start(server):
    """Listens for as long as this process lives. Raises OSError where the port is taken."""
    parts = urllib.parse.urlsplit(server)
    target = (parts.hostname or "", parts.port or 443)
    listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
    threading.Thread(target=_accept, args=(listener, target), daemon=True).start()


def _accept(listener, target):
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_pass_on, args=(near, target), daemon=True).start()


def _pass_on(near, target):
    try:
        far = socket.create_connection(target, timeout=CONNECT_S)
    except OSError:
        near.close()
        return
    far.settimeout(None)
    threading.Thread(target=_copy, args=(near, far), daemon=True).start()
    _copy(far, near)


def _copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
