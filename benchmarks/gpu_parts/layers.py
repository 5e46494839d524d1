"""Step: a small joint net trained on the CPU and on the GPU, on the same batches; the joint loss.

JointDataLayer's workers are forked while the process holds a CUDA context, and one of them is
killed half-way on the GPU: the batches must stay those of the CPU's run, bit for bit.
"""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import curves
import data
import nets
import numpy as np
from proc_figures import descendants
from step import Findings, Settings, run
from tables import table

from sjft_tools.nets import layers as L
from sjft_tools.nets.joint import joint_loss
from sjft_tools.nets.text import net_text
from sjft_tools.pycaffe import import_caffe

caffe = import_caffe()

_BATCH, _WORKERS = 18, 2


def main(settings: Settings, findings: Findings) -> None:
    joint, out = nets.NETS["demo"], Path(settings["out"])
    lmdbs = data.make(out / "data", joint, settings["records"], side=48)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            name: train(Path(folder) / name, joint, lmdbs, settings["iterations"], gpu, killed)
            for name, gpu, killed in (("CPU", None, False), ("GPU", settings["gpu"], True))
        }
        gpu_loss = loss_alone(Path(folder), settings["gpu"])
    losses = {name: made["loss"] for name, made in runs.items()}
    write_curves(out / "curves.csv", losses)
    drawn = curves.draw(out / "curves.csv", out / "curves.png")
    cpu, other = (np.array(values) for values in losses.values())
    apart = np.abs(other - cpu) / cpu
    same = runs["CPU"]["batches"] == runs["GPU"]["batches"]
    middle = len(cpu) // 2
    findings.add(
        table(
            f"The small net, {len(cpu)} iterations, CPU and GPU",
            ["", "iteration 1", f"iteration {middle}", f"iteration {len(cpu)}"],
            [
                [name, values[0], values[middle - 1], values[-1]]
                for name, values in {**losses, "apart, relative": apart.tolist()}.items()
            ],
        ),
        losses=losses,
        curves_drawn=drawn,
        batches_equal=same,
        worker_killed=runs["GPU"]["killed"],
    )
    findings.add(
        table(
            "Layers on the GPU",
            ["", "found"],
            [
                ["batches bit for bit the CPU's, a worker killed on the way", str(same)],
                ["first iteration's loss, relative difference", float(apart[0])],
                ["MultiTaskLossLayer against SoftmaxWithLoss, loss", gpu_loss["loss"]],
                ["the same, gradient of the scores", gpu_loss["gradient"]],
            ],
        ),
        loss_layer=gpu_loss,
    )
    if not (same and apart[0] < 1e-3 and all(error < 1e-5 for error in gpu_loss.values())):
        raise SystemExit("the layers do not do the same on the GPU as on the CPU")


def train(
    folder: Path,
    joint: nets.JointNet,
    lmdbs: dict[str, Any],
    iterations: int,
    gpu: int | None,
    kill: bool,
) -> dict[str, Any]:
    """Train; return the losses, a checksum of each batch, and whether a worker was killed."""
    folder.mkdir()
    nets.use(caffe, gpu)
    params = {**lmdbs, "batch_size": _BATCH, "resize": 36, "workers": _WORKERS, "seed": 1}
    net, solver_file = folder / "net.prototxt", folder / "solver.prototxt"
    net.write_text(nets.text(joint, nets.joint_data(params)))
    solver_file.write_text(nets.solver_text(str(net), iterations, gpu))
    solver = caffe.get_solver(str(solver_file))
    losses, batches, killed = [], [], False
    for iteration in range(iterations):
        if kill and iteration == iterations // 2:
            killed = kill_a_worker()
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data.ravel()[0]))
        digest = hashlib.sha256()
        for top in nets.TOPS:
            digest.update(solver.net.blobs[top].data.tobytes())
        batches.append(digest.hexdigest())
    solver.net.layers[0].close()
    return {"loss": losses, "batches": batches, "killed": killed}


def kill_a_worker() -> bool:
    """Kill the newest process below this one, a worker; return whether there was one."""
    helpers = descendants(os.getpid())
    if len(helpers) <= 1:  # the nursery alone
        return False
    os.kill(max(helpers), signal.SIGKILL)
    return True


def loss_alone(folder: Path, gpu: int | None) -> dict[str, float]:
    """Return how far MultiTaskLossLayer is from two SoftmaxWithLoss layers of weight 0.5."""
    nets.use(caffe, gpu)
    shapes = {"fc_target": (9, 102), "fc_source": (9, 1000)}
    labels = {"target_label": (9,), "source_label": (9,)}
    inputs = [L.input_layer(name, shape) for name, shape in {**shapes, **labels}.items()]
    # a layer below each scores' blob, without which Caffe would compute no gradients for it
    pairs = [("fc_target", "target_label"), ("fc_source", "source_label")]
    stock = [
        {**L.softmax_loss(f"loss_{scores}", scores, label), "loss_weight": 0.5}
        for scores, label in pairs
    ]
    found = []
    for name, losses in (("joint", [joint_loss()]), ("stock", stock)):
        file = folder / f"{name}_loss.prototxt"
        forced = "force_backward: true\n"
        file.write_text(forced + net_text(name, "Losses alone.", [*inputs, *losses]))
        net = caffe.Net(str(file), caffe.TRAIN)
        rng = np.random.default_rng(1)
        for blob, shape in shapes.items():
            net.blobs[blob].data[...] = 3 * rng.standard_normal(shape, np.float32)
        for blob, (number,) in labels.items():
            net.blobs[blob].data[...] = rng.integers(102, size=number)
        net.forward()
        net.backward()
        weights = [0.5, 0.5] if name == "stock" else [1]
        tops = [f"loss_{scores}" for scores, _ in pairs] if name == "stock" else ["loss"]
        loss = sum(w * float(net.blobs[t].data.ravel()[0]) for w, t in zip(weights, tops))
        diffs = np.concatenate([net.blobs[blob].diff.ravel() for blob in shapes])
        found.append((loss, diffs.copy()))
    (one, diffs), (other, expected) = found
    greatest = float(np.abs(expected).max())
    return {
        "loss": abs(one - other) / other,
        "gradient": float(np.abs(diffs - expected).max()) / greatest,
    }


def write_curves(path: Path, losses: dict[str, list[float]]) -> None:
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["iteration", *losses])
        for number, values in enumerate(zip(*losses.values()), start=1):
            writer.writerow([number, *values])


if __name__ == "__main__":
    run(main)
