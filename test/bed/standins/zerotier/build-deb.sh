#!/bin/sh
# Builds zerotier-one_1.14.1_all.deb, the stand-in in the clothes of the real package: build-deb.sh OUTDIR
set -eu
[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT INT TERM

install -d -m 0755 "$root" "$root/DEBIAN" "$root/usr/lib/zerotier-standin/zerotier_standin"
install -D -m 0755 "$here/zerotier-one" "$root/usr/sbin/zerotier-one"
install -m 0644 "$here"/zerotier_standin/*.py "$root/usr/lib/zerotier-standin/zerotier_standin/"
install -D -m 0644 "$here/zerotier-one.service" "$root/usr/lib/systemd/system/zerotier-one.service"

cat >"$root/DEBIAN/control" <<'EOF'
Package: zerotier-one
Version: 1.14.1
Architecture: all
Maintainer: mooring test bed <root@localhost>
Section: net
Priority: optional
Depends: python3, passwd
Description: stand-in for ZeroTier One, for mooring's tests only
 Answers the local API, makes the interface and carries frames as ZeroTier One
 1.14.1 was seen to do. Nothing is encrypted or authenticated. Never install it
 outside a test bed.
EOF

cat >"$root/DEBIAN/postinst" <<'EOF'
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
if ! getent passwd zerotier-one >/dev/null; then
  useradd --system --user-group --no-create-home --home-dir /var/lib/zerotier-one --shell /usr/sbin/nologin zerotier-one
fi
deb-systemd-helper unmask zerotier-one.service >/dev/null || true
deb-systemd-helper enable zerotier-one.service >/dev/null || true
if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload
  if [ -n "$2" ]; then action=restart; else action=start; fi
  deb-systemd-invoke "$action" zerotier-one.service || true
fi
EOF

cat >"$root/DEBIAN/prerm" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  deb-systemd-invoke stop zerotier-one.service || true
fi
EOF

cat >"$root/DEBIAN/postrm" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = purge ]; then deb-systemd-helper purge zerotier-one.service >/dev/null || true; fi
if [ -d /run/systemd/system ]; then systemctl --system daemon-reload; fi
EOF
chmod 0755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"

dpkg-deb --root-owner-group -Zgzip --build "$root" "$out/zerotier-one_1.14.1_all.deb" >/dev/null
echo "$out/zerotier-one_1.14.1_all.deb"
