"""``sjft train`` and the data layers where the machine is not as usual."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from joint_world import World, make_world
from processes import SJFT, descendants
from train_job import (
    ENDLESS,
    debris,
    has_trained,
    held_after,
    python_path,
    said,
    snapshots,
    start,
    train,
    wait_until,
    write_job,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job that was done in an ordinary surrounding."""
    folder = write_job(tmp_path_factory.mktemp("finished"), world)
    train(folder)
    return folder


# Batch systems


@pytest.mark.parametrize("number", [signal.SIGXCPU, signal.SIGUSR1])
def test_a_batch_system_signals_all_processes_of_a_job(
    world: World, tmp_path: Path, number: signal.Signals
) -> None:
    write_job(tmp_path, world, **{**ENDLESS, "snapshot": 0})
    process = start(tmp_path)
    wait_until(has_trained(tmp_path, 10), process, tmp_path)
    below = descendants(process.pid)
    assert len(below) >= 3  # the process that trains, the nursery, a worker
    job = [process.pid, *below]
    for send in (signal.SIGSTOP, number, signal.SIGCONT):  # all are there when it comes
        for pid in reversed(job):
            os.kill(pid, send)
    assert process.wait(timeout=600) == 128 + number
    found = re.search(
        rf"stopped by {number.name} after iteration (\d+): .* goes on from x_iter_\1.solverstate",
        said(tmp_path),
    )
    assert found is not None, said(tmp_path)
    assert (tmp_path / f"x_iter_{found.group(1)}.solverstate").exists()
    assert "takes its place" not in said(tmp_path)  # no worker took it for itself


def test_the_process_that_trains_has_used_up_its_time(world: World, tmp_path: Path) -> None:
    write_job(tmp_path, world, **{**ENDLESS, "snapshot": 0})
    process = start(tmp_path)
    wait_until(has_trained(tmp_path, 10), process, tmp_path)
    os.kill(descendants(process.pid)[0], signal.SIGXCPU)  # as the kernel does
    assert process.wait(timeout=600) == 128 + signal.SIGXCPU
    assert "stopped by SIGXCPU after iteration" in said(tmp_path)
    assert len(snapshots(tmp_path)) == 2


# Streams and descriptors


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed(
    world: World, finished: Path, tmp_path: Path, closed: str
) -> None:
    write_job(tmp_path, world)
    command = f"exec {' '.join(SJFT)} train solver.prototxt {closed}"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=600)
    assert snapshots(tmp_path) == snapshots(finished)
    assert (tmp_path / "x_train.csv").read_text().startswith("iteration,seconds,")


def test_a_terminal_that_takes_nothing_more(world: World, tmp_path: Path) -> None:
    """As after Ctrl-S, or behind a connection that hangs."""
    write_job(tmp_path, world, held_after(20), **{**ENDLESS, "max_iter": 500, "snapshot": 0})
    (tmp_path / "hold").touch()
    try:
        reading, terminal = os.openpty()
    except OSError:  # a root without them
        reading, terminal = os.pipe()
    with open(terminal, "w") as output:
        command = [*SJFT, "train", "solver.prototxt"]
        environment = {**os.environ, "PYTHONPATH": python_path()}
        process = subprocess.Popen(command, cwd=tmp_path, stderr=output, env=environment)
        while not (tmp_path / "x_train.csv").exists():
            assert process.poll() is None
            time.sleep(0.01)
        other = os.open(f"/proc/self/fd/{output.fileno()}", os.O_WRONLY | os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(other, b"." * 100)
    (tmp_path / "hold").unlink()
    try:
        assert process.wait(timeout=600) == 0
    finally:
        process.kill()
        os.close(other)
        os.close(reading)
    assert (tmp_path / "x_iter_500.solverstate").exists() and not debris(tmp_path)


def test_too_few_open_files(world: World, tmp_path: Path) -> None:
    write_job(tmp_path, world)
    command = f"ulimit -n 8; exec {' '.join(SJFT)} train solver.prototxt"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "sjft train: error: the process that trains cannot be started (Too many open files): "
        "expected room for another process (ulimit -u) and its files (ulimit -n)"
    )
    assert not snapshots(tmp_path) and not debris(tmp_path)


