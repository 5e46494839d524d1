"""A target set and a source of drawn images, with random neighbours: work for JointDataLayer."""

from __future__ import annotations

import itertools
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from nets import JointNet
from photographs import QUALITY, draw

from sjft.image_lmdb import ImageLmdb
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.neighbour_lmdb_writer import write_neighbours

#: A set repeats its images: one serves so many records.
_REPEATED = 3
_K = 30


def make(folder: Path, joint: JointNet, records: list[int], side: int) -> dict[str, Any]:
    """Write the three LMDBs of so many targets and sources into `folder`, side x side JPEGs.

    Returns JointDataLayer's keys but for the batch. What is there already is left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classes = joint.target_classes, joint.source_classes
    sets = list(zip(("target", "source"), records, classes))
    paths = {name: str(folder / f"{name}_{side}_{count}_lmdb") for name, count, _ in sets}
    for seed, (name, count, number) in enumerate(sets):
        if not Path(paths[name]).exists():
            with ProcessPoolExecutor() as pool:
                encoded = list(pool.map(partial(_jpeg, seed, side), range(-(-count // _REPEATED))))
            with ImageLmdbWriter(paths[name]) as writer:
                for i, content in zip(range(count), itertools.cycle(encoded)):
                    writer.add(encoded_datum(content, i % number, side, side), i % number)
    neighbours = str(folder / f"neighbours_{side}_{'_'.join(map(str, records))}_lmdb")
    if not Path(neighbours).exists():
        target, source = (ImageLmdb(paths[name]) for name in ("target", "source"))
        rng = np.random.default_rng(1)
        indices = [rng.choice(source.count, _K, replace=False) for _ in range(target.count)]
        distances = np.tile(np.linspace(1, 2, _K, dtype=np.float32), (target.count, 1))
        write_neighbours(neighbours, target, source, np.stack(indices), distances, {"bank": "none"})
    return {**paths, "neighbours": neighbours, "k0": _K, "crop": joint.crop, "mirror": True}


def _jpeg(seed: int, side: int, number: int) -> bytes:
    image = draw(np.random.default_rng([seed, number]), side, side)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
