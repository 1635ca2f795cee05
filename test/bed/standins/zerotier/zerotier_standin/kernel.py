"""The kernel's side, by raw rtnetlink and the tun ioctls: no process is started, so the order of events is exact.

Must always hold: every call is acknowledged by the kernel before it returns; a refusal is an OSError with its errno.
"""

import fcntl
import ipaddress
import os
import socket
import struct
import threading

NEWLINK, NEWADDR, DELADDR, GETADDR, NEWROUTE, DELROUTE = 16, 20, 21, 22, 24, 25
REQUEST, ACK, DUMP, CREATE, REPLACE = 0x1, 0x4, 0x300, 0x400, 0x100
NLMSG_ERROR, NLMSG_DONE = 2, 3
TUNSETIFF, SIOCSIFHWADDR = 0x400454CA, 0x8924
IFF_TAP, IFF_NO_PI, IFF_UP = 0x2, 0x1000, 0x1
_lock = threading.Lock()


def device_exists(name):
    """As zerotier-one looks: a name counts as taken while the kernel has its IPv4 settings."""
    return os.path.exists(f"/proc/sys/net/ipv4/conf/{name}")


def open_tap(name):
    """Makes a non-persistent tap and returns its file descriptor. It is DOWN, MTU 1500, with a random MAC."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return fd


def set_mac(name, mac):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFHWADDR, struct.pack("16sH6s8x", name.encode(), 1, mac))


def set_up(ifindex):
    _request(NEWLINK, 0, struct.pack("=BxHiII", 0, 0, ifindex, IFF_UP, IFF_UP))


def set_mtu(ifindex, mtu):
    _request(NEWLINK, 0, struct.pack("=BxHiII", 0, 0, ifindex, 0, 0) + _attribute(4, struct.pack("=I", mtu)))


def add_address(ifindex, text):
    """Adds "10.0.0.1/24" or an IPv6 one, with the subnet's broadcast address for IPv4."""
    _request(NEWADDR, CREATE | REPLACE, _address(ifindex, text))


def remove_address(ifindex, text):
    _request(DELADDR, 0, _address(ifindex, text))


def add_route(ifindex, target, via):
    _request(NEWROUTE, CREATE | REPLACE, _route(ifindex, target, via))


def remove_route(ifindex, target, via):
    _request(DELROUTE, 0, _route(ifindex, target, via))


def addresses():
    """All addresses of this network namespace: (interface name, "address/prefix")."""
    found = []
    for body in _dump(GETADDR, struct.pack("=BBBBI", 0, 0, 0, 0, 0)):
        family, prefix, _, _, ifindex = struct.unpack_from("=BBBBI", body)
        values = dict(_attributes(body[8:]))
        raw = values.get(2, values.get(1))
        if raw is None or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        try:
            name = socket.if_indextoname(ifindex)
        except OSError:
            continue
        found.append((name, f"{socket.inet_ntop(family, raw)}/{prefix}"))
    return found


def _address(ifindex, text):
    interface = ipaddress.ip_interface(text)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    body = struct.pack("=BBBBI", family, interface.network.prefixlen, 0, 0, ifindex)
    body += _attribute(1, interface.ip.packed) + _attribute(2, interface.ip.packed)
    if interface.version == 4:
        body += _attribute(4, interface.network.broadcast_address.packed)
    return body


def _route(ifindex, target, via):
    network = ipaddress.ip_network(target, strict=False)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    scope = 0 if via else 253
    body = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, 254, 3, scope, 1, 0)
    body += _attribute(1, network.network_address.packed) + _attribute(4, struct.pack("=I", ifindex))
    if via:
        body += _attribute(5, ipaddress.ip_address(via).packed)
    return body


def _attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]


def _request(kind, flags, body):
    with _lock, _socket() as sock:
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | ACK | flags, 1, 0) + body)
        _, answer, _, _, _, error = struct.unpack_from("=IHHIIi", sock.recv(65536))
    if answer == NLMSG_ERROR and error != 0:
        raise OSError(-error, os.strerror(-error))


def _dump(kind, body):
    messages = []
    with _lock, _socket() as sock:
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | DUMP, 1, 0) + body)
        while True:
            data = sock.recv(65536)
            while len(data) >= 16:
                length, answer = struct.unpack_from("=IH", data)
                if answer in (NLMSG_DONE, NLMSG_ERROR):
                    return messages
                messages.append(data[16:length])
                data = data[(length + 3) & ~3 :]


def _socket():
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.settimeout(5)
    sock.bind((0, 0))
    return sock
