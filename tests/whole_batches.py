"""Batches of a small world, and the views by which their images are known."""

from __future__ import annotations

import numpy as np

from conftest import centre_view
from joint_world import World
from sjft.batches import Batches, JointBatches
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import parse_joint_data

MEAN = [104, 117, 123]


def joint(world: World, rank: int = 0, ranks: int = 1, **changes: object) -> JointBatches:
    return JointBatches(parse_joint_data(world.param_str(**changes)), rank, ranks)


def blank(batches: Batches) -> dict[str, np.ndarray]:
    """Arrays for a batch; what is not written stays NaN, and equals nothing."""
    return {name: np.full(shape, np.nan, np.float32) for name, shape in batches.tops.items()}


def batch_of(batches: Batches, number: int) -> dict[str, np.ndarray]:
    out = blank(batches)
    batches.fill(number, out)
    return out


def stored_views(path: str, **size: int | None) -> list[bytes]:
    """The bytes of the central view of every image of an LMDB."""
    lmdb = ImageLmdb(path)
    keys = {"resize": 32, "resize_shorter": None, **size}
    plain = [centre_view(lmdb.image(i), crop=32, mean=MEAN, **keys) for i in range(len(lmdb))]
    return [view.tobytes() for view in plain]
