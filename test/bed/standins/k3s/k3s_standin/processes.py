"""Child processes that outlive the agent, as containers do: one JSON file each, adopted at the next start while still alive.

A process is known by pid and start time, so a reused pid is never taken for it.
"""
import json
import os
import signal
import subprocess
import sys
import time


def start_time(pid):
    """Clock ticks after boot at which the process started; None where it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Children:
    """The files of one data directory."""

    def __init__(self, data_dir):
        self.folder = os.path.join(data_dir, "standin")
        os.makedirs(self.folder, exist_ok=True)

    def read(self, name):
        """What was started under `name`, if it still runs, else None."""
        try:
            with open(os.path.join(self.folder, name + ".json"), encoding="utf-8") as file:
                record = json.load(file)
        except (OSError, ValueError):
            return None
        return record if start_time(record["pid"]) == record["startTime"] else None

    def names(self):
        return sorted(name.removesuffix(".json") for name in os.listdir(self.folder) if name.endswith(".json"))

    def write(self, name, pid, **more):
        path = os.path.join(self.folder, name + ".json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump({"pid": pid, "startTime": start_time(pid), **more}, file)
        os.rename(path + ".new", path)

    def start(self, name, *verb):
        """Starts `k3s VERB…` in a session of its own, in the caller's cgroup; stdin and stdout are pipes for a handshake."""
        environment = {key: value for key, value in os.environ.items() if key not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
        with open(os.path.join(self.folder, name + ".log"), "ab") as errors:
            return subprocess.Popen(
                [sys.executable, os.path.abspath(sys.argv[0]), *verb],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment,
                start_new_session=True, cwd="/",
            )  # fmt: skip

    def forget(self, name):
        try:
            os.unlink(os.path.join(self.folder, name + ".json"))
        except FileNotFoundError:
            pass

    def end(self, name, grace_s):
        """SIGTERM, and SIGKILL after so many seconds."""
        record = self.read(name)
        if record is not None:
            os.kill(record["pid"], signal.SIGTERM)
            deadline = time.monotonic() + grace_s
            while self.read(name) is not None and time.monotonic() < deadline:
                time.sleep(0.02)
        self.kill(name)

    def kill(self, name):
        record = self.read(name)
        if record is not None:
            kill(record["pid"])
        self.forget(name)


def kill(pid):
    """SIGKILL, and waits up to 5 s until it is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + 5
    while start_time(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)


def reap():
    """Collects ended children, so that none stays a zombie."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass
