"""One network's interface: a real, non-persistent tap, in the kernel order that was measured.

Must always hold: +0 created DOWN with MTU 1500, then the MAC, then cached addresses while still DOWN, +100 ms UP,
+200 ms the network's MTU. What others do to the device afterwards is never repaired.
"""

import os
import socket
import sys
import time

from . import kernel, naming

ADDRESS_CACHE_SECONDS = 1.0
BATCH = 64


class Tap:
    def __init__(self, loop, nwid, mac, pinned, on_frame):
        self.name = naming.free_device_name(nwid, pinned, kernel.device_exists)
        self.up = False
        self._loop = loop
        self._on_frame = on_frame
        self._mtu = 2800
        self._mtu_set = False
        self._routes = set()
        self._cache = (0.0, [])
        self._fd = kernel.open_tap(self.name)
        self._ifindex = socket.if_nametoindex(self.name)
        kernel.set_mac(self.name, mac)
        self._on_up = None
        loop.watch(self._fd, self._readable)
        self._timers = [loop.after_real(0.1, self._set_up), loop.after_real(0.2, self._set_mtu)]

    def close(self):
        """The device and all that hangs on it are gone when this returns."""
        for timer in self._timers:
            self._loop.cancel(timer)
        self._loop.unwatch(self._fd)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def when_up(self, action):
        """Runs `action` as soon as the device has come up (routes through it need that)."""
        if self.up:
            action()
        else:
            self._on_up = action

    def write(self, frame):
        """Hands a frame to the kernel; a device that is down or gone swallows it."""
        try:
            os.write(self._fd, frame)
        except OSError:
            pass

    def set_mtu(self, mtu):
        self._mtu = mtu
        if self._mtu_set:
            self._set_mtu()

    def add_address(self, text):
        """As the real one: an address seen within the last second counts as still there and is not added."""
        if text in self._cached_addresses():
            return
        try:
            kernel.add_address(self._ifindex, text)
        except OSError as error:
            print(f"ERROR: unable to add ip address {text}: {error}", file=sys.stderr)

    def remove_address(self, text):
        """As the real one: an address younger than the cache is not seen, stays, and is an error on stderr."""
        if text not in self._cached_addresses():
            print(f"ERROR: unable to remove ip address {text}", file=sys.stderr)
            return
        try:
            kernel.remove_address(self._ifindex, text)
        except OSError as error:
            print(f"ERROR: unable to remove ip address {text}: {error}", file=sys.stderr)

    def set_routes(self, routes):
        """Installs the managed routes, a set of (target, via or None), and takes away those no longer wanted."""
        for target, via in self._routes - routes:
            self._try(kernel.remove_route, target, via)
        for target, via in sorted(routes, key=str):
            self._try(kernel.add_route, target, via)
        self._routes = set(routes)

    def _try(self, call, target, via):
        try:
            call(self._ifindex, target, via)
        except OSError:
            pass

    def _cached_addresses(self):
        taken, known = self._cache
        if time.monotonic() - taken > ADDRESS_CACHE_SECONDS:
            known = [text for name, text in kernel.addresses() if name == self.name]
            self._cache = (time.monotonic(), known)
        return known

    def _set_up(self):
        try:
            kernel.set_up(self._ifindex)
        except OSError:
            return
        self.up = True
        if self._on_up is not None:
            self._on_up()

    def _set_mtu(self):
        self._mtu_set = True
        try:
            kernel.set_mtu(self._ifindex, self._mtu)
        except OSError:
            pass

    def _readable(self, events):
        try:
            for _ in range(BATCH):
                self._on_frame(os.read(self._fd, 65536))
        except BlockingIOError:
            pass
        except OSError:
            # The device is down or was deleted under us: the API goes on saying OK. (The real one spins here.)
            self._loop.unwatch(self._fd)
            self._timers.append(self._loop.after_real(1, self._watch_again))

    def _watch_again(self):
        if self._fd >= 0 and os.path.exists(f"/proc/sys/net/ipv4/conf/{self.name}"):
            self._loop.watch(self._fd, self._readable)
