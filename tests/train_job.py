"""A small real training job, and ``sjft train`` and ``caffe train`` run on it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from caffe_nets import BODY, JOINT_TOPS, python_layer
from joint_world import World
from processes import PATIENCE_S, SJFT
from sjft.parent_death import die_with_parent

SOLVER = {
    "net": '"net.prototxt"',
    "base_lr": 0.000001,
    "lr_policy": '"step"',
    "gamma": 0.5,
    "stepsize": 7,
    "max_iter": 20,
    "display": 2,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "test_iter": 3,
    "test_interval": 4,
    "test_compute_loss": "true",
    "snapshot": 5,
    "snapshot_prefix": '"x"',
    "random_seed": 1,
    "solver_mode": "CPU",
}
#: Changes that make it long enough to be killed on its way.
LONG = {"max_iter": 600, "display": 10, "test_interval": 100, "snapshot": 20, "stepsize": 170}
#: Changes that make it so long that it must be ended.
ENDLESS = {"max_iter": 10**9, "display": 10, "test_iter": None, "test_interval": None}
_TRAIN_ONLY = "include { phase: TRAIN }"


def held_after(passes: int) -> str:
    """Return BODY with a layer that waits behind so many passes while the file "hold" is there.

    -1: even while the net is set up. ``caffe train`` finds the layer in python_path().
    """
    layer = python_layer("HoldLayer", str(passes), ("held",), (), _TRAIN_ONLY)
    silence = f'layer {{ name: "not_held" type: "Silence" bottom: "held" {_TRAIN_ONLY} }}'
    return BODY + layer.replace("sjft.layers", "hold_layer") + silence


def python_path() -> str:
    """Return the environment's PYTHONPATH with the folder of the tests."""
    return f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"


def write_job(folder: Path, world: World, body: str = BODY, **changes: object) -> Path:
    """Write net.prototxt and solver.prototxt into `folder`; `changes` are to the solver's lines.

    A change may be a list, a line for each, or None for no line. Returns `folder`.
    """
    folder.mkdir(exist_ok=True)
    test = {"target": world.target, "batch_size": 5, "resize": 36, "crop": 32, "workers": 0}
    bottoms = ("target_score", "target_label", "source_score", "source_label")
    tops = ("loss", "target_loss", "source_loss")
    weights = "loss_weight: 1 loss_weight: 0 loss_weight: 0 "
    text = (
        python_layer("JointDataLayer", world.param_str(), JOINT_TOPS[:3], (), _TRAIN_ONLY)
        + python_layer(
            "TargetDataLayer", json.dumps(test), JOINT_TOPS[:2], (), "include { phase: TEST }"
        )
        + body.replace("TARGET", "5").replace("SOURCE", "6")
        + python_layer("MultiTaskLossLayer", "{}", tops, bottoms, weights + _TRAIN_ONLY)
    )
    (folder / "net.prototxt").write_text(text)
    write_solver(folder, **changes)
    return folder


def write_solver(folder: Path, **changes: object) -> None:
    """Write solver.prototxt alone."""
    lines = []
    for key, value in {**SOLVER, **changes}.items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        lines += [f"{key}: {one}\n" for one in values]
    (folder / "solver.prototxt").write_text("".join(lines))


def start(folder: Path, *arguments: object, sjft: Sequence[str] = SJFT) -> subprocess.Popen:
    """Start ``sjft train solver.prototxt`` with `arguments`; its words go to said.txt."""
    parent = os.getpid()

    def as_from_a_terminal() -> None:
        die_with_parent(parent)  # what a failed test leaves
        for number in (signal.SIGINT, signal.SIGHUP):  # nohup and & leave them ignored
            signal.signal(number, signal.SIG_DFL)

    with (folder / "said.txt").open("w") as said:
        return subprocess.Popen(
            [*sjft, "train", "solver.prototxt", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": python_path()},
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=as_from_a_terminal,
        )


def said(folder: Path) -> str:
    """Return what the last ``sjft train`` said."""
    return (folder / "said.txt").read_text().replace("\r", "\n")


def train(folder: Path, *arguments: object, status: int = 0) -> str:
    """Run ``sjft train solver.prototxt`` to its end, check its status, return what it said."""
    process = start(folder, *arguments)
    process.wait(timeout=600)
    assert process.returncode == status, said(folder)
    return said(folder)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen, folder: Path) -> None:
    """Wait for `condition`; fail if `process` ends and does not meet it."""
    deadline = time.monotonic() + 2 * PATIENCE_S
    while True:
        has_ended = process.poll() is not None
        if condition():
            return
        assert not has_ended and time.monotonic() < deadline, said(folder)
        time.sleep(0.01)


