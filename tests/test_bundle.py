"""`sjft bundle`: what it packs runs elsewhere, with nothing of this machine but its C library."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import processes
from conftest import REPO, run_sjft
from joint_world import make_world
from sjft_tools.bundling.libraries import is_cuda, needed
from train_job import snapshots, write_job

C_LIBRARY = re.compile(r"(ld-linux.*|lib(c|m|dl|pthread|rt|util|resolv)\.so[.0-9]*)$")


@pytest.fixture(scope="module", autouse=True)
def patchelf() -> None:
    """What bundles are made with, as ``make bundle`` installs it."""
    process = subprocess.run(
        [REPO / "tools" / "caffe" / "packages.sh", "patchelf"],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        pytest.skip(f"needs patchelf: {process.stderr.strip()}")


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a bundle; return its folder."""
    with tarfile.open(archive) as tar:
        assert {member.name.split("/")[0] for member in tar} == {"sjft-bundle"}
        tar.extractall(folder)
    return folder / "sjft-bundle"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unpacked bundle, whose name has a space."""
    folder = tmp_path_factory.mktemp("bundle")
    said = run_sjft("bundle", folder / "b.tar")
    assert re.search(r"b\.tar: [0-9.]+ MB, \d+ files of \d+ MB; (for the CPU|needs libcu)", said)
    assert os.listdir(folder) == ["b.tar"]
    unpacked = unpack(folder / "b.tar", folder / "some where")
    (folder / "b.tar").unlink()
    return unpacked


@functools.cache
def cuda_libs() -> str:
    """Return the folders of NVIDIA's libraries that Caffe needs here, as CUDA_LIBS; "" if none."""
    libraries = needed(str(shutil.which("caffe")))
    return ":".join(
        sorted({os.path.dirname(libraries[name]) for name in filter(is_cuda, libraries)})
    )


def run(bundle: Path, *command: object, cwd: Path, status: int = 0, **environment: str) -> str:
    """Run a command by the bundle's entry in an empty environment; return both its outputs."""
    variables = {"GLOG_logtostderr": "1", "CUDA_LIBS": cuda_libs(), **environment}
    alone = ("env", "-i", *(f"{name}={value}" for name, value in variables.items()))
    return processes.run(*alone, bundle / "run", *command, cwd=cwd, status=status)


def has_driver() -> bool:
    with contextlib.suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        return True
    return False


def check(entry: Path, **environment: str) -> str:
    """Run the bundle's check, which finds all but a driver that is not there; return its words."""
    lacks_driver = cuda_libs() != "" and not has_driver()
    variables = {"CUDA_LIBS": cuda_libs(), **environment}
    alone = ("env", "-i", *(f"{name}={value}" for name, value in variables.items()))
    said = processes.run(*alone, entry, "check", status=int(lacks_driver))
    failures = re.findall("^FAIL  (.*?):", said, re.MULTILINE)
    assert failures == ["driver"] * lacks_driver, said
    return said


def test_training_ends_as_it_does_here(bundle: Path, tmp_path: Path) -> None:
    world = make_world(tmp_path)
    here = write_job(tmp_path / "here", world, max_iter=6)
    there = write_job(tmp_path / "there", world, max_iter=6)
    processes.caffe_train(here)
    run(bundle, "caffe", "train", "-solver", "solver.prototxt", cwd=there)
    assert snapshots(there) == snapshots(here) != {}

    again = write_job(tmp_path / "again", world, max_iter=6)
    said = run(bundle, "sjft", "train", "solver.prototxt", cwd=again)
    assert "iteration 6" in said.lower()
    assert snapshots(again).keys() >= {"x_iter_6.caffemodel", "x_iter_6.solverstate"}


