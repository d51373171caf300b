#!/usr/bin/env bash
# Makes a checkout ready to run, test and demo: engines from the distribution, a virtual environment from the lock.
# Idempotent, and quick when there is nothing to do. Installs packages only as root on Debian or Ubuntu.
set -euo pipefail
cd "$(dirname "$0")/.."

ENGINES="crun runc conmon haproxy libnftables1 nftables iproute2 ca-certificates"
TESTING="docker-registry busybox-static mmdebstrap skopeo umoci buildah podman pebble fuse-overlayfs erofs-utils python3-swift"

missing() {
    for package in $ENGINES $TESTING; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    wanted=$(missing | tr '\n' ' ')
    if [ -n "${wanted// /}" ]; then
        if [ "$(id -u)" = 0 ]; then
            echo "setup: installing $wanted" >&2
            # A package that starts a service on installation must not: we start what we need ourselves.
            policy=/usr/sbin/policy-rc.d
            made_policy=""
            if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; made_policy=1; fi
            trap '[ -n "$made_policy" ] && rm -f "$policy"' EXIT
            export DEBIAN_FRONTEND=noninteractive
            apt-get -qq update
            # shellcheck disable=SC2086
            apt-get -qq install -y --no-install-recommends $wanted >/dev/null
        else
            echo "setup: please install as root: apt-get install $wanted" >&2
        fi
    fi
else
    echo "setup: not a Debian system; please install: crun (or runc), conmon, haproxy, libnftables" >&2
fi

find_python() {
    for name in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$name" ] && command -v "$name" >/dev/null || continue
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$name"; return; }
    done
    return 1
}

stamp=.venv/.lock-sum
sum=$(cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1)
if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$sum" ] || ! .venv/bin/python -c 'import zlayer' 2>/dev/null; then
    python=$(find_python) || { echo "setup: Python 3.11 or newer is needed (apt-get install python3)" >&2; exit 1; }
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get -qq update && apt-get -qq install -y --no-install-recommends python3-venv >/dev/null
    fi
    echo "setup: making .venv with $("$python" --version)" >&2
    [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || "$python" -m venv --clear .venv
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip -q
    .venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
    echo "$sum" >"$stamp"
fi
