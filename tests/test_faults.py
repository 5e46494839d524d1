"""Faults of processes in a long run, each caused for real, under a real solver."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe_nets import close_layers
from caffe_nets import write_solver as write_caffe_solver
from data_faults import put, workers_of
from exact_job import write_solver
from joint_world import World, make_world
from processes import (
    descendants,
    run,
    shared_memory,
    start_caffe_train,
    stays_in_shared_memory,
    survivors,
)
from sjft.layers import JointDataLayer

ITERATIONS = 2000
KILL_EVERY = 50


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "world").mkdir()
    return make_world(tmp_path / "world")


def trained(solver_file: Path, kill_every: int | None) -> tuple[list[bytes], int]:
    """Train the small net; return its weights, and how many workers were killed on the way."""
    caffe.set_random_seed(5)
    solver = caffe.get_solver(str(solver_file))
    (layer,) = [one for one in solver.net.layers if isinstance(one, JointDataLayer)]
    killed = 0
    while solver.iter < ITERATIONS:
        solver.step(kill_every or ITERATIONS)
        if kill_every:
            pids = workers_of(layer._stream)
            os.kill(pids[killed % len(pids)], signal.SIGKILL)
            killed += 1
    assert solver.iter == ITERATIONS
    weights = [blob.data.tobytes() for blobs in solver.net.params.values() for blob in blobs]
    close_layers(solver.net, *solver.test_nets)
    return weights, killed


def test_two_thousand_iterations_with_a_worker_killed_every_fifty(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    settings = {"iter_size": 1, "display": 0, "snapshot": 0, "test_interval": 500}
    solver_file = write_solver(tmp_path / "net", world, ITERATIONS, **settings)
    undisturbed, _ = trained(solver_file, None)
    disturbed, killed = trained(solver_file, KILL_EVERY)
    assert killed == ITERATIONS // KILL_EVERY
    assert disturbed == undisturbed
    assert all(np.isfinite(np.frombuffer(blob, np.float32)).all() for blob in disturbed)
    said = capfd.readouterr().err
    # the last one is killed after the last iteration, which nobody notices
    assert said.count("was killed by signal 9 (SIGKILL)") == killed - 1


def test_caffe_train_killed_leaves_no_process_no_memory_no_lock(
    world: World, tmp_path: Path
) -> None:
    before = shared_memory()
    write_caffe_solver(tmp_path, world, workers=2)
    file = tmp_path / "solver.prototxt"
    file.write_text(file.read_text().replace("max_iter: 20", "max_iter: 1000000"))
    process = start_caffe_train(tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if "Iteration 5 " in line:
            break
    workers = descendants(process.pid)
    assert len(workers) >= 3  # two of the train net, those of the test net
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not survivors(workers)
    assert not stays_in_shared_memory(before)
    for path in (world.target, world.source, world.neighbours):
        assert "lock.mdb" not in os.listdir(path)
        put(path, "zzz")


@pytest.mark.parametrize("to", ["2> /dev/full", "2> >(exec true)", "<&- >&- 2>&-"])
def test_caffe_train_goes_on_when_its_log_takes_nothing(
    world: World, tmp_path: Path, to: str
) -> None:
    """A full disk; a terminal, or a program that read the log, which is gone; no log at all."""
    write_caffe_solver(tmp_path, world, report_every=1)
    run("bash", "-c", f"trap '' PIPE; exec caffe train -solver solver.prototxt {to}", cwd=tmp_path)
    assert (tmp_path / "x_iter_20.solverstate").exists()


NO_ROOM = """
import os, resource, signal, sys
import numpy as np
from sjft.batches import JointBatches
from sjft.layer_params import parse_joint_data
from sjft.prefetch import open_stream

params = parse_joint_data(sys.argv[1])
batches = JointBatches(params)
out = {name: np.empty(shape, np.float32) for name, shape in batches.tops.items()}
if os.getuid() == 0:  # whom no limit stops
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
if sys.argv[2] == "nursery":
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
stream = open_stream(batches, params.prefetch)
stream.next_into(out)
resource.prlimit(stream._nursery.pid, resource.RLIMIT_NPROC, (0, 0))
os.kill(stream._workers[0]._pid, signal.SIGKILL)
for _ in range(100):
    stream.next_into(out)
"""


@pytest.mark.parametrize("who", ["nursery", "worker"])
def test_a_machine_without_room_for_another_process(who: str) -> None:
    """It ends in a sentence; nothing hangs."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        params = make_world(Path(folder)).param_str(workers=1)
        said = run(sys.executable, "-c", NO_ROOM, params, who, status=None)
    what = "the nursery of workers" if who == "nursery" else "worker 0"
    assert f"{what} could not be started (Resource temporarily" in said, said
    assert "expected room for another process, or fewer 'workers'" in said
