#!/usr/bin/env bash
# Usage: packages.sh [PACKAGE...]
# Installs those Debian packages that are missing of the ones named, or else of packages.txt. Without the
# right to install, it names them and the command that installs them, and exits 1. packages-full.txt is read
# too, unless SLIM=1.
set -euo pipefail
. "$(dirname "$0")/common.sh"

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' || echo "$package"
    done
}

# Runs apt-get as root, quietly; waits up to ten minutes for another apt-get to end.
apt_get() {
    "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" >>"$LOG" 2>&1
}

install() {
    apt_get install --no-install-recommends "${MISSING[@]}"
}

command -v dpkg-query >/dev/null ||
    die "this is no Debian system; build Caffe by its own manual and name its folder in CAFFE_ROOT"
LISTS=("$TOOLS_CAFFE/packages.txt")
[ "$SLIM" = 1 ] || LISTS+=("$TOOLS_CAFFE/packages-full.txt")
[ $# -gt 0 ] || set -- $(sed 's/#.*//' "${LISTS[@]}")
mapfile -t MISSING < <(missing_packages "$@")
[ ${#MISSING[@]} -gt 0 ] || exit 0

AS_ROOT=()
if [ "$(id -u)" -ne 0 ]; then
    HOW="As root, install them with" SUDO=""
    if command -v sudo >/dev/null; then
        HOW="Install them with" SUDO="sudo "
        ! sudo -n true 2>/dev/null || AS_ROOT=(sudo -n)
    fi
    [ ${#AS_ROOT[@]} -gt 0 ] ||
        die "these Debian packages are missing, and only root can install them: ${MISSING[*]}
$HOW
    ${SUDO}apt-get update && ${SUDO}apt-get install --no-install-recommends ${MISSING[*]}
and run the same command again."
fi

make_cache
LOG=$CACHE/packages.log
: >"$LOG"
say "installing ${#MISSING[@]} Debian packages: ${MISSING[*]}"
# Lists that are absent or too old make the first try fail; then they are fetched anew.
if ! install && ! { apt_get update && install; }; then
    tail -n 20 "$LOG" >&2
    die "apt-get could not install them; the whole log is $LOG"
fi
