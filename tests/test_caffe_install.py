"""Getting Caffe: env.sh, the scripts of tools/caffe, and Caffes that are refused."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import processes
from conftest import REPO

SHELLS = [shell for shell in ("bash", "dash", "zsh") if shutil.which(shell)]
PATHS = 'echo "$PATH"; echo "$PYTHONPATH"; echo "$LD_LIBRARY_PATH"'


def run(*command: object, cwd: Path = REPO, status: int = 0, **environment: str) -> str:
    """Run a command with `environment` changed, check its status, return both its outputs.

    The options of a make that runs these tests are kept from it: they would win over `environment`.
    """
    return processes.run(*command, cwd=cwd, status=status, **{"MAKEFLAGS": "", **environment})


def root_in_use() -> Path:
    """Return the folder of the Caffe that the tests run with."""
    caffe = shutil.which("caffe")
    assert caffe is not None
    return Path(caffe).resolve().parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a fresh clone has of the files that matter here."""
    folder = tmp_path / "checkout"
    shutil.copytree(REPO / "tools" / "caffe", folder / "tools" / "caffe")
    for name in ("env.sh", "Makefile", "setup.py"):
        shutil.copy(REPO / name, folder / name)
    return folder


@pytest.fixture
def copied_caffe(tmp_path: Path) -> Path:
    """A copy of the Caffe in use that a test may damage."""
    root = root_in_use()
    if not (root / "lib" / "libcaffe.so.1.0.0").exists() or not (root / "python").exists():
        pytest.skip("needs the Caffe that 'make caffe' builds")
    copy = tmp_path / "caffe"
    shutil.copytree(root, copy, symlinks=True)
    return copy


@pytest.mark.parametrize("shell", SHELLS)
def test_env_twice_is_env_once(shell: str) -> None:
    once = run(shell, "-uc", f". ./env.sh; {PATHS}", LD_LIBRARY_PATH="/a:/b")
    twice = run(shell, "-uc", f". ./env.sh; . ./env.sh; {PATHS}", LD_LIBRARY_PATH="/a:/b")
    assert once == twice
    path, pythonpath, _ = once.splitlines()
    assert path.split(":")[0] == str(REPO / "build" / "venv" / "bin")
    assert pythonpath.split(":")[0] == str(REPO / "python_layers")
    assert "" not in path.split(":") + pythonpath.split(":")


def test_env_from_another_folder(tmp_path: Path) -> None:
    script = f". {REPO}/env.sh && command -v sjft caffe"
    sjft, caffe = run("bash", "-c", script, cwd=tmp_path, PATH="/usr/bin:/bin").splitlines()
    assert sjft == str(REPO / "build" / "venv" / "bin" / "sjft")
    assert Path(caffe).name == "caffe"


def test_env_leaves_no_names_behind() -> None:
    output = run("bash", "-c", ". ./env.sh; set")
    leftovers = [
        line for line in output.splitlines() if line.lower().startswith(("_sjft", "sjft_c"))
    ]
    assert [line for line in leftovers if not line.startswith("SJFT_CACHE=")] == []


def test_env_before_make_caffe(checkout: Path) -> None:
    output = run("bash", "-c", ". ./env.sh", cwd=checkout, status=1, CAFFE_ROOT="")
    assert output == (
        f"env.sh: error: this checkout is not set up yet; run 'make caffe' in {checkout} first\n"
    )


def refuse(checkout: Path, root: Path) -> str:
    """Run ``make caffe`` for the Caffe in `root`, which must be refused before anything is made."""
    output = run("make", "caffe", cwd=checkout, status=2, CAFFE_ROOT=str(root))
    assert not (checkout / "build").exists()
    return output


def test_missing_root_is_refused(checkout: Path, tmp_path: Path) -> None:
    assert "which should hold Caffe, does not exist" in refuse(checkout, tmp_path / "nothing")


