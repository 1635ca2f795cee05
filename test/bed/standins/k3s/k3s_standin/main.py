"""argv -> verb. Every module is imported here at once, so that replacing the file on disk never changes a running process."""
import os
import sys
import tempfile
import zipapp

from . import agent, killall, knobs, server, userland, workload

USAGE = """NAME:
   k3s - stand-in for Kubernetes, but small and simple

USAGE:
   k3s [--version] command [options]

COMMANDS:
   agent             Run node agent
   server-standin    Run the home side: a supervisor that agents join
   standin-killall   End the pods, remove the devices and rules, as k3s-killall.sh
   standin-pack OUT  Write the stand-in as one executable file
"""


def version_text():
    return f"k3s version {knobs.read()['version']} (5a1d0e2f)\ngo version go1.26.4"


def pack(target):
    """Writes a zipapp to `target`, in place at once (rename), executable."""
    source = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    folder = os.path.dirname(os.path.abspath(target))
    fd, temp = tempfile.mkstemp(dir=folder, prefix=".k3s-")
    os.close(fd)
    zipapp.create_archive(
        source,
        temp,
        interpreter="/usr/bin/python3",
        main="k3s_standin.main:entry",
        filter=lambda path: path.parts[0] == "k3s_standin" and path.suffix != ".pyc",
    )
    os.chmod(temp, 0o755)
    os.rename(temp, target)


def main(argv):
    verb, rest = (argv[0], argv[1:]) if argv else ("", [])
    if verb in ("--version", "-v"):
        print(version_text())
        return 0
    if verb == "agent":
        return agent.main(rest)
    if verb == "server-standin":
        return server.main(rest)
    if verb == "standin-pod":
        return workload.main(rest)
    if verb == "standin-nodeports":
        return userland.main(rest)
    if verb == "standin-killall":
        return killall.main(rest)
    if verb == "standin-pack" and len(rest) == 1:
        pack(rest[0])
        return 0
    if verb in ("", "help", "-h", "--help"):
        print(USAGE)
        return 0
    print(f"No help topic for '{verb}'", file=sys.stderr)
    return 3


def entry():
    """Where the packed file starts."""
    sys.exit(main(sys.argv[1:]))
