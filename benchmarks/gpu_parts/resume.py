"""Step: training on the GPU, straight and gone on with from a snapshot: are the weights the same?

cuDNN may choose sums whose order varies, so that the same run made twice is compared as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import data
import lockstep
import nets
import numpy as np
from step import Findings, Settings, run
from tables import table

from sjft_tools.caffemodel import read_caffemodel, trained_blobs

_BATCH = 18


def main(settings: Settings, findings: Findings) -> None:
    joint, iterations = nets.NETS["demo"], settings["resume_iterations"]
    lmdbs = data.make(Path(settings["out"]) / "data", joint, settings["records"], side=48)
    params = {**lmdbs, "batch_size": _BATCH, "resize": 36, "workers": 1, "seed": 1}
    gpu = settings["gpu"]
    on = [] if gpu is None else ["-gpu", str(gpu)]
    caffe = [*settings["caffe"], "train"]
    sjft = [sys.executable, "-m", "sjft_tools.cli", "train"]
    sjft_on = [] if gpu is None else ["--gpu", str(gpu)]
    models = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net = folder / "net.prototxt"
        net.write_text(nets.text(joint, nets.joint_data(params)))

        def solver(run_name: str, until: int) -> str:
            file = folder / f"{run_name}_{until}.prototxt"
            prefix = str(folder / run_name)
            saved = {"snapshot": iterations // 2, "snapshot_prefix": prefix}
            file.write_text(nets.solver_text(str(net), until, gpu, **saved))
            return str(file)

        def weights(run_name: str) -> np.ndarray:
            return read(str(folder / f"{run_name}_iter_{iterations}.caffemodel"))

        for kind in ("straight", "again"):
            call([*caffe, "-solver", solver(kind, iterations), *on])
            models[kind] = weights(kind)
        call([*caffe, "-solver", solver("caffe", iterations // 2), *on])
        state = str(folder / f"caffe_iter_{iterations // 2}.solverstate")
        call([*caffe, "-solver", solver("caffe", iterations), "-snapshot", state, *on])
        models["caffe"] = weights("caffe")
        call([*sjft, solver("sjft", iterations // 2), *sjft_on])
        call([*sjft, solver("sjft", iterations), *sjft_on, "--resume"])
        models["sjft"] = weights("sjft")
    names = {
        "again": "the same run once more",
        "caffe": "caffe train, gone on with by -snapshot",
        "sjft": "sjft train, gone on with by --resume",
    }
    rows: list[list[Any]] = []
    for kind, words in names.items():
        equal = models[kind].tobytes() == models["straight"].tobytes()
        rows.append([words, str(equal), lockstep.relative_error(models[kind], models["straight"])])
    title = f"Weights after {iterations} iterations, against a straight run's"
    findings.add(table(title, ["", "bit for bit", "relative difference"], rows), resumed=rows)
    repeated, *resumed = (row[2] for row in rows)
    if not max(resumed) <= max(1e-3, 10 * repeated):
        raise SystemExit("a run that is gone on with is not the straight run")


def call(command: list[str]) -> None:
    """Run a command that trains; its log becomes this step's."""
    environment = {**os.environ, "GLOG_logtostderr": "1"}
    status = subprocess.run(command, env=environment, check=False).returncode
    if status:
        raise SystemExit(f"{' '.join(command[:4])} ended with status {status}")


def read(path: str) -> np.ndarray:
    """Return all weights of a .caffemodel."""
    blobs = trained_blobs(read_caffemodel(path))
    return np.concatenate([np.asarray(b.data, np.float32) for own in blobs.values() for b in own])


if __name__ == "__main__":
    run(main)
