"""What each layer's ``param_str`` may say: keys, kinds, defaults and the rules between keys.

Importable without Caffe, so that a net can be checked before training. The class docstrings in
sjft/layers.py describe the keys to users.
"""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from sjft.cores import cores
from sjft.errors import InputError
from sjft.params import (
    REQUIRED,
    Param,
    boolean,
    either,
    integer,
    list_of,
    nothing,
    number,
    one_of,
    parse_params,
    text,
)
from sjft.transforms import Geometry

#: So few batch numbers fit in the buffer of a worker's socket on every system: a parent that hands
#: them out never has to wait for the worker to read them.
MAX_PREFETCH = 128

#: More workers must be asked for: these decode more images a second than nets train on.
MOST_BY_DEFAULT = 16

#: What `on_bad_image` may say: stop training, or let another image stand in.
ERROR, REPLACE = "error", "replace"

_MOST_LABEL = 1 << 24  # beyond it a blob's float32 does not tell one integer from the next

_side = integer(1, 1 << 14)  # larger images than any net takes would only exhaust the memory

_DATA_SPEC = {
    "resize": Param(either(_side, nothing()), None),
    "resize_shorter": Param(either(_side, list_of(_side, 2), nothing()), None),
    "crop": Param(_side, 224),
    "mean": Param(list_of(number(0, 255), 3), [104, 117, 123]),
    "workers": Param(either(integer(0), nothing()), None),
    "prefetch": Param(either(integer(1, MAX_PREFETCH), nothing()), None),
    "prefetch_mb": Param(integer(1), 512),
    "timeout_s": Param(number(0.01), 60),
    "report_every": Param(integer(0), 500),
}

JOINT_DATA_SPEC = {
    "target": Param(either(text(), list_of(text())), REQUIRED),
    "source": Param(text(), REQUIRED),
    "neighbours": Param(text(), REQUIRED),
    "batch_size": Param(integer(2), 18),
    "k0": Param(integer(1), 100),
    "levels": Param(either(text(), nothing()), None),
    "min_source_per_class": Param(integer(0), 0),
    "max_per_class": Param(either(integer(1), nothing()), 2),
    "mirror": Param(boolean(), True),
    "seed": Param(integer(0, 2**63 - 1), 1),
    "on_bad_image": Param(one_of(ERROR, REPLACE), ERROR),
    "max_bad_images": Param(integer(0), 100),
    **_DATA_SPEC,
}

TARGET_DATA_SPEC = {
    "target": Param(text(), REQUIRED),
    "batch_size": Param(integer(1), 10),
    "mirror": Param(either(boolean(), nothing()), None),
    "seed": Param(either(integer(0, 2**63 - 1), nothing()), None),
    "on_bad_image": Param(either(one_of(ERROR, REPLACE), nothing()), None),
    "max_bad_images": Param(either(integer(0), nothing()), None),
    **_DATA_SPEC,
}

MULTI_TASK_LOSS_SPEC = {
    "weights": Param(either(list_of(number(0)), nothing()), None),
    "ignore_label": Param(either(integer(-_MOST_LABEL, _MOST_LABEL), nothing()), None),
}


class PrefetchParams(NamedTuple):
    """How batches are made ahead: processes (0: none), batches, bytes, seconds of patience.

    `max_bad_images`: different images for which others may stand in; `report_every`: batches
    between two reports of the time that training waited, 0 for none.
    """

    workers: int
    depth: int
    max_bytes: int
    timeout_s: float
    max_bad_images: int = 100
    report_every: int = 0


class JointDataParams(NamedTuple):
    """The parameters of JointDataLayer, resolved; `mean` is float32 (3,), BGR."""

    target: list[str]
    source: str
    neighbours: str
    batch_size: int
    k0: int
    levels: str | None
    min_source_per_class: int
    max_per_class: int | None
    geometry: Geometry
    mean: np.ndarray
    seed: int
    on_bad_image: str
    prefetch: PrefetchParams


class TargetDataParams(NamedTuple):
    """The parameters of TargetDataLayer, resolved; `mean` is float32 (3,), BGR.

    `seed` None means the fixed order and the central view of the TEST phase.
    """

    target: str
    batch_size: int
    geometry: Geometry
    mean: np.ndarray
    seed: int | None
    on_bad_image: str
    prefetch: PrefetchParams


class MultiTaskLossParams(NamedTuple):
    """The parameters of MultiTaskLossLayer; `weights` None means equal shares of 1."""

    weights: list[float] | None
    ignore_label: int | None


