"""metrics.prom: the Prometheus text, rewritten every 5 s; GET /metrics serves the file, so it may be 5 s stale."""

import os

PACKET_TYPES = ("path_negotiation_request", "user_message", "push_direct_paths", "multicast_frame", "frame", "hello", "ok")


def write(node):
    """Writes the file; it outlives the process, as the real one does."""
    lines = ["# HELP zt_packet ZeroTier packet type counts", "# TYPE zt_packet counter"]
    for direction in ("tx", "rx"):
        lines += [f'zt_packet{{direction="{direction}",packet_type="{kind}"}} 0' for kind in PACKET_TYPES]
    lines += ["# HELP zt_data number of bytes ZeroTier has transmitted or received", "# TYPE zt_data counter"]
    for direction in ("tx", "rx"):
        lines.append(f'zt_data{{direction="{direction}",protocol="udp"}} 0')
    lines += ["# HELP zt_num_networks number of networks this instance is joined to", "# TYPE zt_num_networks gauge"]
    lines.append(f"zt_num_networks {len(node.networks)}")
    lines += ["# HELP zt_network_packets number of incoming/outgoing packets per network"]
    lines += ["# TYPE zt_network_packets counter"]
    for nwid in sorted(node.networks):
        for direction in ("tx", "rx"):
            lines.append(f'zt_network_packets{{accepted="yes",direction="{direction}",network_id="{nwid}"}} 0')
    lines += ["# HELP zt_peer_path_count number of paths to peer", "# TYPE zt_peer_path_count gauge"]
    for address, peer in sorted(node.peers.by_address.items()):
        lines.append(f'zt_peer_path_count{{node_id="{address}",status="alive"}} {len(peer.paths)}')
        lines.append(f'zt_peer_path_count{{node_id="{address}",status="dead"}} 0')
    path = os.path.join(node.home, "metrics.prom")
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
