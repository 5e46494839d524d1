#!/usr/bin/env bash
# Usage: [SLIM=1] [CUDA=1] build.sh
# Builds Caffe for $PYTHON into the cache folder, unless it is there, and notes its place in
# build/caffe-root for env.sh. The folder's name holds a hash of all that goes into the build; it appears
# only when complete, and of several builds at once one builds while the others wait.
#
#   SLIM=1   without OpenCV, HDF5 and LevelDB
#   CUDA=1   with CUDA, cuDNN and NCCL; cuda.sh reads CUDA_HOME and CUDA_ARCH
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$TOOLS_CAFFE/cuda.sh"

# All that decides what the build gives: sources, patches, options, the system's libraries, Python.
ingredients() {
    echo "caffe $CAFFE_SOURCE_VERSION"
    (. /etc/os-release && echo "system $ID ${VERSION_ID:-}")
    dpkg --print-architecture
    "$PYTHON" -c 'import sys; print(sys.executable, sys.version_info[:2])'
    (cd "$TOOLS_CAFFE" && LC_ALL=C && sha256sum CMakeLists.txt patches/*.patch include/opencv2/*/*)
    [ "$SLIM" = 0 ] || echo slim
    [ "$CUDA" = 0 ] || cuda_ingredients
}

cuda_ingredients() {
    "$NVCC" --version
    echo "$NVCC $CUDA_ARCHITECTURES $CUDA_INCLUDES $CUDA_LIBRARIES"
    (cd "$TOOLS_CAFFE" && LC_ALL=C && sha256sum patches/cuda/*.patch include/cuda/*)
}

# One compiler takes up to 1 GiB here: as many at once as cores and free memory allow.
jobs() {
    local available limit
    available=$(awk '/^MemAvailable:/ {print int($2 / 1048576)}' /proc/meminfo)
    limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
    [ "$limit" = max ] || [ $((limit >> 30)) -ge "$available" ] || available=$((limit >> 30))
    [ "$available" -ge 1 ] || available=1
    [ "$(nproc)" -le "$available" ] && nproc || echo "$available"
}

# logged COMMAND...: the output goes to the log; failure shows its last lines and ends the build.
logged() {
    "$@" >>"$LOG" 2>&1 || failed "$1"
}

failed() {
    tail -n 30 "$LOG" >&2
    die "'$1' failed; the whole log is $LOG"
}

# Copies ninja's "[12/124] Building ..." lines to the log and shows every tenth.
show_steps() {
    local line
    while IFS= read -r line; do
        echo "$line" >>"$LOG"
        [[ $line =~ ^\[([0-9]*)0/([0-9]+)\] ]] && say "${BASH_REMATCH[1]}0 of ${BASH_REMATCH[2]} files"
    done
    true
}

build() {
    local work=$1 options=() changes=("$TOOLS_CAFFE"/patches/*.patch)
    [ "$SLIM" = 0 ] || options+=(-DSLIM=ON)
    if [ "$CUDA" = 1 ]; then
        changes+=("$TOOLS_CAFFE"/patches/cuda/*.patch)
        options+=(-DCUDA=ON "-DCMAKE_CUDA_COMPILER=$NVCC" "-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES"
            "-DCUDA_INCLUDES=$CUDA_INCLUDES" "-DCUDA_LIBRARIES=$CUDA_LIBRARIES")
        # Debian's toolkit has its headers among the system's, where CMake does not look.
        [ -e "$TOOLKIT/include/cuda_runtime.h" ] || options+=(-DCUDAToolkit_INCLUDE_DIR=/usr/include)
    fi
    "$TOOLS_CAFFE/fetch.sh" "$work" 2>&1 | tee -a "$LOG" | grep '^fetch.sh: fetching' ||
        failed fetch.sh
    for change in "${changes[@]}"; do
        logged patch --directory "$work/source" --strip 1 --input "$change"
    done
    local numpy
    numpy=$("$VENV/bin/python" -c 'import numpy; print(numpy.get_include())')
    logged cmake -G Ninja -S "$TOOLS_CAFFE" -B "$work/build" "-DCAFFE_SOURCE=$work/source" \
        "-DPYTHON=$PYTHON" "-DNUMPY_INCLUDE=$numpy" "-DCMAKE_INSTALL_PREFIX=$work/caffe" \
        "${options[@]}"
    say "compiling Caffe, $(jobs) files at once"
    ninja -C "$work/build" -j "$(jobs)" 2>&1 | show_steps || failed ninja
    logged cmake --install "$work/build" --strip
    logged "$work/caffe/bin/caffe" --version
    logged env PYTHONPATH="$work/caffe/python" "$VENV/bin/python" -c 'import caffe'
}

# Removes what builds left that were killed: where a lock can be had, none is running.
remove_leftovers() {
    local work
    for work in "$CACHE"/caffe-*.tmp.*; do
        [ ! -d "$work" ] || flock --nonblock "${work%.tmp.*}.lock" rm -rf "$work" || true
    done
}

if [ "$CUDA" = 1 ]; then
    find_cuda
    say "CUDA $NVCC_VERSION of $NVCC for ${CUDA_ARCHITECTURES//;/ }"
fi
ROOT=$CACHE/caffe-$(ingredients | sha256sum | cut -c 1-16)
mkdir -p "$CHECKOUT/build"
if [ ! -d "$ROOT" ]; then
    make_cache
    remove_leftovers
    LOG=$ROOT.log
    exec 9>"$ROOT.lock"
    flock --nonblock 9 || { say "another build of the same Caffe is running; waiting for it" && flock 9; }
    if [ ! -d "$ROOT" ]; then
        rm -rf "$ROOT".tmp.*  # of the build waited for, if it was killed
        WORK=$(mktemp -d "$ROOT.tmp.XXXXXX")
        trap 'rm -rf "$WORK"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        : >"$LOG"
        build "$WORK"
        mv -T "$WORK/caffe" "$ROOT"
    fi
fi
echo "$ROOT" >"$CHECKOUT/build/caffe-root"
say "Caffe is in $ROOT"
