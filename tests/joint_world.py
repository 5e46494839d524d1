"""Small real LMDBs (target, source, neighbours) on which the tests of the data layers run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from conftest import draw_image, write_image_lmdb
from sjft.image_lmdb import ImageLmdb
from sjft_tools.neighbour_lmdb_writer import write_neighbours

TARGETS, TARGET_CLASSES, SOURCES, SOURCE_CLASSES, K = 14, 5, 40, 6, 10


class World(NamedTuple):
    """Paths of the LMDBs, and the neighbours that were written, targets x K."""

    target: str
    source: str
    neighbours: str
    indices: np.ndarray

    def params(self, **changes: object) -> dict:
        """Keys of JointDataLayer's param_str for this world, with changes."""
        keys: dict[str, object] = {
            "target": self.target,
            "source": self.source,
            "neighbours": self.neighbours,
            "batch_size": 8,
            "k0": 4,
            "resize": 36,
            "crop": 32,
            "workers": 1,
            "timeout_s": 20,
        }
        return {**keys, **changes}

    def param_str(self, **changes: object) -> str:
        """The same as JSON."""
        return json.dumps(self.params(**changes))


def make_world(folder: Path, seed: int = 0, grey: str = "") -> World:
    """Write target_lmdb, source_lmdb and neighbours_lmdb into `folder`.

    Images of the set `grey` ("target", "source") have one channel.
    """
    images = [draw_image(1000 * seed + i, 40 + i % 3, 44 + i % 5) for i in range(TARGETS + SOURCES)]
    for i in {"": range(0), "target": range(TARGETS), "source": range(TARGETS, len(images))}[grey]:
        images[i] = cv2.cvtColor(images[i], cv2.COLOR_BGR2GRAY)
    labels = [i % TARGET_CLASSES for i in range(TARGETS)]
    source_labels = [(i * i) % SOURCE_CLASSES for i in range(SOURCES)]
    target = write_image_lmdb(folder / "target_lmdb", images[:TARGETS], labels)
    source = write_image_lmdb(folder / "source_lmdb", images[TARGETS:], source_labels)
    rng = np.random.default_rng(seed)
    indices = np.stack([rng.choice(SOURCES, K, replace=False) for _ in range(TARGETS)])
    neighbours = folder / "neighbours_lmdb"
    write_neighbours(
        str(neighbours),
        ImageLmdb(str(target), "target"),
        ImageLmdb(str(source), "source"),
        indices.astype(np.int64),
        np.tile(np.arange(K, dtype=np.float32), (TARGETS, 1)),
        {"bank": "gabor"},
    )
    return World(str(target), str(source), str(neighbours), indices)
