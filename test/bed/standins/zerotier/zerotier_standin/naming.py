"""Names that ZeroTier derives from numbers: device names, MAC addresses, identities.

Must always hold: same inputs, same names. The device name depends on the network alone, the MAC on node and network.
"""

import os
import secrets

BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def device_name(nwid, trial=0):
    """The interface's name for a network id (int); `trial` counts names already taken."""
    value = ((nwid ^ (nwid >> 24)) + trial) & 0xFFFFFFFFFF
    return "zt" + "".join(BASE32[(value >> (35 - 5 * i)) & 31] for i in range(8))


def free_device_name(nwid, pinned, taken):
    """The pinned name, or the first derived one that `taken(name)` does not claim."""
    if pinned and not taken(pinned):
        return pinned
    trial = 0
    while taken(device_name(nwid, trial)):
        trial += 1
    return device_name(nwid, trial)


def mac_bytes(address, nwid):
    """The six bytes of a node's MAC on a network. `address` is 10 hex digits, `nwid` an int."""
    first = (nwid & 0xFE) | 0x02
    if first == 0x52:
        first = 0x32
    mac = (first << 40) | int(address, 16)
    for i in range(5):
        mac ^= ((nwid >> (8 * (i + 1))) & 0xFF) << (32 - 8 * i)
    return mac.to_bytes(6, "big")


def mac_text(mac):
    return ":".join(f"{byte:02x}" for byte in mac)


def load_identity(home, wanted_address=None):
    """(address, public identity). Made at the first start and kept; `wanted_address` only matters then."""
    secret = os.path.join(home, "identity.secret")
    public = os.path.join(home, "identity.public")
    if not os.path.exists(secret):
        address = wanted_address or f"{secrets.randbelow(0xFE) + 1:02x}{secrets.token_hex(4)}"
        text = f"{address}:0:{secrets.token_hex(64)}"
        write_private(secret, f"{text}:{secrets.token_hex(64)}")
        with open(public, "w", encoding="ascii") as file:
            file.write(text)
    with open(secret, encoding="ascii") as file:
        parts = file.read().strip().split(":")
    text = ":".join(parts[:3])
    if not os.path.exists(public):
        with open(public, "w", encoding="ascii") as file:
            file.write(text)
    return parts[0], text


def load_token(home, name):
    """The 24 characters of a token file, made (mode 0600, no newline) where it is missing."""
    path = os.path.join(home, name)
    if not os.path.exists(path):
        letters = "abcdefghijklmnopqrstuvwxyz0123456789"
        write_private(path, "".join(secrets.choice(letters) for _ in range(24)))
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def write_private(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def pinned_names(home):
    """nwid text -> interface name, from the home's `devicemap` ("nwid=name" lines)."""
    try:
        with open(os.path.join(home, "devicemap"), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {nwid.strip().lower(): name.strip() for nwid, name in pairs}
