"""The fault port: makes this node misbehave on purpose. Bound to loopback, and only where standin.json asks for it.

    POST / {"api": "hang"|"garbage"|"401"|"reset"|"slow"|"", "seconds": N, "delaySeconds": D}
    POST / {"cut": "all"|"data"|"", "seconds": N}    POST / {"dropTap"|"renewTap": "<nwid>"}    POST / {"speed": F}
    GET /  tells what is in force. `seconds` is real time; without it a fault lasts until it is taken back.
"""

import json
import socket
import struct
import time

JSON = "application/json"


class Faults:
    def __init__(self, node):
        self._node = node
        self._api = ""
        self._delay = 1.0
        self._api_end = None
        self._cut_end = None

    def on_connection(self, connection):
        """Spoils an API connection whose request has come in. True where nothing more may be said on it."""
        fault = self._api
        if fault == "slow":
            time.sleep(self._delay)
        elif fault == "hang":
            while self._api == "hang":
                time.sleep(0.1)
            return True
        elif fault == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return True
        elif fault == "garbage":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Type: application/json\r\n\r\n{\"a\":\x00\xff,[")
            return True
        elif fault == "401":
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")
            return True
        return False

    def admit(self, request):
        return None

    def handle(self, request):
        try:
            body = json.loads(request.body or b"{}")
        except ValueError:
            return 400, "{}", JSON
        with self._node.loop.lock:
            if request.method == "POST":
                self._apply(body)
            state = {"api": self._api, "cut": self._cut(), "speed": self._node.loop.speed}
        return 200, json.dumps(state), JSON

    def _apply(self, body):
        seconds = body.get("seconds")
        loop = self._node.loop
        if "speed" in body:
            loop.speed = float(body["speed"])
        if "api" in body:
            self._delay = float(body.get("delaySeconds", 1.0))
            self._set_api(body["api"])
            loop.cancel(self._api_end)
            self._api_end = loop.after_real(seconds, lambda: self._set_api("")) if seconds else None
        if "cut" in body:
            self._set_cut(body["cut"])
            loop.cancel(self._cut_end)
            self._cut_end = loop.after_real(seconds, lambda: self._set_cut("")) if seconds else None
        network = self._node.networks.get(body.get("dropTap"))
        if network is not None and network.tap is not None:
            network.tap.close()
        network = self._node.networks.get(body.get("renewTap"))
        if network is not None:
            network.renew()

    def _set_api(self, fault):
        self._api = fault

    def _set_cut(self, what):
        self._node.binder.cut = what == "all"
        self._node.data_cut = what in ("all", "data")

    def _cut(self):
        return "all" if self._node.binder.cut else "data" if self._node.data_cut else ""
