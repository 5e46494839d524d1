"""Outputs appear complete or not at all: killed before every single file operation, and raced."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from sjft.errors import InputError
from sjft_tools.atomic import new_file, new_folder, refuse_existing
from sjft_tools.file_lock import lock
from sjft_tools.work_folder import put_file

FILES = ("a", "b", "c")

# Writes an output whose contents are all argv[3]. Kills itself before the file operation number
# argv[4], counted by the interpreter's own audit events.
WRITER = """
import os, signal, sys
from sjft.errors import InputError
from sjft_tools import atomic

kind, path, text, at = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
seen = 0

def count(event, arguments):
    global seen
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir"):
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

def fill(folder):
    for name in ("a", "b", "c"):
        with open(os.path.join(folder, name), "w") as stream:
            stream.write(text)

import contextlib, fcntl, shutil
sys.addaudithook(count)
try:
    if kind == "folder":
        with atomic.new_folder(path, force=True) as partial:
            fill(partial)
    elif kind == "resumable":
        with atomic.resumable_folder(path, True, keep=lambda work: True) as work:
            os.makedirs(os.path.join(work, atomic.OUTPUT), exist_ok=True)
            fill(os.path.join(work, atomic.OUTPUT))
    elif kind == "file":
        with atomic.new_file(path, force=True) as partial, open(partial, "w") as stream:
            stream.write(text)
    else:
        with atomic.new_files_in(path, "b", force=True) as partial:
            fill(partial)
except InputError as error:
    print(error)
    sys.exit(2)
"""


def start(kind: str, path: Path, text: str, at: int = 0) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, kind, str(path), text, str(at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def write(kind: str, path: Path, text: str, at: int = 0) -> int:
    process = start(kind, path, text, at)
    process.communicate(timeout=60)
    return process.returncode


def content(path: Path) -> str | None:
    """What the output says; None if it is not there. Fails on an output that is not of one run."""
    if not path.exists():
        return None
    if path.is_file():
        return path.read_text()
    assert sorted(os.listdir(path)) == list(FILES)
    texts = {(path / name).read_text() for name in FILES}
    assert len(texts) == 1
    return texts.pop()


def debris(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


@pytest.mark.parametrize("kind", ["folder", "file", "resumable"])
@pytest.mark.parametrize("replaces", [False, True], ids=["new", "replacement"])
def test_killed_before_every_file_operation(tmp_path, kind, replaces):
    killed = 0
    for at in range(1, 100):
        folder = tmp_path / str(at)
        folder.mkdir()
        path = folder / "out.txt"
        if replaces:
            assert write(kind, path, "old") == 0
        status = write(kind, path, "new", at)
        assert content(path) in ("old" if replaces else None, "new", None)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
        # What was there before is there again as soon as anybody asks to write.
        if replaces:
            opener = new_file if kind == "file" else new_folder
            with pytest.raises(InputError, match="give --force"), opener(str(path)):
                pass
            assert content(path) in ("old", "new")
        assert write(kind, path, "newer") == 0
        assert content(path) == "newer"
        assert not debris(folder)
    assert status == 0 and killed >= 4
    assert content(path) == "new" and not debris(folder)


def test_files_in_a_folder_killed_before_every_file_operation(tmp_path):
    killed = 0
    for at in range(1, 100):
        folder = tmp_path / str(at)
        folder.mkdir()
        (folder / "data").write_text("theirs")
        assert write("files", folder, "old") == 0
        status = write("files", folder, "new", at)
        # As long as the marker stands, what it vouches for is of its own run.
        if (folder / "b").exists():
            assert len({(folder / name).read_text() for name in FILES}) == 1
        assert (folder / "data").read_text() == "theirs"
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
        assert write("files", folder, "newer") == 0
        assert sorted(os.listdir(folder)) == ["a", "b", "c", "data"]
        assert {(folder / name).read_text() for name in FILES} == {"newer"}
    assert status == 0 and killed >= 8


@pytest.mark.parametrize("kind", ["folder", "file", "resumable"])
def test_writers_that_race(tmp_path, kind):
    """Whoever writes writes alone; the others say so; nothing is left but one complete output."""
    path = tmp_path / "out"
    won = 0
    for attempt in range(6):
        writers = [start(kind, path, f"{attempt} {i}" * 1000) for i in range(6)]
        said = [process.communicate(timeout=60)[0] for process in writers]
        for process, text in zip(writers, said):
            won += process.returncode == 0
            assert process.returncode == 0 or "another run is writing" in text
        assert content(path)[:1] == str(attempt)
        assert not debris(tmp_path)
    assert won >= 6


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


def test_killed_at_random_moments(tmp_path):
    """The same by the clock: a writer that replaces its output without end is killed some time."""
    path = tmp_path / "out"
    loop = WRITER.split("sys.addaudithook")[0] + (
        "while True:\n"
        "    with atomic.new_folder(path, force=True) as partial:\n"
        "        fill(partial)\n"
    )
    for i in range(15):
        process = subprocess.Popen([sys.executable, "-c", loop, "folder", str(path), str(i), "0"])
        end = time.monotonic() + 30
        while content_if_stable(path) != str(i) and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.0007 * i)
        process.kill()
        process.wait()
        assert content(path) in (None, str(i))
        assert write("folder", path, "next") == 0
        assert content(path) == "next" and not debris(tmp_path)


def content_if_stable(path: Path) -> str | None:
    """The output while others replace it: None if it went away between two looks."""
    try:
        return (path / "a").read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


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
