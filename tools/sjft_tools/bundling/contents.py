"""What a bundle holds: from files of this machine to places in the bundle."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import sjft
import sjft_tools
from sjft.errors import InputError

#: What training needs of Python's packages; pycaffe imports six.
PACKAGES = ("numpy", "protobuf", "lmdb", "tqdm", "six")
OPENCV = ("opencv-python-headless", "opencv-python")

#: The folder of the bundle that is PYTHONPATH there.
SITE = "packages"

#: Caffe's commands that sjft uses; those of them that there are.
_PROGRAMS = ("caffe", "upgrade_net_proto_text", "upgrade_net_proto_binary")

#: Of the standard library: tests, windows and terminals, what makes packages; encryption and SQL,
#: with their libraries, and Far Eastern character sets, 3 MB when packed. hashlib does without.
_NOT_NEEDED = re.compile(
    r"(^|/)(__pycache__|test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|pydoc_data|distutils"
    r"|dist-packages|site-packages|config-[^/]*)(/|$)"
    r"|/(_tkinter|_curses|_curses_panel|readline|nis|_dbm|_gdbm|_test|_ctypes_test|xx)[^/]*\.so$"
    r"|/(_ssl|_hashlib|_sqlite3|_codecs_)[^/]*\.so$"
    r"|(^|/)(sitecustomize\.py|EXTERNALLY-MANAGED)$"
)
#: Of the packages: tests, what compilers and type checkers read.
_NOT_RUN = re.compile(
    r"(^|/)(__pycache__|tests|f2py|include|\.\.)(/|$)|\.(pyi|pxd|pyx|h|a|c|typed)$|LICENSE-3RD-PARTY"
)

Files = Iterator["tuple[str, str]"]


def _tree(folder: str, place: str, left_out: re.Pattern[str]) -> Files:
    """Yield (place in the bundle, file) for all files under `folder` but those `left_out`."""
    for root, folders, names in os.walk(folder):
        inner = os.path.relpath(root, folder)
        inner = "" if inner == "." else inner + "/"
        folders[:] = sorted(name for name in folders if not left_out.search(inner + name))
        for name in sorted(names):
            if not left_out.search("/" + inner + name):
                yield f"{place}/{inner}{name}", os.path.join(root, name)


def python() -> Files:
    """Yield this Python, the one that Caffe is linked to, with its standard library."""
    program = os.path.realpath(sys.executable)
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    yield "bin/python3", program
    yield from _tree(sysconfig.get_path("stdlib"), f"lib/{name}", _NOT_NEEDED)


def packages(opencv: bool) -> Files:
    """Yield the packages that training needs, OpenCV among them if `opencv` is set.

    Raises InputError naming a package that this Python has not, or has without a list of its files.
    """
    for package in _distributions(opencv):
        if not package.files:
            raise InputError(
                f"the package {package.metadata['Name']} in {package.locate_file('')} has no list "
                "of its files, as a distribution's own have none: install it with pip"
            )
        for file in package.files:
            path = str(file.locate())
            if not _NOT_RUN.search(str(file)) and os.path.isfile(path):
                yield f"{SITE}/{file}", path


def package_folders(opencv: bool) -> set[str]:
    """Return the folders in which those packages lie."""
    return {str(package.locate_file("")) for package in _distributions(opencv)}


def _distributions(opencv: bool) -> list[Distribution]:
    found = []
    for names in [*((name,) for name in PACKAGES), *([OPENCV] if opencv else [])]:
        for name in names:
            with contextlib.suppress(PackageNotFoundError):
                found.append(distribution(name))
                break
        else:
            raise InputError(
                f"the Python {sys.executable} has no package {names[0]}: install it first"
            )
    return found


def caffe() -> Files:
    """Yield Caffe's commands and pycaffe, as they are found on PATH and PYTHONPATH.

    Raises InputError if either is not found.
    """
    command = shutil.which("caffe")
    spec = importlib.util.find_spec("caffe")
    if command is None or spec is None or spec.origin is None:
        missing = "command 'caffe' on PATH" if command is None else "pycaffe on PYTHONPATH"
        raise InputError(f"there is no {missing}: run '. ./env.sh' in the checkout first")
    for name in _PROGRAMS:
        path = os.path.join(os.path.dirname(os.path.realpath(command)), name)
        if os.path.isfile(path):
            yield f"bin/{name}", path
    yield from _tree(os.path.dirname(spec.origin), f"{SITE}/caffe", _NOT_RUN)


def ours() -> Files:
    """Yield the layers, the command `sjft` and, from a checkout, the nets under prototxt/."""
    for package in (sjft, sjft_tools):
        folder = os.path.dirname(os.path.abspath(str(package.__file__)))
        yield from _tree(folder, f"{SITE}/{package.__name__}", re.compile(r"(^|/)__pycache__(/|$)"))
    nets = Path(str(sjft_tools.__file__)).parents[2] / "prototxt"
    if nets.is_dir():
        yield from _tree(str(nets), "prototxt", re.compile(r"(^|/)__pycache__(/|$)"))
