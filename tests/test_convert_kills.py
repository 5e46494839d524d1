"""sjft convert: interrupted, killed, out of room; the same command goes on from there."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from conftest import run_sjft
from converting import debris, encode, side_file, write_files
from processes import PATIENCE_S, SJFT, descendants
from sjft.image_lmdb import ImageLmdb


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A list long enough to be interrupted in the middle."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 300, 3), np.uint8)
    write_files(tmp_path, {"noise.png": encode(noise, ".png"), "a.png": encode(noise[:9], ".png")})
    path = tmp_path / "list.txt"
    path.write_text("noise.png 0\n" * 30_000)
    return path


_started: list[subprocess.Popen] = []


def start(*arguments: object, **keywords: object) -> subprocess.Popen:
    command = [*SJFT, *map(str, arguments)]
    _started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **keywords))
    return _started[-1]


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """Kill what a test that failed has left, lest it fill the disk."""
    yield
    while _started:
        _started.pop().kill()


def wait_for(path: Path, process: subprocess.Popen, size: int = 0) -> None:
    """Wait until the file that `process` writes has so many bytes."""
    end = time.monotonic() + 300
    while size_of(path) < size:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


def size_of(path: Path) -> int:
    """Return a file's size; -1 if it is not there, or not any more."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


@pytest.mark.parametrize("whom", ["process", "group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_in_the_middle(tmp_path, many, number, whom):
    out = tmp_path / "out"
    process = start("convert", "list", many, out, "--workers", 2, start_new_session=True)
    wait_for(tmp_path / ".out.work" / "output" / "data.mdb", process)
    time.sleep(random.Random(f"{number} {whom}").uniform(0.0, 0.5))
    (os.killpg if whom == "group" else os.kill)(process.pid, number)
    printed = process.communicate(timeout=600)[1]
    deadline = time.monotonic() + PATIENCE_S
    with pytest.raises(ProcessLookupError):  # the workers have gone, too
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    assert not out.exists()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "sjft convert: error: interrupted; nothing was left half-written" in printed
        kept = "images are kept: the same command goes on from there" in printed
        assert debris(tmp_path) == [".out.work"] * kept
        assert "Traceback" not in printed
    many.write_text("a.png 0\n")  # another conversion: it starts afresh
    run_sjft("convert", "list", many, out)
    assert ImageLmdb(str(out)).count == 1
    assert not debris(tmp_path)


def test_killed_again_and_again_it_ends_as_the_same_file(tmp_path, many):
    lines = ["noise.png 0\n", "missing.png 1\n", "a.png 2\n", *["noise.png 3\n"] * 60] * 6
    many.write_text("".join(lines))
    arguments = ("convert", "list", many, tmp_path / "out", "--on-bad", "skip")
    straight = tmp_path / "straight"
    run_sjft(*arguments[:3], straight, *arguments[4:], "--workers", 1)
    database = tmp_path / ".out.work" / "output" / "data.mdb"
    going_on, size, attempt, draw = "", 0, 0, random.Random(1)
    # On a fast machine it may end before a kill that left it something to go on from.
    while "read what is there" not in going_on or not (tmp_path / "out").exists():
        if (tmp_path / "out").exists():
            shutil.rmtree(tmp_path / "out")
            size = 0
        attempt += 1
        assert attempt < 200
        process = start(*arguments, "--workers", 1 + attempt % 3)
        # until it got somewhere
        while process.poll() is None and size_of(database) <= size:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.3))
        process.kill()
        going_on += process.communicate(timeout=600)[1]
        if not (tmp_path / "out").exists():
            assert process.returncode == -signal.SIGKILL
            size = size_of(database)
    assert side_file(tmp_path / "out")["left_out"] == 6
    for name in os.listdir(straight):
        assert (straight / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


def test_a_bad_image_late_in_the_list_costs_nothing(tmp_path, many):
    many.write_text("noise.png 0\n" * 150 + "late.png 1\n")
    arguments = ("convert", "list", many, tmp_path / "out")
    printed = run_sjft(*arguments, status=2)
    assert "late.png cannot be read: No such file or directory" in printed
    assert "images are kept: the same command goes on from there" in printed
    shutil.copy(tmp_path / "a.png", tmp_path / "late.png")
    assert "read what is there" in run_sjft(*arguments)
    assert ImageLmdb(str(tmp_path / "out")).labels.tolist() == [0] * 150 + [1]
    assert not debris(tmp_path)


def test_what_was_left_out_counts_again_without_leave_to(tmp_path, many):
    many.write_text("late.png 1\n" + "noise.png 0\n" * 30_000)
    process = start("convert", "list", many, tmp_path / "out", "--on-bad", "skip")
    wait_for(tmp_path / ".out.work" / "output" / "data.mdb", process, 32 << 20)
    process.send_signal(signal.SIGINT)
    assert "are kept" in process.communicate(timeout=600)[1]
    printed = run_sjft("convert", "list", many, tmp_path / "out", status=2)
    assert "late.png cannot be read" in printed and "are kept" not in printed
    assert not debris(tmp_path)


def test_two_runs_do_not_write_the_same_output(tmp_path, many):
    out = tmp_path / "out"
    process = start("convert", "list", many, out)
    wait_for(tmp_path / ".out.work" / "output" / "data.mdb", process)
    process.send_signal(signal.SIGSTOP)  # or it might end before the other one begins
    printed = run_sjft("convert", "list", many, out, status=2)
    assert f"another run is writing {out}: wait for it to end" in printed
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=600)
    assert process.returncode == 130


def test_a_worker_that_dies(tmp_path, many):
    process = start("convert", "list", many, tmp_path / "out", "--workers", 2)
    wait_for(tmp_path / ".out.work" / "output" / "data.mdb", process)
    victims: list[int] = []
    while not victims:
        assert process.poll() is None
        time.sleep(0.01)
        for child in descendants(process.pid):
            with suppress(FileNotFoundError, ProcessLookupError):  # one that has just ended
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    victims.append(child)
    os.kill(victims[-1], signal.SIGKILL)
    printed = process.communicate(timeout=600)[1]
    assert process.returncode == 2
    assert "one of the 2 worker processes died" in printed and "Traceback" not in printed
    assert not (tmp_path / "out").exists()


def test_a_full_disk(tmp_path, many):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs leave to mount a small file system")
    try:
        for lines, fill in ((3000, 0), (8, 0), (1, 990_000)):
            (disk / "fill").write_bytes(b"x" * fill)
            many.write_text("noise.png 0\n" * lines)
            printed = run_sjft("convert", "list", many, disk / "out", status=1)
            assert "sjft convert: error: No space left on device" in printed
            assert "Traceback" not in printed
            assert os.listdir(disk) == ["fill"]
        (disk / "fill").unlink()
        run_sjft("convert", "list", many, disk / "out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_limit_on_file_size(tmp_path, many):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    process = start("convert", "list", many, tmp_path / "out", preexec_fn=limit)
    printed = process.communicate(timeout=600)[1]
    assert process.returncode == 1
    assert "sjft convert: error: " in printed and "expected room and leave" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists() and not debris(tmp_path)


def test_the_map_grows(tmp_path, many):
    many.write_text("noise.png 1\n" * 400)  # 108 MB, the first map has 64
    run_sjft("convert", "list", many, tmp_path / "out")
    images = ImageLmdb(str(tmp_path / "out"))
    assert images.count == 400
    assert all(value == images.value(0) for value in images.values())
