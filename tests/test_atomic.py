"""Outputs: what is refused, what a failure leaves; locks, and files without room."""

from __future__ import annotations

import fcntl
import os
import resource
import tempfile
from pathlib import Path

import pytest

from sjft.errors import InputError
from sjft_tools.atomic import new_file, new_folder, refuse_existing
from sjft_tools.file_lock import lock
from sjft_tools.work_folder import put_file


def test_a_second_run_is_refused_while_the_first_writes(tmp_path):
    path = str(tmp_path / "out")
    refused = pytest.raises(InputError, match=r"^another run is writing")
    with new_folder(path), refused, new_folder(path):
        raise AssertionError
    assert os.path.isdir(path)


@pytest.mark.parametrize("opener", [new_folder, new_file])
def test_an_exception_leaves_nothing(tmp_path, opener):
    path = tmp_path / "out"
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), opener(str(path)) as partial:
            assert os.path.dirname(partial) == str(tmp_path)
            if opener is new_file:
                Path(partial).write_text("half")
            assert not path.exists()
            raise error
        assert os.listdir(tmp_path) == []


def test_the_working_file_keeps_its_ending(tmp_path):
    with new_file(str(tmp_path / "out.npz")) as partial:
        assert partial.endswith(".npz") and os.path.basename(partial).startswith(".")
        Path(partial).write_text("x")
    assert os.listdir(tmp_path) == ["out.npz"]


def test_what_exists_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for opener in (new_file, new_folder):
        with pytest.raises(InputError, match=r"the output has no name"), opener(""):
            raise AssertionError
    for name in ("file", "folder", "link"):
        with pytest.raises(InputError, match=rf"the output {tmp_path}/{name} exists: give --force"):
            refuse_existing(str(tmp_path / name), force=False)
    cases = [
        (new_file, "file", False, "exists: give --force"),
        (new_folder, "folder", False, "exists: give --force"),
        (new_file, "link", False, "exists: give --force"),
        (new_file, "folder", True, "is a folder: expected the name of a file"),
        (new_folder, "file", True, "exists and is not a folder"),
        (new_folder, "nowhere/out", False, r"nowhere for the output does not exist: make it first"),
        (new_file, "x" * 246, False, "is too long: expected room for .xxx"),
        (new_file, "x" + ".y" * 122, False, "is too long: expected room for .x.y"),
        (new_folder, "x" * 246 + "/", False, "is too long"),
    ]
    for opener, name, force, message in cases:
        with pytest.raises(InputError, match=message), opener(str(tmp_path / name), force):
            raise AssertionError
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "link"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_leave_to_write_is_refused_at_once():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        os.chmod(folder, 0o555)
        child = os.fork()
        if not child:
            try:
                if os.getuid() == 0:
                    os.setuid(65534)
                with pytest.raises(InputError, match=f"{folder} for the output cannot be written"):
                    refuse_existing(f"{folder}/out", force=True)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.chmod(folder, 0o755)


def test_relative_paths_and_slashes_at_the_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with new_folder("out/") as partial:
        Path(partial, "a").write_text("x")
    assert os.listdir("out") == ["a"]
    with new_file("text") as partial:
        Path(partial).write_text("x")
    assert sorted(os.listdir(".")) == ["out", "text"]


def test_a_block_that_writes_no_file_fails_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), new_file(str(tmp_path / "out")):
        pass
    assert os.listdir(tmp_path) == []


def test_locks(tmp_path):
    path = tmp_path / "lock"
    with open(path, "w") as one, open(path) as other:
        lock(one.fileno(), str(path), fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            lock(other.fileno(), str(path), fcntl.LOCK_EX | fcntl.LOCK_NB)
    # what is opened for its name alone cannot be locked, nor can anything on some file systems
    descriptor = os.open(path, os.O_PATH)
    with pytest.raises(InputError, match=r"lock cannot be locked \(Bad file descr"):
        lock(descriptor, str(path), fcntl.LOCK_EX)
    os.close(descriptor)


def test_a_file_that_has_no_room_is_named(tmp_path):
    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match=r"too large: '.*/shard'$"):
            put_file(str(tmp_path / "shard"), bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    assert not list(tmp_path.iterdir())


def test_an_output_that_has_no_room_is_named(tmp_path):
    named = pytest.raises(OSError, match=r"No space left on device: '.*/out'$")
    with named, new_file(str(tmp_path / "out")), open("/dev/full", "wb", buffering=0) as stream:
        stream.write(b"x")
