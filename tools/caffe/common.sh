# Words shared by the scripts of this folder; sourced by them (bash).

TOOLS_CAFFE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CHECKOUT=$(cd "$TOOLS_CAFFE/../.." && pwd)
PYTHON=${PYTHON:-/usr/bin/python3}
VENV=$CHECKOUT/build/venv
CACHE=${SJFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sjft}

# The last Debian release with a source package of Caffe, and the package's version there.
CAFFE_SUITE=bullseye
CAFFE_SOURCE_VERSION=1.0.0+git20180821.99bd997-8

say() { echo "$(basename "$0"): $*"; }

die() {
    echo "$(basename "$0"): error: $*" >&2
    exit 1
}