def parse_joint_data(param_str: str, ranks: int = 1) -> JointDataParams:
    """Parse JointDataLayer's ``param_str``. Raises InputError.

    `ranks`: how many processes train together, and share the cores.
    """
    layer = "JointDataLayer"
    p = parse_params(param_str, JOINT_DATA_SPEC, layer)
    if p.batch_size % 2:
        raise InputError(
            f"{layer}: 'batch_size' must be even, half target and half source images, got "
            f"{p.batch_size}"
        )
    return JointDataParams(
        target=[as_path(t) for t in ([p.target] if isinstance(p.target, str) else p.target)],
        source=as_path(p.source),
        neighbours=as_path(p.neighbours),
        batch_size=p.batch_size,
        k0=p.k0,
        levels=None if p.levels is None else as_path(p.levels),
        min_source_per_class=p.min_source_per_class,
        max_per_class=p.max_per_class,
        geometry=_geometry(p, layer, p.mirror),
        mean=np.array(p.mean, np.float32),
        seed=p.seed,
        on_bad_image=p.on_bad_image,
        prefetch=_prefetch(p, layer, ranks, p.max_bad_images, p.report_every),
    )


def parse_target_data(param_str: str, train: bool, ranks: int = 1) -> TargetDataParams:
    """Parse TargetDataLayer's ``param_str`` for the TRAIN or TEST phase. Raises InputError.

    `ranks`: how many processes train together, and share the cores.
    """
    layer = "TargetDataLayer"
    p = parse_params(param_str, TARGET_DATA_SPEC, layer)
    geometry = _geometry(p, layer, train and p.mirror is not False)
    if not train:
        for key in ("mirror", "seed", "on_bad_image", "max_bad_images"):
            if getattr(p, key) is not None:
                raise InputError(
                    f"{layer}: '{key}' is for the TRAIN phase only: the TEST phase shows every "
                    f"image, in a fixed order, cropped in the centre"
                )
        if geometry.shorter is not None and geometry.shorter[0] != geometry.shorter[1]:
            raise InputError(
                f"{layer}: 'resize_shorter' must be one integer in the TEST phase, where nothing "
                f"is random, got {list(geometry.shorter)}"
            )
    seed = (1 if p.seed is None else p.seed) if train else None
    return TargetDataParams(
        target=as_path(p.target),
        batch_size=p.batch_size,
        geometry=geometry,
        mean=np.array(p.mean, np.float32),
        seed=seed,
        on_bad_image=p.on_bad_image or ERROR,
        prefetch=_prefetch(
            p,
            layer,
            ranks,
            100 if p.max_bad_images is None else p.max_bad_images,
            p.report_every if train else 0,
        ),
    )


def parse_multi_task_loss(param_str: str) -> MultiTaskLossParams:
    """Parse MultiTaskLossLayer's ``param_str``. Raises InputError."""
    p = parse_params(param_str, MULTI_TASK_LOSS_SPEC, "MultiTaskLossLayer")
    return MultiTaskLossParams(p.weights, p.ignore_label)


def as_path(text: str) -> str:
    """Return the path that a prototxt file gives in UTF-8 as this process has to name it.

    Inside the caffe command Python takes paths to be in the locale's encoding, which is ASCII where
    the environment names no locale, as under cron and in containers.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return text
    try:
        return os.fsdecode(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # no path of any file
        return text


def _geometry(p: SimpleNamespace, layer: str, mirror: bool) -> Geometry:
    if p.resize is not None and p.resize_shorter is not None:
        raise InputError(
            f"{layer}: 'resize' and 'resize_shorter' exclude each other, got {p.resize} and "
            f"{p.resize_shorter}"
        )
    shorter = None
    if p.resize_shorter is not None:
        ends = p.resize_shorter if isinstance(p.resize_shorter, list) else [p.resize_shorter] * 2
        shorter = (ends[0], ends[1])
        if shorter[0] > shorter[1]:
            raise InputError(
                f"{layer}: 'resize_shorter' must be [smallest, largest], got {p.resize_shorter}"
            )
    side = p.resize if shorter is None else shorter[0]
    if side is not None and p.crop > side:
        key = "resize" if shorter is None else "resize_shorter"
        raise InputError(
            f"{layer}: 'crop' must be at most '{key}', the size that images have when they are "
            f"cropped, got crop {p.crop} and {key} {side}"
        )
    return Geometry(p.resize, shorter, p.crop, mirror)


def _prefetch(
    p: SimpleNamespace, layer: str, ranks: int, max_bad_images: int, report_every: int
) -> PrefetchParams:
    sensible = max(32, 8 * cores())
    share = max(1, (cores() - 1) // ranks)
    workers = min(share, MOST_BY_DEFAULT) if p.workers is None else p.workers
    if workers > sensible:
        raise InputError(
            f"{layer}: 'workers' must be at most {sensible} on this machine of {cores()} cores, "
            f"got {workers}: expected about as many worker processes as cores"
        )
    depth = min(MAX_PREFETCH, 2 * workers + 2) if p.prefetch is None else p.prefetch
    return PrefetchParams(
        workers, depth, p.prefetch_mb << 20, float(p.timeout_s), max_bad_images, report_every
    )
