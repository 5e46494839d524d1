"""The ways of making batches that data_layer.py compares, as rate_probe.py is told them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from photographs import K, lmdb_path

from sjft.layer_params import parse_target_data
from sjft_tools.nets import layers as L
from sjft_tools.nets.text import Message

BATCH, CROP, MEAN, SHORTER = 18, 224, [104, 117, 123], 256


class Way(NamedTuple):
    """One way, as rate_probe.py is told it; `processes` of them run at once."""

    kind: str
    arguments: dict[str, Any]
    ahead: int = 0
    batch_size: int = BATCH
    processes: int = 1


def native(folder: Path, prefetch: int, batch_size: int = BATCH) -> Way:
    """Caffe's own layer; `prefetch` is its number of batches made ahead, by its one thread."""
    transform = {"mirror": True, "crop_size": CROP, "mean_value": MEAN}
    layer: Message = {
        "name": "data",
        "type": "Data",
        "top": ["data", "label"],
        "transform_param": transform,
        "data_param": {
            "source": lmdb_path(folder, "source"),
            "batch_size": batch_size,
            "backend": "LMDB",
            "prefetch": prefetch,
        },
    }
    return Way("net", {"layer": layer}, prefetch, batch_size)


def loop(folder: Path, name: str = "source", resize_shorter: int | None = None) -> Way:
    """What one writes down in Python, on one LMDB of photographs.SETS."""
    arguments = {
        "path": lmdb_path(folder, name),
        "batch_size": BATCH,
        "crop": CROP,
        "mean": MEAN,
        "resize_shorter": resize_shorter,
    }
    return Way("loop", arguments)


def joint_params(folder: Path, workers: int | None) -> dict[str, Any]:
    """Return the parameters of JointDataLayer; `workers` None is its default."""
    return {
        "target": lmdb_path(folder, "target"),
        "source": lmdb_path(folder, "source"),
        "neighbours": lmdb_path(folder, "neighbours"),
        "k0": K,
        "batch_size": BATCH,
        "crop": CROP,
        "mean": MEAN,
        "workers": workers,
    }


def joint(folder: Path, workers: int, processes: int = 1) -> Way:
    """JointDataLayer: half target images, half source images."""
    tops = ["data", "target_label", "source_label"]
    layer = L.python_layer("data", "JointDataLayer", joint_params(folder, workers), tops)
    return Way("net", {"layer": layer}, _ahead(workers), processes=processes)


def target(
    folder: Path, workers: int, name: str = "source", resize_shorter: int | None = None
) -> Way:
    """TargetDataLayer in the TRAIN phase, on one LMDB of photographs.SETS."""
    params = {
        "target": lmdb_path(folder, name),
        "batch_size": BATCH,
        "resize_shorter": resize_shorter,
        "crop": CROP,
        "mean": MEAN,
        "workers": workers,
    }
    layer = L.python_layer("data", "TargetDataLayer", params, ["data", "target_label"])
    return Way("net", {"layer": layer}, _ahead(workers))


def _ahead(workers: int) -> int:
    return parse_target_data(f'{{"target": "any", "workers": {workers}}}', True).prefetch.depth
