"""`k3s standin-killall [DATA-DIR]`: ends the agent, the pods and what they left on the node, as k3s-killall.sh does."""
import os

from . import knobs, network, pods, processes


def main(argv):
    children = processes.Children(argv[0] if argv else knobs.root("/var/lib/rancher/k3s"))
    for name in ["agent", *children.names()]:
        children.kill(name)
    for device in (network.BRIDGE, network.VXLAN):
        if network.exists(device):
            network.run("ip", "link", "delete", device)
    pods.drop_rules()
    subnet_file = knobs.root("/run/flannel/subnet.env")
    if os.path.exists(subnet_file):
        os.unlink(subnet_file)
    return 0