def has_trained(folder: Path, iterations: int) -> Callable[[], bool]:
    """Return a condition: that many iterations are in the CSV of the running job."""

    def check() -> bool:
        table = folder / "x_train.csv"
        last = table.read_text().split("\n")[-2].split(",")[0] if table.exists() else ""
        return last.isdecimal() and int(last) >= iterations

    return check


def snapshots(folder: Path) -> dict[str, bytes]:
    """Return the contents of all snapshots' files in `folder`, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("x_iter_*"))}


def debris(folder: Path) -> list[str]:
    """Return the names of hidden files in `folder`."""
    return [name for name in os.listdir(folder) if name.startswith(".")]


def table(folder: Path) -> dict[tuple[int, str], str]:
    """Return the cells of the CSV that are not empty, by iteration and column; no seconds."""
    with (folder / "x_train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    iterations = [int(row["iteration"]) for row in rows]
    assert iterations == sorted(set(iterations))
    times = [float(row["seconds"]) for row in rows]
    assert times == sorted(times)
    return {
        (int(row["iteration"]), column): cell
        for row in rows
        for column, cell in row.items()
        if cell and column not in ("iteration", "seconds")
    }


def assert_same_values(
    ours: dict[tuple[int, str], str], theirs: dict[tuple[int, str], str]
) -> None:
    """Check the values of a run that was resumed.

    Caffe's sum for the smoothed loss begins anew then, and is rounded otherwise.
    """
    for key in ours.keys() & theirs.keys():
        if key[1] == "loss":
            assert abs(float(ours[key]) - float(theirs[key])) < 1e-4
            ours = {**ours, key: theirs[key]}
    assert ours == theirs


def displayed(log: str, test_nets: int = 1) -> dict[tuple[int, str], str]:
    """Return the values that ``caffe train`` displayed in `log`, as `table` does."""
    values: dict[tuple[int, str], str] = {}
    iteration, test, vector = 0, "", {"per_class": 0}
    for line in log.splitlines():
        text = line.partition("] ")[2].strip()
        words = text.replace(",", "").split()
        if words[:1] == ["Iteration"]:
            iteration = int(words[1])
            if "Testing" in words:
                test = f"test{words[-1][2:-1]}" if test_nets > 1 else "test"
            else:
                values[iteration, "lr" if "lr" in words else "loss"] = words[-1]
        elif words[:2] == ["Test", "loss:"]:
            values[iteration, f"{test}_total_loss"] = words[-1]
        elif words[1:3] == ["net", "output"]:
            name, value = text.split(": ", 1)[1].split(" = ")[:2]
            if name in vector:
                vector[name] += 1
                name = f"{name}[{(vector[name] - 1) % 5}]"
            net = "train" if words[0] == "Train" else test
            values[iteration, f"{net}_{name}"] = value.split()[0]
    return values


def messages() -> tuple[bytes, bytes]:
    """A small .caffemodel and a .solverstate."""
    from caffe.proto import caffe_pb2

    model, state = caffe_pb2.NetParameter(name="net"), caffe_pb2.SolverState()
    for name, sizes in (("data", ()), ("conv", (30, 4)), ("loss", ())):
        layer = model.layer.add(name=name, type="T")
        for size in sizes:
            layer.blobs.add(data=[0.5] * size).shape.dim.append(size)
    state.iter, state.learned_net, state.current_step = 300, "folder/x_iter_300.caffemodel", 0
    for size in (30, 4):
        state.history.add(data=[0.25] * size)
    return model.SerializeToString(), state.SerializeToString()
