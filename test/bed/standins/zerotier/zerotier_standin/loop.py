"""One thread for sockets, taps and timers; HTTP threads come in through `lock`.

Must always hold: whoever changes the node's state holds `lock`. Protocol delays are divided by `speed`, so that a
test can make a minute pass in a second; kernel steps and start-up are not.
"""

import heapq
import itertools
import os
import select
import threading
import time


def now_ms():
    """Wall clock in ms, as ZeroTier puts it into its answers."""
    return int(time.time() * 1000)


class Loop:
    def __init__(self, speed=1.0):
        self.speed = speed
        self.lock = threading.RLock()
        self._epoll = select.epoll()
        self._handlers = {}
        self._timers = []
        self._sequence = itertools.count()
        self._stop = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._wake_read, select.EPOLLIN)

    def age(self, since):
        """Protocol seconds since a time.monotonic() value."""
        return (time.monotonic() - since) * self.speed

    def after(self, seconds, action):
        """Runs `action` with the lock held after so many protocol seconds."""
        return self.after_real(seconds / self.speed, action)

    def after_real(self, seconds, action):
        """Runs `action` with the lock held after so many real seconds. Returns a handle for `cancel`."""
        timer = [time.monotonic() + seconds, next(self._sequence), action]
        with self.lock:
            heapq.heappush(self._timers, timer)
        self._wake()
        return timer

    def cancel(self, timer):
        if timer is not None:
            timer[2] = None

    def every(self, seconds, action):
        """Runs `action` again and again. The period follows `speed` as it changes."""

        def run():
            action()
            self.after(seconds, run)

        self.after(seconds, run)

    def watch(self, fd, handler):
        """Calls `handler(events)` without the lock whenever `fd` can be read or has failed."""
        self._handlers[fd] = handler
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd):
        if self._handlers.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass

    def stop(self):
        """Makes `run` return. Safe in a signal handler."""
        self._stop = True
        self._wake()

    def run(self):
        while not self._stop:
            for fd, events in self._epoll.poll(self._until_next_timer()):
                if fd == self._wake_read:
                    self._drain()
                    continue
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
            self._run_due()

    def _run_due(self):
        while not self._stop:
            with self.lock:
                if not self._timers or self._timers[0][0] > time.monotonic():
                    return
                action = heapq.heappop(self._timers)[2]
                if action is not None:
                    action()

    def _until_next_timer(self):
        with self.lock:
            return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _wake(self):
        try:
            os.write(self._wake_write, b"w")
        except BlockingIOError:
            pass

    def _drain(self):
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
