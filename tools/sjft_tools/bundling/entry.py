"""The files of a bundle that exist nowhere else: how its programs are started on a machine."""

from __future__ import annotations

#: The bundle's one entry; `run` fills in what it asks of the machine. First it asks the machine's
#: own Python where the packages lie that PyTorch brought.
_RUN = r"""#!/bin/sh
# Usage: run COMMAND [ARGUMENT...]
# Runs a command with this folder's Caffe, Python and sjft, wherever the folder lies:
#   ./run check                                   says what is found here and what is missing
#   ./run caffe train -solver solver.prototxt     any command: caffe, sjft, python3, sh
#
#   HOST_PYTHON=PYTHON   the machine's own Python (python3), whose packages have NVIDIA's libraries
#                        if PyTorch for the GPU is there, and OpenCV if this folder has it not
#   CUDA_LIBS=DIR:DIR    other folders of cuBLAS, cuRAND, cuDNN and NCCL, looked into first
set -eu
here=$(dirname "$(readlink -f "$0")")
if [ $# -eq 0 ]; then
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    exit 2
fi

die() {
    echo "run: error: $*" >&2
    exit 1
}
[ -e "$here/bin/python3" ] ||
    die "$here holds no bin/python3: this is a copy of 'run', such as batch systems make of the" \
        "script that they are given; give them one that calls 'run' in its own folder"
case $here in
*:*) die "the folder's name, $here, has a colon, which divides lists of folders: move it" ;;
esac

# Has status 1, and a reason, where the C library is too old for any of this folder's libraries.
try_c_library='
import os, sys
found = os.confstr("CS_GNU_LIBC_VERSION")
version, expected = (tuple(map(int, text.split(".")[:2])) for text in (found[6:], "@GLIBC@"))
sys.exit("found: " + found if version < expected else 0)
'
# Prints two lines: folders of NVIDIA's libraries, and the folder that holds OpenCV.
find_in_host='
import glob, importlib.util, os
nvidia, cv2 = (importlib.util.find_spec(name) for name in ("nvidia", "cv2"))
folders = nvidia.submodule_search_locations if nvidia else []
folders = [lib for folder in folders for lib in sorted(glob.glob(os.path.join(folder, "*/lib")))]
print(":".join(folders))
print(os.path.dirname(os.path.dirname(cv2.origin)) if cv2 and cv2.origin else "")
'
if [ "${SJFT_BUNDLE:-}" != "$here" ]; then
    why=$("$here/bin/python3" -ISc "$try_c_library" 2>&1) ||
        die "programs of this folder do not start here ($(echo "$why" | sed -n 1p)); expected:" \
            "@MACHINE@ with glibc @GLIBC@ or newer, and a folder whose programs may be started"
    found=$("${HOST_PYTHON:-python3}" -c "$find_in_host" 2>/dev/null) || found=
    folders=${CUDA_LIBS:-}:$(echo "$found" | sed -n 1p):${LD_LIBRARY_PATH:-}
    LD_LIBRARY_PATH=$(echo "$folders" | tr -s : '\n' | sed '/^$/d' | paste -s -d : -)
    export LD_LIBRARY_PATH
    SJFT_HOST_PACKAGES=$(echo "$found" | sed -n 2p)
    export SJFT_HOST_PACKAGES
fi
export SJFT_BUNDLE="$here" PYTHONHOME="$here" PYTHONPATH="$here/packages" PYTHONNOUSERSITE=1
export PATH="$here/bin:${PATH:-/usr/bin:/bin}"
[ "$1" != check ] || { shift && set -- python3 -m sjft_tools.bundling.check "$@"; }
exec "$@"
"""


def run(machine: str, glibc: str) -> str:
    """Return the entry of a bundle for this kind of processor and this C library or newer."""
    return _RUN.replace("@MACHINE@", machine).replace("@GLIBC@", glibc)


SJFT = """#!/bin/sh
exec python3 -m sjft_tools.cli "$@"
"""

#: Only in a bundle without OpenCV, which alone is taken from the machine's packages: they are for
#: another Python, and other versions of what the bundle has.
SITECUSTOMIZE = '''"""Finds OpenCV among the packages of the machine's own Python."""

import os
import sys
from importlib.machinery import PathFinder


class OpenCVFinder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        folder = os.environ.get("SJFT_HOST_PACKAGES")
        return PathFinder.find_spec(name, [folder], target) if folder and name == "cv2" else None


# The last: while it is imported, cv2 looks for its own binary by the same name.
sys.meta_path.append(OpenCVFinder)
'''
