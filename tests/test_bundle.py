"""`sjft bundle`: what it packs runs elsewhere, with nothing of this machine but its C library."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from conftest import REPO, run_sjft
from joint_world import make_world
from processes import caffe_train
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


def run(bundle: Path, *command: object, cwd: Path, status: int = 0, **environment: str) -> str:
    """Run a command by the bundle's entry in an empty environment; return both its outputs."""
    process = subprocess.run(
        [str(bundle / "run"), *map(str, command)],
        env={"GLOG_logtostderr": "1", **environment},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == status, process.stdout
    return process.stdout


def test_training_ends_as_it_does_here(bundle: Path, tmp_path: Path) -> None:
    world = make_world(tmp_path)
    here = write_job(tmp_path / "here", world, max_iter=6)
    there = write_job(tmp_path / "there", world, max_iter=6)
    caffe_train(here)
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
    assert [file for file in foreign if not C_LIBRARY.match(os.path.basename(file))] == []
    assert len(files) > len(foreign) + 100


def copy(bundle: Path, folder: Path) -> Path:
    """Copy a bundle quickly: its files have two names then."""
    return Path(shutil.copytree(bundle, folder, symlinks=True, copy_function=os.link))


def test_check_in_another_folder(bundle: Path, tmp_path: Path) -> None:
    moved = copy(bundle, tmp_path / "moved")
    entry = tmp_path / "link"
    entry.symlink_to(moved / "run")
    said = subprocess.run([entry, "check"], env={}, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"ok    bundle: {moved}, Python 3." in said.stdout
    assert f"ok    pycaffe: {moved}/packages/caffe/__init__.py" in said.stdout
    assert "FAIL" not in said.stdout


def test_a_missing_library_is_named(bundle: Path, tmp_path: Path) -> None:
    damaged = copy(bundle, tmp_path / "damaged")
    (damaged / "cuda-libraries").unlink()
    (damaged / "cuda-libraries").write_text("libcudnn.so.9999\n")
    said = run(damaged, "check", cwd=tmp_path, status=1)
    assert "FAIL  libcudnn.so.9999: it cannot be loaded" in said
    assert "CUDA_LIBS=DIR" in said and "skip  Caffe: needs the above" in said


def test_entry_alone_says_how(bundle: Path, tmp_path: Path) -> None:
    said = run(bundle, cwd=tmp_path, status=2)
    assert "./run caffe train -solver solver.prototxt" in said and "CUDA_LIBS" in said


def test_without_opencv(tmp_path: Path) -> None:
    said = run_sjft("bundle", tmp_path / "b.tar", "--without-opencv")
    assert "without_opencv=True" in said
    bundle = unpack(tmp_path / "b.tar", tmp_path)
    (tmp_path / "b.tar").unlink()
    assert not (bundle / "packages" / "cv2").exists()
    said = run(bundle, "check", cwd=tmp_path, HOST_PYTHON=sys.executable)
    assert re.search(r"ok    OpenCV: .*/site-packages/cv2/__init__\.py", said)
    assert f"ok    sjft.layers: {bundle}/packages/sjft/layers.py" in said
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
