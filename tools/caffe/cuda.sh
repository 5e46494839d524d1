# find_cuda: finds what a build with CUDA takes, and brings from PyPI what the system lacks; sourced by
# build.sh. Sets NVCC; NVCC_VERSION, such as 13.0; TOOLKIT, its folder; CUDA_ARCHITECTURES, CUDA_INCLUDES
# and CUDA_LIBRARIES, lists for CMakeLists.txt.
#
#   CUDA_HOME=DIR       a toolkit; else the nvcc on PATH, /usr/local/cuda, the newest /usr/local/cuda-*
#   CUDA_ARCH="80 90"   compute capabilities; else those of the GPUs present, else DEFAULT_ARCH

# Turing to Hopper; newer GPUs compile the last one's PTX when a program starts.
DEFAULT_ARCH="75 80 86 90"
# What PyPI gives where the system has no nvcc: the first CUDA whose wheels lie in one folder.
PYPI_CUDA=13.0

# The libraries that Caffe calls: name, header.
CUDA_PARTS=(cublas:cublas_v2.h curand:curand.h cudnn:cudnn.h nccl:nccl.h)

find_nvcc() {
    local found
    if [ -n "${CUDA_HOME:-}" ]; then
        NVCC=$CUDA_HOME/bin/nvcc
        [ -x "$NVCC" ] || die "CUDA_HOME='$CUDA_HOME' holds no bin/nvcc; name the folder of a CUDA toolkit"
        return
    fi
    for found in "$(command -v nvcc)" /usr/local/cuda/bin/nvcc \
        $(printf '%s\n' /usr/local/cuda-*/bin/nvcc | sort -Vr); do
        NVCC=$found
        [ ! -x "$NVCC" ] || return 0
    done
    from_pypi "nvcc" "cuda-toolkit[nvcc,crt,nvvm,cudart,cccl]==$PYPI_CUDA.*" ||
        die "there is no nvcc on PATH or in /usr/local/cuda*, and PyPI gave none; install a CUDA toolkit" \
            "and name its folder: CUDA_HOME=DIR"
    NVCC=$PYPI_FOLDER/nvidia/cu13/bin/nvcc
    # The names by which nvcc and CMake look for libraries.
    [ -e "$PYPI_FOLDER/nvidia/cu13/lib64" ] || ln -sfn lib "$PYPI_FOLDER/nvidia/cu13/lib64"
    [ -e "$PYPI_FOLDER/nvidia/cu13/lib/libcudart.so" ] ||
        ln -sf libcudart.so.13 "$PYPI_FOLDER/nvidia/cu13/lib/libcudart.so"
}

# from_pypi WHAT REQUIREMENT...: sets PYPI_FOLDER to a folder of the cache that holds these packages, once
# for all builds; status 1 if they cannot be had.
from_pypi() {
    local what=$1
    shift
    PYPI_FOLDER=$CACHE/cuda-$(printf '%s\n' "$@" | sha256sum | cut -c 1-16)
    [ ! -d "$PYPI_FOLDER" ] || return 0
    make_cache
    # Of two builds at once, one fetches while the other waits.
    { flock 8 && { [ -d "$PYPI_FOLDER" ] || fetch_packages "$what" "$@"; }; } 8>"$PYPI_FOLDER.lock"
}

fetch_packages() {
    local what=$1 work
    shift
    rm -rf "$PYPI_FOLDER".tmp.*  # of a build that was killed
    say "fetching $what from PyPI"
    work=$(mktemp -d "$PYPI_FOLDER.tmp.XXXXXX")
    if ! "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --target "$work" "$@" \
        >"$PYPI_FOLDER.log" 2>&1; then
        rm -rf "$work"
        return 1
    fi
    chmod 755 "$work"
    mv -T "$work" "$PYPI_FOLDER"
}

# Sets what PyPI is asked for, by CUDA's major version: cuDNN and NCCL as PyTorch has them, so that a
# bundle meets no older ones there. From 9.11 on, cuDNN runs on Turing and newer alone, and older GPUs
# need CUDA 12 or 11.
find_pypi_versions() {
    case ${NVCC_VERSION%.*} in
    11) CUDNN_VERSION=9.10 NCCL_VERSION=2.21 ;;
    12) CUDNN_VERSION=9.10 NCCL_VERSION=2.27 ;;
    *) CUDNN_VERSION=9.19 NCCL_VERSION=2.28 ;;
    esac
}

# Prints those of the compute capabilities given that nvcc knows.
known_of() {
    local arch
    for arch in "$@"; do
        [[ " $KNOWN " != *" $arch "* ]] || echo "$arch"
    done
}

