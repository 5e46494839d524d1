"""Step: 'caffe time' of the joint net: the slowest layers, and what bounds them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import nets
from layer_costs import Cost, costs
from step import Findings, Settings, run
from tables import table

from sjft_tools.caffe_process import reason
from sjft_tools.pycaffe import import_caffe

_LINE = re.compile(r"\]\s+(\S+)\s+(forward|backward): ([\d.e+-]+) ms\.")
_TOTAL = re.compile(r"\] Average (Forward pass|Backward pass|Forward-Backward): ([\d.e+-]+) ms")
_SHOWN = 10


def main(settings: Settings, findings: Findings) -> None:
    joint, batch = nets.NETS[settings["net"]], settings["batch"]
    unknown = dict.fromkeys(("float32", "TensorFloat-32", "bytes"), float("nan"))
    rates = (settings["earlier"][0] or {}).get("rates", unknown)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.prototxt"
        file.write_text(nets.text(joint, nets.dummy_data(joint, batch)))
        log = timed(settings, str(file))
        caffe = import_caffe()
        nets.use(caffe, settings["gpu"])
        net = caffe.Net(str(file), caffe.TRAIN)
        least = costs(net)
        types = {name: layer.type for name, layer in zip(net._layer_names, net.layers)}
    measured = {(name, way): float(ms) / 1000 for name, way, ms in _LINE.findall(log)}
    totals = {name: float(ms) / 1000 for name, ms in _TOTAL.findall(log)}
    if not measured or not totals:
        raise SystemExit("caffe time printed no times")
    slowest = sorted(measured, key=lambda key: -measured[key])[:_SHOWN]
    rows: list[list[Any]] = []
    for name, way in slowest:
        cost, seconds = least[name][way], measured[name, way]
        float32 = cost.seconds(rates["float32"], rates["bytes"])
        tensor = cost.seconds(rates["TensorFloat-32"], rates["bytes"])
        rows.append(
            [
                name,
                way,
                1000 * seconds,
                cost.flops / 1e9,
                cost.bytes / 2**20,
                1000 * float32,
                1000 * tensor,
                tensor / seconds,
            ]
        )
    columns = ["layer", "", "ms", "GFLOP", "MiB", "bound, ms", "with TF32, ms", "reached"]
    findings.add(
        table(f"The ten slowest layers, batch {batch}, caffe time", columns, rows),
        measured={f"{name} {way}": value for (name, way), value in measured.items()},
        totals=totals,
    )
    kinds = by_type(measured, least, types, rates)
    columns = ["type", "layers", "ms", "bound with TF32, ms", "reached"]
    findings.add(table("By type of layer", columns, kinds), kinds=kinds)
    bound = sum(row[3] for row in kinds) / 1000
    whole = totals["Forward-Backward"]
    findings.add(
        table(
            "All layers",
            ["", "ms"],
            [
                *[[name, 1000 * value] for name, value in totals.items()],
                ["bound, with TF32", 1000 * bound],
                ["reached", bound / whole],
            ],
        ),
        bound_seconds=bound,
    )


def by_type(
    measured: dict[tuple[str, str], float],
    least: dict[str, dict[str, Cost]],
    types: dict[str, str],
    rates: dict[str, float],
) -> list[list[Any]]:
    """Return a row for each type of layer, the slowest first."""
    rows = []
    for kind in dict.fromkeys(types.values()):
        own = [key for key in measured if types.get(key[0]) == kind]
        ms = 1000 * sum(measured[key] for key in own)
        bound = 1000 * sum(
            least[name][way].seconds(rates["TensorFloat-32"], rates["bytes"]) for name, way in own
        )
        if own:
            rows.append([kind, len({name for name, _ in own}), ms, bound, bound / ms if ms else ""])
    return sorted(rows, key=lambda row: -row[2])


def timed(settings: Settings, net: str) -> str:
    """Return what 'caffe time' says."""
    on = [] if settings["gpu"] is None else ["-gpu", str(settings["gpu"])]
    words = ["time", "-model", net, "-iterations", str(settings["iterations"]), *on]
    process = subprocess.run(
        [*settings["caffe"], *words],
        env={**os.environ, "GLOG_logtostderr": "1", "GLOG_minloglevel": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if process.returncode:
        print(process.stdout[-2000:])
        raise SystemExit(f"caffe time: {reason(process.returncode, process.stdout)}")
    return process.stdout


if __name__ == "__main__":
    run(main)
