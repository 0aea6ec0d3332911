#!/bin/sh
# deps.sh run|test|long ...: installs the Debian packages that are missing; says nothing and needs no rights when none is.
set -eu
packages=
for what in "$@"; do
    case $what in
    run) packages="$packages gcc libc6-dev pkg-config protobuf-c-compiler libprotobuf-c-dev libnats-dev libpq-dev libcivetweb-dev
        libcjson-dev libcurl4-openssl-dev libssl-dev libyaml-dev zlib1g-dev nats-server postgresql-15 tzdata curl git" ;;
    test) packages="$packages clang clang-format clang-tidy cppcheck protobuf-compiler python3-minimal python3 python3-jsonschema iproute2 procps binutils libclang-rt-14-dev openssl" ;;
    long) packages="$packages slowhttptest testssl.sh spin faketime" ;;
    esac
done
missing=
for p in $packages; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
echo "Installing:$missing"
as=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "These packages are missing and there is no sudo. As root run: apt-get install$missing" >&2; exit 1; }
    as=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# No cluster of the distribution's own is wanted: the platform makes a private one.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $as mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | $as tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
{ $as apt-get update -q && $as env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "apt-get could not install:$missing" >&2
    exit 1
}
