"""Exact resume: where the layers go on, and bitwise equal weights under ``caffe train``."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

import caffe
from caffe_nets import close_layers
from exact_job import write_solver
from joint_world import World, make_world
from processes import caffe_train
from sjft.command_line import check_one_gpu, flag, is_embedded, process_arguments
from sjft.errors import InputError
from sjft.resume import Schedule, batches_before, read_schedule, start_at
from sjft.solver_state import read_iteration

ITERATIONS = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def train(solver: Path, *options: str) -> str:
    return caffe_train(solver.parent, *options, solver=solver)


def weights(folder: Path) -> list[bytes]:
    opened = caffe.Net(str(folder / "net.prototxt"), caffe.TEST)
    opened.copy_from(str(folder / f"small_iter_{ITERATIONS}.caffemodel"))
    model = [blob.data.tobytes() for blobs in opened.params.values() for blob in blobs]
    close_layers(opened)
    return model


def losses(log: str) -> list[str]:
    """Every train and test output as displayed, in order: they tell the batches apart."""
    return re.findall(r"((?:Train|Test) net output #\d: \w+ = [-+.\de]+)", log)


@pytest.mark.parametrize("style", ["-snapshot X", "--snapshot=X", "--flagfile=F"])
def test_caffe_train_resumed_equals_the_straight_run(
    world: World, tmp_path: Path, style: str
) -> None:
    straight = train(write_solver(tmp_path / "straight", world, ITERATIONS))
    folder = tmp_path / "resumed"
    before = train(write_solver(folder, world, 10))
    state = str(folder / "small_iter_10.solverstate")
    (folder / "flags").write_text(f"# resume\n--snapshot={state}\n")
    words = style.replace("X", state).replace("F", str(folder / "flags")).split(" ")
    after = train(write_solver(folder, world, ITERATIONS), *words)
    assert "sjft: JointDataLayer: goes on at batch 20" in after
    # tests at iterations 0 and 5; that at 10 is made by both runs
    assert "sjft: TargetDataLayer: goes on at batch 4" in after
    assert weights(folder) == weights(tmp_path / "straight")
    seen = losses(straight)
    assert len(set(seen)) > ITERATIONS
    assert seen[-len(losses(after)) :] == losses(after)
    assert len(losses(before)) + len(losses(after)) > len(seen)


def test_hdf5_snapshots_resumed_equal_the_straight_run(world: World, tmp_path: Path) -> None:
    train(write_solver(tmp_path / "straight", world, ITERATIONS))
    folder = tmp_path / "resumed"
    train(write_solver(folder, world, 10, snapshot_format="HDF5"))
    state = str(folder / "small_iter_10.solverstate.h5")
    after = train(write_solver(folder, world, ITERATIONS), "-snapshot", state)
    assert "sjft: JointDataLayer: goes on at batch 20" in after
    assert weights(folder) == weights(tmp_path / "straight")


OTHER_LAYER = """
import sys

import caffe


class ArgumentsLayer(caffe.Layer):
    def setup(self, bottom, top):
        sys.argv = ["caffe"]

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = 0

    def backward(self, top, propagate_down, bottom):
        pass
