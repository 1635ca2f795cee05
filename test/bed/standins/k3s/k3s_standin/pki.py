"""The home side's certificates, made with openssl at first start and kept: a CA, a server certificate, Traefik's own, and the
CA of the clients, which signs new client certificates whenever they are asked for.

Held here: the CA never changes while its folder lives, so tokens stay good; the server's certificate follows the wanted names.
"""
import hashlib
import ipaddress
import os
import subprocess
import tempfile

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def _openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")


def _read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def _san(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"DNS:{name}"
    return f"IP:{name}"


def ensure(folder, names):
    """Makes what is missing below `folder` for a server reached under `names`."""
    os.makedirs(folder, mode=0o700, exist_ok=True)

    def at(name):
        return os.path.join(folder, name)

    if not os.path.exists(at("ca.crt")):
        _openssl(
            "req", "-x509", *KEY, "-keyout", at("ca.key"), "-out", at("ca.crt"), "-days", "3650",
            "-subj", "/CN=k3s-server-ca@1700000000", "-addext", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign",
        )  # fmt: skip
    wanted = "subjectAltName=" + ",".join(_san(name) for name in sorted(set(names)))
    extensions = f"{wanted}\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n"
    if not os.path.exists(at("server.crt")) or not os.path.exists(at("server.ext")) or _read(at("server.ext")) != extensions:
        with open(at("server.ext"), "w", encoding="utf-8") as file:
            file.write(extensions)
        _openssl("req", *KEY, "-keyout", at("server.key"), "-out", at("server.csr"), "-subj", "/O=k3s/CN=k3s")
        _openssl(
            "x509", "-req", "-in", at("server.csr"), "-CA", at("ca.crt"), "-CAkey", at("ca.key"), "-CAcreateserial",
            "-days", "365", "-extfile", at("server.ext"), "-out", at("server.crt"),
        )  # fmt: skip
    if not os.path.exists(at("client-ca.crt")):
        _openssl(
            "req", "-x509", *KEY, "-keyout", at("client-ca.key"), "-out", at("client-ca.crt"), "-days", "3650",
            "-subj", "/CN=k3s-client-ca@1700000000", "-addext", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign",
        )  # fmt: skip
    if not os.path.exists(at("traefik.crt")):
        _openssl(
            "req", "-x509", *KEY, "-keyout", at("traefik.key"), "-out", at("traefik.crt"), "-days", "365",
            "-subj", "/CN=TRAEFIK DEFAULT CERT",
        )  # fmt: skip


def client(folder, subject):
    """A new client certificate and its key, in one PEM. `subject` as openssl writes it."""
    with tempfile.TemporaryDirectory() as scratch:
        _openssl(
            "req", "-x509", *KEY, "-keyout", f"{scratch}/key", "-out", f"{scratch}/crt", "-days", "365", "-subj", subject,
            "-CA", os.path.join(folder, "client-ca.crt"), "-CAkey", os.path.join(folder, "client-ca.key"),
            "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=clientAuth",
        )  # fmt: skip
        return _read(f"{scratch}/crt") + _read(f"{scratch}/key")


def token(folder, password):
    """The full token agents join with."""
    digest = hashlib.sha256(_read(os.path.join(folder, "ca.crt")).encode()).hexdigest()
    return f"K10{digest}::server:{password}"
