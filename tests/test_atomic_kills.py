"""Outputs appear complete or not at all: killed before every single file operation, and raced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sjft.errors import InputError
from sjft_tools.atomic import new_file, new_folder

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
        try:
            deadline = time.monotonic() + 60
            while content_if_stable(path) != str(i):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.001)
            time.sleep(0.0007 * i)
        finally:
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