# Folders


@pytest.mark.parametrize("name", ["x_train.log", "x_train.csv"])
def test_a_folder_where_a_file_is_to_be(world: World, tmp_path: Path, name: str) -> None:
    write_job(tmp_path, world)
    (tmp_path / name).mkdir()
    words = train(tmp_path, status=2).splitlines()[-1]
    assert re.search(rf"error: .*{name} cannot be .* \(Is a directory\): move", words), words
    assert not snapshots(tmp_path) and not debris(tmp_path)


def test_the_hidden_folder_is_cleared_away(world: World, tmp_path: Path) -> None:
    write_job(tmp_path, world, held_after(20), max_iter=600, snapshot=100)
    (tmp_path / "hold").touch()
    process = start(tmp_path)
    wait_until(has_trained(tmp_path, 10), process, tmp_path)
    shutil.rmtree(tmp_path / ".x.partial")
    (tmp_path / "hold").unlink()
    assert process.wait(timeout=600) == 0, said(tmp_path)
    assert len(snapshots(tmp_path)) == 12 and not debris(tmp_path)


def test_the_folder_of_the_snapshots_goes_away(world: World, tmp_path: Path) -> None:
    changes = {**ENDLESS, "snapshot": 200, "snapshot_prefix": '"kept/x"'}
    write_job(tmp_path, world, held_after(20), **changes)
    (tmp_path / "kept").mkdir()
    (tmp_path / "hold").touch()
    process = start(tmp_path)
    log = tmp_path / "kept" / "x_train.log"
    wait_until(lambda: log.exists() and "Iteration 10," in log.read_text(), process, tmp_path)
    (tmp_path / "kept").rename(tmp_path / "away")
    (tmp_path / "hold").unlink()
    assert process.wait(timeout=600) == 1
    words = said(tmp_path).splitlines()[-1]
    assert "error: the snapshot of iteration 200 could not be written to kept/x_iter_200" in words
    assert "expected the folder kept, which is out of reach (No such file or directory)" in words


# Paths


@pytest.mark.parametrize("locale", ["C", ""])
def test_paths_under_caffe_train_without_a_locale(tmp_path: Path, locale: str) -> None:
    """Python inside the caffe command takes paths for ASCII then."""
    folder = tmp_path / "b\u00e4nder 'n' \u732b"
    folder.mkdir()
    job = write_job(folder / "job", make_world(folder), snapshot=10, snapshot_prefix='"\u00fc"')
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHONU"))
    }
    environment["LC_ALL"] = locale
    net = (job / "net.prototxt").read_text()
    # as a hand writes it; JSON's escapes do as well
    (job / "net.prototxt").write_text(_unescaped(net), encoding="utf-8")
    command = ["caffe", "train", "-solver", "solver.prototxt"]
    for more in ([], ["-snapshot", "\u00fc_iter_10.solverstate"]):
        done = subprocess.run(
            command + more, cwd=job, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"sjft: JointDataLayer: goes on at batch 10" in done.stderr


def _unescaped(net: str) -> str:
    """Return a net with its param_strs' JSON in UTF-8, quotes escaped as prototxt wants it."""

    def rewritten(found: re.Match[str]) -> str:
        value = json.dumps(json.loads(found.group(1)), ensure_ascii=False)
        return "param_str: '" + value.replace("'", "\\'") + "'"

    return re.sub(r"param_str: '(\{.*?\})'(?= })", rewritten, net)


def test_a_bad_image_is_named_by_a_worker_without_a_locale(tmp_path: Path) -> None:
    folder = tmp_path / "\u00fc"
    folder.mkdir()
    world = make_world(folder)
    job = write_job(folder / "job", world)
    net = (job / "net.prototxt").read_text()
    (job / "net.prototxt").write_text(
        net.replace('"resize": 36', '"resize_shorter": null').replace('"crop": 32', '"crop": 41')
    )
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        ["caffe", "train", "-solver", "solver.prototxt"],
        cwd=job,
        env=environment,
        capture_output=True,
        check=False,
    )
    words = done.stderr.decode(errors="replace")
    assert done.returncode != 0
    assert re.search(r"sjft: error: \w+: crop 41 is larger than record \d+ \(key", words), words
