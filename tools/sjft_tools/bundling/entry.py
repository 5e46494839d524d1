"""The files of a bundle that exist nowhere else: how its programs are started on a machine."""

from __future__ import annotations

#: The bundle's one entry. First it asks the machine's own Python where the packages lie that
#: PyTorch brought.
RUN = r"""#!/bin/sh
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
    sed -n 's/^# \{0,1\}//p' "$0" | sed 1d
    exit 2
fi

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

SJFT = """#!/bin/sh
exec python3 -m sjft_tools.cli "$@"
"""

#: Only in a bundle without OpenCV: the machine's own packages come last, so that only what is in
#: none of the bundle's folders is taken from them.
SITECUSTOMIZE = '''"""Finds OpenCV among the packages of the machine's own Python."""

import os
import sys

if os.environ.get("SJFT_HOST_PACKAGES"):
    sys.path.append(os.environ["SJFT_HOST_PACKAGES"])
'''
