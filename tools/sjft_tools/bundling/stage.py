"""The bundle as a folder: copies its files and makes its programs find each other there."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from typing import NamedTuple

from sjft.errors import InputError
from sjft_tools.bundling import contents, entry
from sjft_tools.bundling.libraries import all_needed, glibc_needed, is_cuda, is_elf, with_siblings
from sjft_tools.command import progress

#: In the bundle: the names of NVIDIA's libraries that it needs and has not, a line each.
CUDA_LIST = "cuda-libraries"

#: OpenCV's wheels bring an OpenBLAS; Caffe's serves as well.
_WHEELS_BLAS = re.compile(r"/opencv_python[^/]*\.libs/libopenblas[^/]*$")
_BLAS = "libopenblas.so.0"


class Staged(NamedTuple):
    """What a bundle holds: files, their size in bytes, NVIDIA's libraries that it lacks."""

    files: int
    size: int
    cuda: list[str]


def stage(folder: str, opencv: bool, cuda_libraries: bool) -> Staged:
    """Fill `folder`, which is empty, with the bundle, and import its pycaffe there.

    opencv: take OpenCV along; else the machine's own is looked for. cuda_libraries: take NVIDIA's
    libraries along. Raises InputError for anything that is not there to be packed.
    """
    if shutil.which("patchelf") is None:
        raise InputError("there is no command 'patchelf', which bundles are made with: install it")
    files = dict(
        [*contents.python(), *contents.packages(opencv), *contents.caffe(), *contents.ours()]
    )
    programs = [file for file in files.values() if is_elf(file)]
    cuda, libraries = all_needed(programs, contents.package_folders(opencv))
    if cuda_libraries:
        libraries.update(with_siblings(cuda))
    files.update((f"lib/{name}", file) for name, file in libraries.items())
    for place, file in progress(files.items(), "copy", total=len(files), unit="file"):
        path = os.path.join(folder, place)
        _copy(file, path)
        if is_elf(path) and not is_cuda(os.path.basename(place)):
            _set_library_path(folder, path)
    if _BLAS in libraries:
        _share_blas(folder, files)
    lacking = [] if cuda_libraries else sorted(cuda)
    ours = (file for place, file in files.items() if not is_cuda(os.path.basename(place)))
    _write_entry(folder, opencv, lacking, glibc_needed(file for file in ours if is_elf(file)))
    _try(folder, {os.path.dirname(file) for file in cuda.values()})
    sizes = [os.path.getsize(os.path.join(folder, place)) for place in files]
    return Staged(len(files), sum(sizes), lacking)


def _try(folder: str, cuda_folders: set[str]) -> None:
    """Raise InputError unless Python imports pycaffe and the layers in the bundle."""
    process = subprocess.run(
        [os.path.join(folder, "run"), "python3", "-c", "import sjft.layers"],
        env={"CUDA_LIBS": ":".join(sorted(cuda_folders)), "HOST_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        lines = process.stdout.strip().splitlines() or [f"status {process.returncode}"]
        raise InputError(
            f"pycaffe and the layers cannot be imported from the bundle ({lines[-1]}): expected a "
            f"Caffe of 'make caffe', which needs {', '.join(contents.PACKAGES)} alone"
        )


def _copy(file: str, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copyfile(file, path)
    shutil.copymode(file, path)
    os.chmod(path, os.stat(path).st_mode | 0o600)


def _share_blas(folder: str, files: Iterable[str]) -> None:
    """Let OpenCV use Caffe's OpenBLAS."""
    for place in files:
        if not _WHEELS_BLAS.search("/" + place):
            continue
        path = os.path.join(folder, place)
        os.remove(path)
        blas = os.path.join(folder, "lib", _BLAS)
        os.symlink(os.path.relpath(blas, os.path.dirname(path)), path)


def _set_library_path(folder: str, path: str) -> None:
    """Let the program or library `path` look in the bundle's lib/ first, wherever the bundle lies.

    RPATH, not RUNPATH: a machine's LD_LIBRARY_PATH must not put other libraries before these. What
    a package's own library path says stays, behind it, as far as it is relative.
    """
    before = subprocess.run(
        ["patchelf", "--print-rpath", path], capture_output=True, text=True, check=True
    )
    library_folder = os.path.relpath(os.path.join(folder, "lib"), os.path.dirname(path))
    paths = [f"$ORIGIN/{library_folder}" if library_folder != "." else "$ORIGIN"]
    for part in before.stdout.strip().split(":"):
        if part.startswith("$ORIGIN") and part not in paths:
            paths.append(part)
    subprocess.run(["patchelf", "--force-rpath", "--set-rpath", ":".join(paths), path], check=True)


def _write_entry(folder: str, opencv: bool, cuda: list[str], glibc: str) -> None:
    texts = {"run": entry.run(platform.machine(), glibc), "bin/sjft": entry.SJFT}
    if not opencv:
        texts[f"{contents.SITE}/sitecustomize.py"] = entry.SITECUSTOMIZE
    for place, text in texts.items():
        path = os.path.join(folder, place)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        if text.startswith("#!"):
            os.chmod(path, 0o755)
    with open(os.path.join(folder, CUDA_LIST), "w", encoding="utf-8") as file:
        file.write("".join(f"{name}\n" for name in cuda))
