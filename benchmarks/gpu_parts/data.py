"""A target set and a source of drawn images, with random neighbours: work for JointDataLayer."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from nets import JointNet
from photographs import QUALITY, Set, draw, write_random_neighbours, write_records

#: A set repeats its images: one serves so many records.
_REPEATED = 3
_K = 30


def make(folder: Path, joint: JointNet, records: list[int], side: int) -> dict[str, Any]:
    """Write the three LMDBs of so many targets and sources into `folder`, side x side JPEGs.

    Returns JointDataLayer's keys but for the batch. What is there already is left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classes = joint.target_classes, joint.source_classes
    paths = {}
    for seed, (name, count, number) in enumerate(zip(("target", "source"), records, classes)):
        paths[name] = str(folder / f"{name}_{side}_{count}_lmdb")
        if not Path(paths[name]).exists():
            images = -(-count // _REPEATED)
            with ProcessPoolExecutor() as pool:
                encoded = list(pool.map(partial(_jpeg, seed, side), range(images)))
            write_records(paths[name], encoded, Set(count, images, number, side, side))
    paths["neighbours"] = str(folder / f"neighbours_{side}_{'_'.join(map(str, records))}_lmdb")
    if not Path(paths["neighbours"]).exists():
        write_random_neighbours(**paths, k=_K)
    return {**paths, "k0": _K, "crop": joint.crop, "mirror": True}


def _jpeg(seed: int, side: int, number: int) -> bytes:
    image = draw(np.random.default_rng([seed, number]), side, side)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