"""


def test_another_layer_may_set_the_arguments_of_python(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other_layer.py").write_text(OTHER_LAYER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ['PYTHONPATH']}")
    other = (
        'layer { name: "other" type: "Python" top: "other" '
        'python_param { module: "other_layer" layer: "ArgumentsLayer" } }\n'
    )
    train(write_solver(tmp_path / "straight", world, ITERATIONS))
    folder = tmp_path / "resumed"
    train(write_solver(folder, world, 10))
    solver = write_solver(folder, world, ITERATIONS)
    plain_net = (folder / "net.prototxt").read_text()
    (folder / "net.prototxt").write_text(other + plain_net)
    after = train(solver, "-snapshot", str(folder / "small_iter_10.solverstate"))
    assert "sjft: JointDataLayer: goes on at batch 20" in after
    (folder / "net.prototxt").write_text(plain_net)
    assert weights(folder) == weights(tmp_path / "straight")


def test_python_itself_is_not_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [""])
    assert not is_embedded()


def test_pycaffe_resumed_equals_the_straight_run(world: World, tmp_path: Path) -> None:
    train(write_solver(tmp_path / "straight", world, ITERATIONS))
    folder = tmp_path / "resumed"
    train(write_solver(folder, world, 10))
    path = str(write_solver(folder, world, ITERATIONS))
    solver = caffe.get_solver(path)
    solver.restore(str(folder / "small_iter_10.solverstate"))
    start_at(solver, read_schedule(path))
    solver.step(10)
    assert solver.iter == ITERATIONS
    assert weights(folder) == weights(tmp_path / "straight")
    close_layers(solver.net, *solver.test_nets)


def test_without_the_snapshot_the_weights_would_differ(world: World, tmp_path: Path) -> None:
    """The comparisons above can fail: batches 0 to 19 again give other weights."""
    train(write_solver(tmp_path / "straight", world, ITERATIONS))
    folder = tmp_path / "again"
    train(write_solver(folder, world, 10))
    path = str(write_solver(folder, world, ITERATIONS))
    solver = caffe.get_solver(path)
    solver.restore(str(folder / "small_iter_10.solverstate"))
    solver.step(10)
    assert weights(folder) != weights(tmp_path / "straight")
    close_layers(solver.net, *solver.test_nets)


def test_a_snapshot_that_cannot_be_read_is_named(world: World, tmp_path: Path) -> None:
    state = tmp_path / "x.solverstate"
    state.write_bytes(b"no state")
    for path, message in (
        (state, "is not a solver state"),
        (tmp_path / "missing.solverstate", "cannot be read (No such file or directory)"),
    ):
        solver = write_solver(tmp_path / "s", world, 10)
        log = caffe_train(tmp_path, "-snapshot", path, solver=solver, status=None)
        said = [line for line in log.splitlines() if line.startswith("sjft: error: ")]
        assert len(said) == 1
        assert message in said[0]


@pytest.mark.parametrize("iteration", [1, 127, 128, 20000, 2**31 - 1])
def test_iterations_of_solver_states(tmp_path: Path, iteration: int) -> None:
    from caffe.proto import caffe_pb2

    state = caffe_pb2.SolverState(iter=iteration, learned_net="x.caffemodel", current_step=3)
    state.history.add().data.extend([1.0] * 100)
    file = tmp_path / "x.solverstate"
    file.write_bytes(state.SerializeToString())
    assert read_iteration(str(file)) == iteration
    hdf5 = tmp_path / f"a_iter_3_iter_{iteration}.solverstate.h5"
    hdf5.write_bytes(b"\x89HDF\r\n\x1a\n")
    assert read_iteration(str(hdf5)) == iteration


@pytest.mark.parametrize("content", [b"", b"\x08", b"\x08\xff\xff", b"\x08" + b"\xff" * 12])
def test_damaged_solver_states(tmp_path: Path, content: bytes) -> None:
    for name in ("x.solverstate", "x_iter_7.solverstate.h5"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{re.escape(name)} is not a solver state"):
            read_iteration(str(tmp_path / name))


@pytest.mark.parametrize(
    "name", ["x.h5", "best.solverstate.h5", "x_iter_.solverstate.h5", "x_iter_7.caffemodel.h5"]
)
def test_a_renamed_hdf5_state(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match=r"does not tell its iteration: expected \.\.\._iter_N"):
        read_iteration(str(tmp_path / name))


@pytest.mark.parametrize(
    "arguments, value",
    [
        ("train -solver S", None),
        ("train -solver S -snapshot A", "A"),
        ("train -solver S --snapshot A", "A"),
        ("train -snapshot=A --snapshot=B -solver S", "B"),
        ("train -snapshot= -solver S", None),
        ("train -snapshots A -solver S", None),
        ("train -solver S -- -snapshot A", None),
        ("train -solver S -snapshot", None),
        ("train -snapshot A --fromenv=snapshot -solver S", "from the environment"),
    ],
)
def test_flags(monkeypatch: pytest.MonkeyPatch, arguments: str, value: str | None) -> None:
    monkeypatch.setenv("FLAGS_snapshot", "from the environment")
    assert flag(arguments.split(), "snapshot") == value


def test_several_gpus_that_nobody_tells_apart() -> None:
    for arguments in ("train -solver S", "train -gpu 1", "train -gpu all -solver S"):
        check_one_gpu(arguments.split())
    with pytest.raises(InputError, match="-gpu 0,1 names several GPUs, but this Caffe's Python"):
        check_one_gpu(["train", "-solver", "S", "--gpu=0,1"])


def test_arguments_of_this_process() -> None:
    assert any("pytest" in word for word in process_arguments())


def test_a_flag_file_that_names_itself(tmp_path: Path) -> None:
    file = tmp_path / "flags"
    file.write_text(f"--flagfile={file}\n--snapshot=A\n")
    assert flag([f"-flagfile={file}"], "snapshot") == "A"


def counted(schedule: Schedule, iteration: int) -> int:
    """The tests before `iteration`, counted by a literal reading of Solver::Step."""
    tests = 0
    for i in range(iteration):
        if schedule.test_interval and i % schedule.test_interval == 0:
            tests += i > 0 or schedule.test_initialization
    return tests


@pytest.mark.parametrize("interval", [0, 1, 4, 5, 100])
@pytest.mark.parametrize("initialization", [False, True])
def test_schedule_against_a_literal_reading(interval: int, initialization: bool) -> None:
    schedule = Schedule(3, (7, 2), interval, initialization)
    for iteration in range(30):
        assert schedule.train_batches(iteration) == 3 * iteration
        assert schedule.tests(iteration) == counted(schedule, iteration)
        assert schedule.test_batches(iteration, 1) == 2 * counted(schedule, iteration)
        assert schedule.test_batches(iteration) == 0  # two nets of different size: not known
        same = schedule._replace(test_iter=(7, 7))
        assert same.test_batches(iteration) == 7 * counted(schedule, iteration)


def test_schedules_as_caffe_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "solver.prototxt"
    file.write_text(
        'net: "x" # comment\ntest_iter: 3 test_iter: 4 test_interval: 9\n'
        "iter_size: 5\nstepvalue: [8, 16]"
    )
    assert read_schedule(str(file)) == Schedule(5, (3, 4), 9, True)
    file.write_text('net_param { layer { name: "a" include { phase: TEST } } } base_lr: -1e-3')
    assert read_schedule(str(file)) == Schedule(1, (), 0, True)
    file.write_text("# Köln\ntest_initialization: false", encoding="latin-1")
    assert not read_schedule(str(file)).test_initialization
    for text in ("iter_size: many", "iter_size {", "\x00"):
        file.write_text(text)
        with pytest.raises(InputError, match=r"the solver .* cannot be read"):
            read_schedule(str(file))
    with pytest.raises(InputError, match="No such file"):
        read_schedule(str(tmp_path / "none"))


def test_only_a_resumed_caffe_train_goes_on(tmp_path: Path) -> None:
    for arguments in ("", "train -solver S", "test -snapshot A", "time -solver S -snapshot A"):
        assert batches_before(arguments.split(), train=True) == 0
