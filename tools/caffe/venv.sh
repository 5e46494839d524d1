#!/usr/bin/env bash
# Usage: venv.sh [EXTRA...]
# Makes build/venv, this checkout's Python packages, with $PYTHON: what setup.py requires, with the extras
# named and those that it has already. Made anew when the Python or the Caffe changes, brought up to date
# when setup.py does or an extra is missing, left alone otherwise.
#
# For a Caffe of the user's (CAFFE_ROOT) it sees the packages of $PYTHON's system too, and keeps the
# numpy and protobuf found there: that Caffe's Python module was compiled against them.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# Else pip would take what another checkout's env.sh put there for installed.
unset PYTHONPATH

command -v "$PYTHON" >/dev/null || die "there is no Python '$PYTHON'; name one: PYTHON=/path/to/python3"

PINS=()
OPTIONS=()
if [ -n "${CAFFE_ROOT:-}" ]; then
    OPTIONS=(--system-site-packages)
    mapfile -t PINS < <("$PYTHON" - <<'END'
from importlib.metadata import PackageNotFoundError, version
for name in ("numpy", "protobuf"):
    try:
        print(f"{name}=={version(name)}")
    except PackageNotFoundError:
        pass
END
    )
fi

BASE="$("$PYTHON" -c 'import sys; print(sys.executable, sys.version)' | tr '\n' ' ')${OPTIONS[*]} ${PINS[*]}"
CONTENT=$(sha256sum <"$CHECKOUT/setup.py")
mkdir -p "$CHECKOUT/build"
exec 9>"$CHECKOUT/build/venv.lock"
flock 9
if [ "$(cat "$VENV/sjft-base" 2>/dev/null)" != "$BASE" ]; then
    say "making $VENV"
    rm -rf "$VENV"
    "$PYTHON" -m venv "${OPTIONS[@]}" "$VENV" ||
        die "'$PYTHON -m venv' failed; on Debian the package python3-venv is missing"
    echo "$BASE" >"$VENV/sjft-base"
fi
HAVE=$(cat "$VENV/sjft-extras" 2>/dev/null || true)
EXTRAS=$(printf '%s\n' ${HAVE//,/ } "$@" | sort -u | paste -s -d ,)
if [ "$(cat "$VENV/sjft-content" 2>/dev/null)" != "$CONTENT" ] || [ "$HAVE" != "$EXTRAS" ]; then
    say "installing Python packages in $VENV"
    PIP=("$VENV/bin/python" -m pip install --disable-pip-version-check)
    [ -t 2 ] || PIP+=(--quiet)  # in a terminal pip shows how far its downloads are
    "${PIP[@]}" 'pip>=21.3'  # the first that makes editable installs with today's setuptools
    "${PIP[@]}" "${PINS[@]}" --editable "$CHECKOUT[$EXTRAS]"
    echo "$EXTRAS" >"$VENV/sjft-extras"
    echo "$CONTENT" >"$VENV/sjft-content"
fi
