#!/usr/bin/env bash
# Usage: root.sh
# Builds a Debian 11 with its own Caffe in a folder of the cache, unless it is there, and prints the
# folder; what it is doing goes to stderr. As with Caffe itself (tools/caffe/build.sh), the folder's name
# holds a hash of all that goes into it, it appears only when complete, and of several builds at once one
# builds while the others wait. Exits 77 with one sentence where the machine does not allow it at all.
# CAFFE_DEBIAN_SITE=http://... names another site than the machine's own Debian sites.
set -euo pipefail
. "$(dirname "$0")/common.sh"

ingredients() {
    echo "$CAFFE_SUITE"
    dpkg --print-architecture
    (cd "$DEBIAN11" && LC_ALL=C && sha256sum root.sh packages.txt)
}

# logged COMMAND...: the output goes to the log; failure shows its last lines.
logged() {
    "$@" >>"$LOG" 2>&1 || { tail -n 20 "$LOG" >&2 && return 1; }
}

# The first of the machine's sites that has the suite gives the base system.
bootstrap() {
    local root=$1 site
    for site in "${SITES[@]}"; do
        say "fetching the base system from $site ($CAFFE_SUITE)" >&2
        rm -rf "$root"
        # ca-certificates: the site may be one of https
        ! logged "${ISOLATED[@]}" debootstrap --variant=minbase --include=ca-certificates "$CAFFE_SUITE" \
            "$root" "$site" || return 0
    done
    die "no Debian site could give the suite $CAFFE_SUITE; if Debian has moved it, name its site:
CAFFE_DEBIAN_SITE=http://SITE/debian. The whole log is $LOG"
}

# Runs inside the root. Nobody reads there: no manuals and translations, and no waiting for the disk.
INSTALL='
mount -t proc proc /proc
cat >/etc/dpkg/dpkg.cfg.d/small <<END
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
END
export DEBIAN_FRONTEND=noninteractive
apt="apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0"
$apt update && $apt install --no-install-recommends "$@" && $apt clean && rm -r /var/lib/apt/lists
'

build() {
    local root=$1 packages
    mapfile -t packages < <(sed 's/#.*//; /^\s*$/d' "$DEBIAN11/packages.txt")
    bootstrap "$root"
    say "installing its Caffe" >&2
    logged "${ISOLATED[@]}" chroot "$root" sh -euc "$INSTALL" sh "${packages[@]}" ||
        die "installing in the Debian 11 root failed; the whole log is $LOG"
    mkdir "$root/checkout"
    logged "${ISOLATED[@]}" chroot "$root" python3 -c 'import caffe, cv2, lmdb, pytest' ||
        die "Caffe cannot be imported in the Debian 11 root; the whole log is $LOG"
}

require_rights
command -v dpkg >/dev/null || cannot "a Debian 11 root is built on a Debian system only"
ROOT=$CACHE/debian11-$(ingredients | sha256sum | cut -c 1-16)
mkdir -p "$CACHE"
if [ ! -d "$ROOT" ]; then
    LOG=$ROOT.log
    exec 9>"$ROOT.lock"
    flock --nonblock 9 || { say "another build of the same root is running; waiting for it" >&2 && flock 9; }
    if [ ! -d "$ROOT" ]; then
        "$TOOLS_CAFFE/packages.sh" debootstrap >&2
        debian_sites
        rm -rf --one-file-system "$ROOT".tmp.*  # of a build that was killed: the lock says none is running
        WORK=$(mktemp -d "$ROOT.tmp.XXXXXX")
        trap 'rm -rf --one-file-system "$WORK"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        : >"$LOG"
        say "building a Debian 11 root, which takes two to three minutes" >&2
        build "$WORK/root"
        mv -T "$WORK/root" "$ROOT"
    fi
fi
echo "$ROOT"