def test_takes_nothing_from_the_machine(bundle: Path, tmp_path: Path) -> None:
    script = """
import sjft.layers, sjft_tools.cli, cv2, lmdb, numpy, sys, tqdm
cv2.SVDecomp(numpy.eye(3))
for line in open("/proc/self/maps"):
    if ".so" in line:
        print(line.split(None, 5)[5].strip())
for name, module in sorted(sys.modules.items()):
    if getattr(module, "__file__", None):
        print(module.__file__)
"""
    # As on a machine whose own folders come first wherever they can.
    files = run(
        bundle, "python3", "-c", script, cwd=tmp_path, LD_LIBRARY_PATH="/usr/lib/x86_64-linux-gnu"
    ).splitlines()
    foreign = [file for file in files if not file.startswith(f"{bundle}/")]
    names = [os.path.basename(file) for file in foreign]
    assert [name for name in names if not C_LIBRARY.match(name) and not is_cuda(name)] == []
    assert len(files) > len(foreign) + 100


def copy(bundle: Path, folder: Path) -> Path:
    """Copy a bundle quickly: its files have two names then."""
    return Path(shutil.copytree(bundle, folder, symlinks=True, copy_function=os.link))


def test_check_in_another_folder(bundle: Path, tmp_path: Path) -> None:
    moved = copy(bundle, tmp_path / "moved")
    entry = tmp_path / "link"
    entry.symlink_to(moved / "run")
    said = check(entry)
    assert f"ok    bundle: {moved}, Python 3." in said
    assert f"ok    pycaffe: {moved}/packages/caffe/__init__.py" in said


def test_a_missing_library_is_named(bundle: Path, tmp_path: Path) -> None:
    damaged = copy(bundle, tmp_path / "damaged")
    (damaged / "cuda-libraries").unlink()
    (damaged / "cuda-libraries").write_text("libcudnn.so.9999\n")
    said = run(damaged, "check", cwd=tmp_path, status=1)
    assert "FAIL  libcudnn.so.9999: it cannot be loaded" in said
    assert "CUDA_LIBS=DIR" in said and "skip  Caffe: needs the above" in said


def test_a_machine_without_driver(bundle: Path, tmp_path: Path) -> None:
    if has_driver():
        pytest.skip("needs a machine without NVIDIA's driver")
    damaged = copy(bundle, tmp_path / "damaged")
    (damaged / "cuda-libraries").unlink()
    (damaged / "cuda-libraries").write_text("libz.so.1\n")
    # As Slurm sets it in a job that asked for no GPU.
    job = {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}
    said = run(damaged, "check", cwd=tmp_path, status=1, **job)
    assert f"ok    libz.so.1: {damaged}/lib/libz.so.1" in said and "ok    pycaffe: " in said
    assert "FAIL  driver: this machine has no NVIDIA driver (libcuda.so.1: " in said
    assert "FAIL  GPUs that may be used: CUDA_VISIBLE_DEVICES='NoDevFiles' hides them all" in said
    assert "GPU 0" not in said


def refused(bundle: Path, cwd: Path) -> str:
    """Return why the bundle's entry starts nothing on this machine."""
    said = run(bundle, "check", cwd=cwd, status=1)
    start = "run: error: programs of this folder do not start here ("
    end = rf"\); expected: {platform.machine()} with glibc 2\.\d+ or newer, and a folder [a-z ]+\n"
    match = re.fullmatch(re.escape(start) + "(.*)" + end, said)
    assert match, said
    return match[1]


def test_a_c_library_too_old_for_python(bundle: Path, tmp_path: Path) -> None:
    old = copy(bundle, tmp_path / "old")
    program = old / "bin" / "python3"
    code = program.read_bytes()
    asked = max(re.findall(rb"\0GLIBC_2\.(\d\d)(?=\0)", code))
    program.unlink()
    # No machine's C library has this version; the loader's words are its own.
    program.write_bytes(code.replace(b"\0GLIBC_2." + asked, b"\0GLIBC_2.99"))
    program.chmod(0o755)
    assert "`GLIBC_2.99' not found" in refused(old, tmp_path)


