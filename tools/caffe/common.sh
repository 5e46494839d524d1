# Words shared by the scripts of this folder; sourced by them (bash).

TOOLS_CAFFE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CHECKOUT=$(cd "$TOOLS_CAFFE/../.." && pwd)
PYTHON=${PYTHON:-/usr/bin/python3}
VENV=$CHECKOUT/build/venv
CACHE=${SJFT_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/sjft}
[[ $CACHE = /* ]] || CACHE=$PWD/$CACHE

# The last Debian release with a source package of Caffe, and the package's version there.
CAFFE_SUITE=bullseye
CAFFE_SOURCE_VERSION=1.0.0+git20180821.99bd997-8

# Sets SITES to the sites of this machine's own Debian entries, be they in sources.list or in *.sources
# files. CAFFE_DEBIAN_SITE=http://... names another, e.g. Debian's archive once the suite has moved there.
debian_sites() {
    local codename
    if [ -n "${CAFFE_DEBIAN_SITE:-}" ]; then
        SITES=("$CAFFE_DEBIAN_SITE")
        return
    fi
    # Without package lists apt knows no origin; the release's own code name tells the entries then.
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mapfile -t SITES < <({
        apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian'
        apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Release: $codename"
    } | sort -u)
    [ ${#SITES[@]} -gt 0 ] ||
        die "apt has no Debian site to fetch from; name one: CAFFE_DEBIAN_SITE=http://SITE/debian"
}

say() { echo "$(basename "$0"): $*"; }

die() {
    echo "$(basename "$0"): error: $*" >&2
    exit 1
}

make_cache() {
    mkdir -p "$CACHE" 2>/dev/null && [ -w "$CACHE" ] ||
        die "the folder '$CACHE', where the built Caffe is kept, cannot be written to;" \
            "name another: SJFT_CACHE=DIR"
}

# CUDA and SLIM, the two choices of a build: 1, or 0 when they are unset or empty.
for switch in CUDA SLIM; do
    printf -v "$switch" '%s' "${!switch:-0}"
    [[ ${!switch} =~ ^[01]$ ]] || die "$switch='${!switch}': expected $switch=1, or nothing"
done
