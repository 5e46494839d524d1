"""Which shared libraries a program needs, and which of them a bundle takes along."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable

from sjft.errors import InputError

#: The C library's parts, which belong to the machine as its kernel does: a bundle needs one at
#: least as new as that of the machine it was made on.
_GLIBC = re.compile(
    r"(ld-linux|linux-vdso|lib(c|m|dl|pthread|rt|util|resolv|anl|mvec|nsl|BrokenLocale)\.so)"
)
#: NVIDIA's libraries: large, and there wherever PyTorch for the GPU is. The driver's never travel.
_CUDA = re.compile(r"lib(cublas|cublasLt|curand|cudnn|nccl|nvrtc|cudart)[._-]")
_DRIVER = re.compile(r"lib(cuda|nvidia-ml)\.so")

#: The name of a version of the C library, as a program that asks for it holds it.
_GLIBC_VERSION = re.compile(rb"\0GLIBC_(\d+)\.(\d+)")

_ELF_MAGIC = b"\x7fELF"


def is_elf(path: str) -> bool:
    """Return whether the file `path` is a program or shared library."""
    with open(path, "rb") as file:
        return file.read(4) == _ELF_MAGIC


def is_cuda(name: str) -> bool:
    """Return whether the library of this file name is one of NVIDIA's, the driver's aside."""
    return _CUDA.match(name) is not None


def needed(path: str) -> dict[str, str]:
    """Return what `path` is linked to, directly or through others: name as asked for -> file.

    Left out: the C library and the driver. Raises InputError naming a library that is not found.
    """
    listing = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    found = {}
    for line in listing.splitlines():
        match = re.match(r"\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$", line)
        if match is None:
            continue
        name, file = match.groups()
        if _GLIBC.match(name) or _DRIVER.match(name):
            continue
        if file == "not found":
            raise InputError(f"{path} needs the library {name}, which is not found on this machine")
        found[name] = file
    return found


def all_needed(
    paths: Iterable[str], inside: Iterable[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the programs and libraries `paths` need: NVIDIA's libraries, and the others.

    Libraries in the folders `inside` are left out: they travel with the package they belong to.
    """
    folders = tuple(os.path.realpath(folder) + os.sep for folder in inside)
    cuda, others = {}, {}
    for path in paths:
        for name, file in needed(path).items():
            if is_cuda(name):
                cuda[name] = file
            elif not os.path.realpath(file).startswith(folders):
                others[name] = file
    return cuda, others


def with_siblings(cuda: dict[str, str]) -> dict[str, str]:
    """Return `cuda` with the libraries beside them that they load only while they run."""
    found = dict(cuda)
    for file in cuda.values():
        folder = os.path.dirname(os.path.realpath(file))
        for name in os.listdir(folder):
            if is_cuda(name) and re.search(r"\.so\.[0-9.]+$", name):
                found.setdefault(name, os.path.join(folder, name))
    return found


def glibc_needed(paths: Iterable[str]) -> str:
    """Return the version of the C library that the programs and libraries `paths` ask for."""
    asked = [(2, 17)]  # the oldest that wheels are made for
    for path in paths:
        with open(path, "rb") as file:
            asked += [(int(a), int(b)) for a, b in _GLIBC_VERSION.findall(file.read())]
    return "{}.{}".format(*max(asked))