def test_empty_root_is_refused(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    output = refuse(checkout, tmp_path / "empty")
    assert "has no caffe command (build/tools/caffe or bin/caffe)" in output


def test_root_without_pycaffe_is_refused(checkout: Path, copied_caffe: Path) -> None:
    shutil.rmtree(copied_caffe / "python")
    assert "has no pycaffe" in refuse(checkout, copied_caffe)


def check_of(root: Path) -> str:
    """Run what ``make caffe`` runs last for a CAFFE_ROOT; it must fail."""
    return run("bash", "-c", ". ./env.sh && sjft check", status=1, CAFFE_ROOT=str(root))


def test_root_whose_pycaffe_does_not_import_is_refused(copied_caffe: Path) -> None:
    (copied_caffe / "python" / "caffe" / "_caffe.so").unlink()
    output = check_of(copied_caffe)
    assert f"ok    caffe command: {copied_caffe}/bin/caffe" in output
    assert "FAIL  pycaffe: 'import caffe' fails" in output and "_caffe" in output


def test_root_without_python_layers_is_refused(copied_caffe: Path) -> None:
    # A Caffe built without them is one that does not know the type; renaming it spares the build.
    library = copied_caffe / "lib" / "libcaffe.so.1.0.0"
    library.write_bytes(library.read_bytes().replace(b"\0Python\0", b"\0Pithon\0"))
    output = check_of(copied_caffe)
    assert (
        f"FAIL  Python layers: {copied_caffe}/bin/caffe was built without Python layers" in output
    )
    assert "-> build it with WITH_PYTHON_LAYER" in output


def test_root_is_used(copied_caffe: Path) -> None:
    script = ". ./env.sh && sjft check"
    output = run("bash", "-c", script, CAFFE_ROOT=str(copied_caffe))
    assert f"ok    pycaffe: {copied_caffe}/python/caffe/__init__.py" in output


@pytest.fixture
def cached(checkout: Path) -> Callable[..., str]:
    """A function that runs build.sh in a second checkout, which finds Caffe in the cache."""
    noted = REPO / "build" / "caffe-root"
    if os.environ.get("CAFFE_ROOT") or not noted.exists():
        pytest.skip("needs the Caffe that 'make caffe' builds")
    root = Path(noted.read_text().strip())
    libraries = run("ldd", root / "lib" / "libcaffe.so.1.0.0")
    built = {"CUDA": "libcudnn" in libraries, "SLIM": "libopencv" not in libraries}
    for choice, made in built.items():
        if made != (os.environ.get(choice) == "1"):  # or another Caffe would be built
            pytest.skip(f"needs {choice} as it was for the 'make caffe' that built this Caffe")

    def build() -> str:
        script = checkout / "tools" / "caffe" / "build.sh"
        return run(script, cwd=checkout, SJFT_CACHE=str(root.parent))

    return build


def test_second_checkout_builds_nothing(checkout: Path, cached: Callable[..., str]) -> None:
    root = (REPO / "build" / "caffe-root").read_text()
    assert cached() == f"build.sh: Caffe is in {root}"
    assert (checkout / "build" / "caffe-root").read_text() == root


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize(
    "sudo, advice",
    [
        (None, "As root, install them with\n    apt-get update && apt-get install "),
        (
            "echo a password is required >&2; exit 1",
            "Install them with\n    sudo apt-get update && sudo apt-get install ",
        ),
    ],
    ids=["no sudo", "a sudo that asks for a password"],
)
def test_missing_packages_without_root(checkout: Path, sudo: str | None, advice: str) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    # pytest's temporary folders are closed to others
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        scripts, commands = Path(folder, "caffe"), Path(folder, "commands")
        shutil.copytree(checkout / "tools" / "caffe", scripts)
        (scripts / "packages.txt").write_text("# comment\nbash\nno-such-package-of-sjft\n")
        commands.mkdir()
        for command in Path("/usr/bin").iterdir():
            if command.name != "sudo":
                (commands / command.name).symlink_to(command)
        if sudo is not None:
            (commands / "sudo").write_text(f"#!/bin/sh\n{sudo}\n")
            (commands / "sudo").chmod(0o755)
        packages = scripts / "packages.sh"
        environment = {"PATH": str(commands), "SLIM": "1"}
        output = run(*nobody, "bash", packages, status=1, cwd=Path("/"), **environment)
    assert "these Debian packages are missing, and only root can install them: " in output
    assert f"{advice}--no-install-recommends no-such-package-of-sjft\nand run" in output