# Sets CUDA_ARCHITECTURES: machine code for each, and PTX of the last for GPUs to come.
find_architectures() {
    local arch list=()
    KNOWN=$("$NVCC" --list-gpu-arch 2>/dev/null | sed 's/compute_//' | sort -n | tr '\n' ' ') ||
        die "nvcc $NVCC_VERSION is too old; expected CUDA 11 or newer"
    if [ -n "${CUDA_ARCH:-}" ]; then
        list=(${CUDA_ARCH//[,;]/ })
    else
        mapfile -t list < <(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -Vu)
        # A driver that is not running prints a sentence.
        [[ "${list[*]}" =~ ^[0-9.\ ]+$ ]] || list=($(known_of $DEFAULT_ARCH))
    fi
    for arch in "${!list[@]}"; do
        list[arch]=${list[arch]/./}
        [ -n "$(known_of "${list[arch]}")" ] ||
            die "nvcc $NVCC_VERSION cannot compile for compute capability '${list[arch]}'; it can for: ${KNOWN% }"
    done
    CUDA_ARCHITECTURES=$(printf '%s\n' "${list[@]}" | sort -nu | sed '$!s/$/-real/' | paste -sd ';')
}

# locate_part NAME HEADER FOLDER...: adds the part to the lists; status 1 if no folder has both, the header
# in include/ and the library in a lib: those of two folders may be of two versions.
locate_part() {
    local name=$1 header=$2 folder include library
    shift 2
    for folder in "$@"; do
        include=$folder/include
        library=$(ls -d "$folder"/{lib64,lib}{,/"$MULTIARCH"}/lib"$name".so{,.[0-9]*} 2>/dev/null | head -n 1)
        [ -e "$include/$header" ] && [ -n "$library" ] || continue
        [[ ";$CUDA_INCLUDES;" == *";$include;"* ]] || CUDA_INCLUDES+=${CUDA_INCLUDES:+;}$include
        CUDA_LIBRARIES+=${CUDA_LIBRARIES:+;}$library
        return
    done
    return 1
}

# Sets CUDA_INCLUDES and CUDA_LIBRARIES, from the toolkit, the system, PyPI.
find_libraries() {
    local part missing=() wanted=() major=${NVCC_VERSION%.*}
    MULTIARCH=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
    CUDA_INCLUDES='' CUDA_LIBRARIES=''
    for part in "${CUDA_PARTS[@]}"; do
        locate_part "${part%:*}" "${part#*:}" "$TOOLKIT" /usr /usr/local || missing+=("$part")
    done
    for part in "${missing[@]}"; do
        case $part in
        cublas:* | curand:*) wanted+=("cuda-toolkit[${part%:*}]==$NVCC_VERSION.*") ;;
        cudnn:*) wanted+=("nvidia-cudnn-cu$major==$CUDNN_VERSION.*") ;;
        nccl:*) wanted+=("nvidia-nccl-cu$major==$NCCL_VERSION.*") ;;
        esac
    done
    if [ ${#missing[@]} -gt 0 ]; then
        if from_pypi "${missing[*]%:*}" "${wanted[@]}"; then
            for part in "${missing[@]}"; do
                locate_part "${part%:*}" "${part#*:}" "$PYPI_FOLDER"/nvidia/* ||
                    die "PyPI's ${part%:*} for CUDA $NVCC_VERSION holds no ${part#*:} or no library"
            done
        elif [ "${missing[*]}" = nccl:nccl.h ]; then
            say "there is no NCCL, here or on PyPI: one GPU at a time"
        else
            die "these libraries for CUDA $NVCC_VERSION are missing, and PyPI did not give them: ${missing[*]%:*};" \
                "install them beside $NVCC or in /usr (pip's message is in $PYPI_FOLDER.log)"
        fi
    fi
    [ ! -d "$TOOLKIT/include/cccl" ] || CUDA_INCLUDES+=";$TOOLKIT/include/cccl"
}

# Ends the build where cuDNN has nothing for one of the GPUs.
check_cudnn() {
    local oldest=${CUDA_ARCHITECTURES%%[-;]*} folders folder version=''
    IFS=';' read -ra folders <<<"$CUDA_INCLUDES"
    for folder in "${folders[@]}"; do
        [ -e "$folder/cudnn_version.h" ] || continue
        version=$(sed -nE 's/^#define CUDNN_(MAJOR|MINOR) ([0-9]+).*/\2/p' "$folder/cudnn_version.h" | paste -sd .)
        break
    done
    [ "$oldest" -ge 75 ] || [ "$(printf '%s\n' 9.11 "$version" | sort -V | head -n 1)" != 9.11 ] ||
        die "the cuDNN in $folder is version $version, which runs on compute capability 7.5 and newer, not on" \
            "'$oldest'; put cuDNN 9.10 or older there, or none: then PyPI's is taken"
}

find_cuda() {
    local settings
    find_nvcc
    NVCC_VERSION=$("$NVCC" --version 2>/dev/null | sed -n 's/.*release \([0-9]*\.[0-9]*\).*/\1/p') || true
    # The nvcc on PATH may be a script that calls another; its own settings name its folder, Debian's only
    # that of the program.
    settings=$("$NVCC" --dryrun -E -x cu /dev/null 2>&1) || true
    TOOLKIT=$(sed -n 's/^#\$ TOP=//p' <<<"$settings")
    [ -n "$TOOLKIT" ] || TOOLKIT=$(sed -n 's/^#\$ _HERE_=\(.*\)/\1\/../p' <<<"$settings")
    [ -n "$NVCC_VERSION" ] && [ -d "$TOOLKIT" ] || die "'$NVCC' does not work; try it with --version"
    TOOLKIT=$(cd "$TOOLKIT" && pwd)
    [ ! -x "$TOOLKIT/bin/nvcc" ] || NVCC=$TOOLKIT/bin/nvcc
    find_architectures
    find_pypi_versions
    find_libraries
    check_cudnn
}