def test_a_c_library_too_old_for_a_library(bundle: Path, tmp_path: Path) -> None:
    old = copy(bundle, tmp_path / "old")
    text = (old / "run").read_text()
    (old / "run").unlink()
    (old / "run").write_text(re.sub(r"\b2\.\d\d\b", "2.99", text))
    (old / "run").chmod(0o755)
    assert refused(old, tmp_path) == f"found: {os.confstr('CS_GNU_LIBC_VERSION')}"


def test_entry_copied_elsewhere(bundle: Path, tmp_path: Path) -> None:
    shutil.copy(bundle / "run", tmp_path)
    said = run(tmp_path, "check", cwd=tmp_path, status=1)
    assert said.startswith(f"run: error: {tmp_path} holds no bin/python3: this is a copy of 'run'")
    assert said.count("\n") == 1


def test_a_folder_with_a_colon(bundle: Path, tmp_path: Path) -> None:
    said = run(copy(bundle, tmp_path / "a:b"), "check", cwd=tmp_path, status=1)
    assert f"the folder's name, {tmp_path}/a:b, has a colon" in said


def test_libraries_in_a_folder_with_a_space(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", cuda_libs())
    found = needed(str(bundle / "bin" / "caffe"))
    assert os.path.realpath(found["libcaffe.so.1.0.0"]) == str(bundle / "lib" / "libcaffe.so.1.0.0")
    assert " " in found["libcaffe.so.1.0.0"]


def test_entry_alone_says_how(bundle: Path, tmp_path: Path) -> None:
    said = run(bundle, cwd=tmp_path, status=2)
    assert "./run caffe train -solver solver.prototxt" in said
    assert said.startswith("Usage: run COMMAND") and said.rstrip().endswith("looked into first")


def test_without_opencv(tmp_path: Path) -> None:
    said = run_sjft("bundle", tmp_path / "b.tar", "--without-opencv")
    assert "without_opencv=True" in said
    bundle = unpack(tmp_path / "b.tar", tmp_path)
    (tmp_path / "b.tar").unlink()
    assert not (bundle / "packages" / "cv2").exists()
    said = check(bundle / "run", HOST_PYTHON=sys.executable)
    assert re.search(r"ok    OpenCV: .*/site-packages/cv2/__init__\.py", said)
    assert f"ok    sjft.layers: {bundle}/packages/sjft/layers.py" in said
    # Nothing else of the machine's packages, which are for another Python.
    script = "import cv2, importlib.util; print(importlib.util.find_spec('pip'))"
    assert (
        run(bundle, "python3", "-c", script, cwd=tmp_path, HOST_PYTHON=sys.executable) == "None\n"
    )
    said = run(bundle, "check", cwd=tmp_path, status=1, HOST_PYTHON="/bin/false")
    assert "FAIL  OpenCV: it cannot be imported" in said and "HOST_PYTHON=PYTHON" in said


def test_refuses_other_archives(tmp_path: Path) -> None:
    said = run_sjft("bundle", tmp_path / "b.zip", status=2)
    assert "b.zip must end in .tar.xz, .tar.gz, .tar" in said
    (tmp_path / "b.tar").write_text("kept")
    run_sjft("bundle", tmp_path / "b.tar", status=2)
    assert (tmp_path / "b.tar").read_text() == "kept"
    assert os.listdir(tmp_path) == ["b.tar"]


def test_refuses_without_caffe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    said = run_sjft("bundle", tmp_path / "b.tar", status=2)
    assert "there is no command 'caffe' on PATH" in said
    assert os.listdir(tmp_path) == []


def test_refuses_packages_without_a_list_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "packages" / "six-9.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: six\nVersion: 9.0\n")
    monkeypatch.setenv("PYTHONPATH", f"{info.parent}:{os.environ.get('PYTHONPATH', '')}")
    said = run_sjft("bundle", tmp_path / "b.tar", status=2)
    assert f"the package six in {info.parent} has no list of its files" in said
    assert not (tmp_path / "b.tar").exists()
