"""argv, home folder, signals: from `zerotier-one [-U] [-pPORT] HOME` to a running node and back.

Must always hold: the HTTP server answers before networks.d is read; at SIGTERM and SIGINT the interfaces go first, the
process 1.3 s later with 0; SIGHUP is ignored.
"""

import json
import os
import pwd
import random
import signal
import sys
import time

from . import VERSION, naming
from .api import Api
from .control import Faults
from .httpd import Server
from .loop import Loop
from .node import Node

DEFAULT_HOME = "/var/lib/zerotier-one"
DEFAULT_ROOT = {"address": "8056c2e21c", "endpoint": "10.99.0.1:9993"}
FIRST_API_SECONDS = 0.2
STOP_SECONDS = 1.3


def main(argv):
    started = time.monotonic()
    port, home, any_user = _arguments(argv[1:])
    if os.geteuid() != 0 and not any_user:
        _die("must be run as root (uid 0)")
    os.makedirs(home, exist_ok=True)
    options = _options(home)
    first_start = not os.path.exists(os.path.join(home, "authtoken.secret"))
    token = naming.load_token(home, "authtoken.secret")
    metrics_token = naming.load_token(home, "metricstoken.secret")
    address, identity = naming.load_identity(home, options.get("address"))
    loop = Loop(float(options.get("speed", 1)))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    node = Node(loop, home, address, identity, port, options)
    node.local_conf.load()
    api = Api(node, token, metrics_token)
    faults = Faults(node)
    server = _serve_api(loop, port, api, faults)
    control = _serve_control(loop, options.get("control"), faults)
    _write_run_files(home, port)
    if first_start:
        time.sleep(max(0.0, started + FIRST_API_SECONDS - time.monotonic()))
    with loop.lock:
        node.start()
    server.start()
    window_ms = options.get("networkWindowMs", random.choice((0, 1, 1, 1)) * random.uniform(3, 100))
    loop.after_real(window_ms / 1000, node.load_networks)
    loop.after_real(0.3, lambda: _give_home_away(home))
    loop.run()

    with loop.lock:
        node.close()
    for running in (server, control):
        if running is not None:
            running.close()
    time.sleep(STOP_SECONDS / loop.speed)
    os._exit(0)


def _serve_api(loop, port, api, faults):
    try:
        try:
            return Server(loop, [("0.0.0.0", port), ("::", port)], api.admit, api.handle, faults.on_connection)
        except OSError as error:
            if error.errno not in (97, 99):  # a kernel or namespace without IPv6
                raise
            return Server(loop, [("0.0.0.0", port)], api.admit, api.handle, faults.on_connection)
    except OSError:
        _die(f"cannot bind to local control interface port {port}")


def _serve_control(loop, port, faults):
    if not port:
        return None
    control = Server(loop, [("127.0.0.1", int(port))], faults.admit, faults.handle)
    control.start()
    return control


def _arguments(arguments):
    port, home, any_user = 9993, DEFAULT_HOME, False
    for argument in arguments:
        if argument == "-U":
            any_user = True
        elif argument == "-v":
            print(VERSION)
            sys.exit(0)
        elif argument.startswith("-p"):
            port = int(argument[2:])
        elif argument.startswith("-"):
            _die(f"unsupported option {argument} in this stand-in")
        else:
            home = os.path.abspath(argument)
    return port, home, any_user


def _options(home):
    """standin.json with `root` from the planet file, or the built-in planet: the bed's home."""
    options = _read_json(os.path.join(home, "standin.json"), {})
    planet = _read_json(os.path.join(home, "planet"), DEFAULT_ROOT)
    host, _, port = planet["endpoint"].rpartition(":")
    options["root"] = (planet["address"], (host, int(port)))
    return options


def _read_json(path, default):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return default


def _write_run_files(home, port):
    for name, value in (("zerotier-one.port", port), ("zerotier-one.pid", os.getpid())):
        with open(os.path.join(home, name), "w", encoding="ascii") as file:
            file.write(str(value))


def _give_home_away(home):
    """Packaged builds hand the home to the user zerotier-one, where it exists."""
    try:
        user = pwd.getpwnam("zerotier-one")
    except KeyError:
        return
    if os.geteuid() != 0:
        return
    for folder, _, files in os.walk(home):
        for path in [folder, *(os.path.join(folder, name) for name in files)]:
            os.chown(path, user.pw_uid, user.pw_gid)


def _die(message):
    print(f"zerotier-one: fatal error: {message}", file=sys.stderr, flush=True)
    os._exit(1)
