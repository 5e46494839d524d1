"""Step: training iterations and images per second of the joint net, by what feeds it and how.

Each measurement is a process of train_probe.py: JointDataLayer and DummyData take turns; then
cuDNN's choices one by one, each against the run before; then the largest batch that fits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import data
import nets
import numpy as np
from step import Findings, Settings, run, seconds_left
from tables import table

PROBE = Path(__file__).with_name("train_probe.py")

#: Name -> the convolutions' engine, and the environment that decides on cuDNN's choices.
CHOICES: dict[str, tuple[str | None, dict[str, str]]] = {
    "TensorFloat-32 ruled out": (None, {"NVIDIA_TF32_OVERRIDE": "0"}),
    "workspaces of at most 8 MiB": (None, {"SJFT_CUDNN_WORKSPACE": "8"}),  # as Caffe is published
    "algorithms timed": (None, {"SJFT_CUDNN_SEARCH": "1"}),
    "engine: CAFFE, products by cuBLAS": ("CAFFE", {}),
    "workspaces of at most 64 MiB": (None, {"SJFT_CUDNN_WORKSPACE": "64"}),
    "workspaces of at most 2 GiB": (None, {"SJFT_CUDNN_WORKSPACE": "2048"}),
}
#: Of the free memory, what the largest batch is tried to take, until one fits.
SHARES = (0.95, 0.88, 0.8)
#: The goal: training on JointDataLayer's images, against DummyData.
FED = 0.95
# What a measurement takes besides its own seconds, at most, so as not to be begun too late.
_START_S = 15
# What is kept for the largest batch.
_LARGEST_S = 50


def main(settings: Settings, findings: Findings) -> None:
    joint, batch = nets.NETS[settings["net"]], settings["batch"]
    side = settings["side"]
    lmdbs = data.make(Path(settings["out"]) / "data", joint, settings["records"], side)
    real = {**lmdbs, "resize": side}
    rows: list[list[Any]] = []
    turns: dict[str, list[dict[str, Any]]] = {"DummyData": [], "JointDataLayer": []}
    for _ in range(settings["rounds"]):
        for name in turns:
            feed = "dummy" if name == "DummyData" else {**real, "batch_size": batch}
            turns[name].append(probe(settings, batch, feed))
    rates = {name: rate(made, batch) for name, made in turns.items()}
    for name, made in turns.items():
        rows.append(row(name, batch, made))
    fed = rates["JointDataLayer"] / rates["DummyData"]
    findings.add(measured=turns, rates=rates, fed=fed, rows=rows)

    choices: dict[str, Any] = {}
    for name, (engine, environment) in list(CHOICES.items())[: settings["choices"]]:
        if seconds_left(settings) < _LARGEST_S:
            choices[name] = {"left out": "no time"}
            continue
        try:
            choices[name] = probe(settings, batch, "dummy", engine, environment)
        except ProbeFailed as error:
            choices[name] = {"error": str(error)}
            rows.append([f"DummyData, {name}", batch, str(error)])
            continue
        rows.append(row(f"DummyData, {name}", batch, [choices[name]]))
    findings.add(choices=choices, rows=rows)
    found: dict[str, Any] = {"tries": []}
    try:
        largest(settings, turns["DummyData"][0], real, rows, found)
    except ProbeFailed as error:
        found["error"] = str(error)
        rows.append(["the largest batch that fits", "", str(error)])
    findings.add(largest=found)
    columns = ["", "batch", "iterations/s", "images/s", "waiting for data", "MiB taken", "reckoned"]
    title = "Training the joint net, medians"
    rows = [[*cells, *[""] * (len(columns) - len(cells))] for cells in rows]
    findings.add(table(title, columns, rows))
    findings.add(table("JointDataLayer against DummyData", ["ratio", "goal"], [[fed, FED]]))


class ProbeFailed(Exception):
    """The process ended without a figure, as Caffe ends it where memory does not do."""


def probe(
    settings: Settings,
    batch: int,
    feed: Any,
    engine: str | None = None,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return what a process of train_probe.py says."""
    asked = {key: settings[key] for key in ("net", "gpu", "seconds")}
    asked.update(batch=batch, data=feed, engine=engine)
    process = subprocess.run(
        [sys.executable, str(PROBE), json.dumps(asked)],
        # not this process's own PYTHONPATH, which a bundle sets: what is imported here is there
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stderr.write(process.stderr)
    lines = process.stdout.splitlines()
    if process.returncode or not lines:
        fatal = [line for line in process.stderr.splitlines() if "Check failed" in line]
        reason = fatal[0].split("Check failed")[1] if fatal else process.stderr[-200:]
        raise ProbeFailed(f"status {process.returncode}: {reason.strip()}")
    return json.loads(lines[-1])


def largest(
    settings: Settings,
    small: dict[str, Any],
    real: dict[str, Any],
    rows: list[list[Any]],
    found: dict[str, Any],
) -> None:
    """Measure the largest batch that fits, by the memory that the usual one and twice it take.

    What is found goes into `rows` and `found` at once.
    """
    batch = settings["batch"]
    twice = found["twice"] = probe(settings, 2 * batch, "dummy")
    rows.append(row("DummyData", 2 * batch, [twice]))
    for share in SHARES:
        if seconds_left(settings) < _START_S + settings["seconds"]:
            break
        memory = min(twice["free_mib"], settings["most_mib"] or twice["free_mib"])
        wanted = batch_for(share * memory, batch, small["mib"], twice["mib"])
        try:
            found["dummy"] = probe(settings, wanted, "dummy")
        except ProbeFailed as error:
            found["tries"].append({"batch": wanted, "error": str(error)})
            continue
        found["batch"] = wanted
        rows.append(row("DummyData, the largest that fits", wanted, [found["dummy"]]))
        if seconds_left(settings) > _START_S + settings["seconds"]:
            # No more than two images of a class are in a batch's target half.
            most = min(wanted, 4 * nets.NETS[settings["net"]].target_classes)
            found["joint"] = probe(settings, most, {**real, "batch_size": most})
            rows.append(row("JointDataLayer", most, [found["joint"]]))
        break


def batch_for(memory: float, batch: int, taken: float, taken_by_twice: float) -> int:
    """Return the largest even batch for so much memory, by what `batch` and twice that take."""
    per_image = (taken_by_twice - taken) / batch
    fixed = taken - batch * per_image
    return int((memory - fixed) / per_image) // 2 * 2


def rate(made: list[dict[str, Any]], batch: int) -> float:
    """Return images per second, by the median iteration of all rounds."""
    return batch / float(np.median([s for each in made for s in each["seconds"]]))


def row(name: str, batch: int, made: list[dict[str, Any]]) -> list[Any]:
    """Return a row of the table."""
    per_second = rate(made, batch)
    waited = sum(sum(each["waited"]) for each in made)
    share = waited / sum(sum(each["seconds"]) for each in made)
    said = f"{share:.1%}" if waited else ""
    return [
        name,
        batch,
        per_second / batch,
        per_second,
        said,
        made[-1]["mib"],
        made[-1]["reckoned_mib"],
    ]


if __name__ == "__main__":
    run(main)
