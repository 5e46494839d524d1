"""Data bases with ImageNet's metadata and hardly any image: for set-up, not for images per second.

The source has 1,281,167 records in 1,000 classes. Classes 900..999 are ones that the targets hardly
resemble: a few images of each are ever a neighbour, so that min_source_per_class drops them. The
target images have 5,000 distinct neighbours each. All of it is written by sjft's own writers.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft.levels import MAX_LEVEL, levels_text
from sjft.messages import Datum
from sjft_tools.atomic import new_file
from sjft_tools.command import progress
from sjft_tools.image_lmdb_writer import ImageLmdbWriter
from sjft_tools.neighbour_lmdb_writer import write_neighbours

SOURCES, SOURCE_CLASSES = 1_281_167, 1_000
TARGETS, TARGET_CLASSES = (1_500, 3_000, 6_000, 12_000), 100
K = 5_000
RARE_FROM, RARE_IMAGES = 900, 40  # classes from this one on have so many images among neighbours
SIDE = 8  # pixels


def source_path(folder: Path) -> Path:
    return folder / "source_lmdb"


def target_path(folder: Path, targets: int) -> Path:
    return folder / f"target_{targets}_lmdb"


def neighbours_path(folder: Path, targets: int) -> Path:
    return folder / f"neighbours_{targets}_lmdb"


def levels_path(folder: Path, targets: int) -> Path:
    return folder / f"levels_{targets}.json"


def build(folder: Path) -> None:
    """Write what is missing in `folder`; what is there is complete and left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    if not source_path(folder).exists():
        # classes mixed, as in a shuffled list of images
        labels = np.random.default_rng(0).permutation(np.arange(SOURCES) % SOURCE_CLASSES)
        _write_images(source_path(folder), labels)
    source = ImageLmdb(str(source_path(folder)), "source")
    for targets in TARGETS:
        if not target_path(folder, targets).exists():
            _write_images(target_path(folder, targets), np.arange(targets) % TARGET_CLASSES)
        target = ImageLmdb(str(target_path(folder, targets)), "target")
        if not neighbours_path(folder, targets).exists():
            print(f"writing {targets:,} x {K:,} neighbours", flush=True)
            write_neighbours(
                str(neighbours_path(folder, targets)),
                target,
                source,
                _neighbours(np.asarray(source.labels), targets),
                np.broadcast_to(np.linspace(1, 2, K, dtype=np.float32), (targets, K)),
                {"bank": "none"},
            )
        if not levels_path(folder, targets).exists():
            levels = np.random.default_rng(2).integers(1, MAX_LEVEL, targets, endpoint=True)
            with new_file(str(levels_path(folder, targets))) as file:
                Path(file).write_text(levels_text(levels, target), encoding="utf-8")


def _write_images(path: Path, labels: np.ndarray) -> None:
    pixels = np.arange(3 * SIDE * SIDE, dtype=np.uint8)
    with ImageLmdbWriter(str(path)) as writer:
        for i, label in enumerate(progress(labels.tolist(), f"writing {path.name}")):
            data = (pixels + np.uint8(i % 191)).tobytes()
            datum = Datum(channels=3, height=SIDE, width=SIDE, data=data, label=label)
            writer.add(datum.SerializeToString(), label)


def _neighbours(source_labels: np.ndarray, targets: int) -> np.ndarray:
    """Return targets x K int64: each row an arithmetic progression, scattered and without twins."""
    by_class = np.argsort(source_labels, kind="stable")
    ends = np.cumsum(np.bincount(source_labels, minlength=SOURCE_CLASSES))
    rare = [by_class[end : end + RARE_IMAGES] for end in ends[RARE_FROM - 1 : -1]]
    candidates = np.concatenate([by_class[: ends[RARE_FROM - 1]], *rare])
    n = len(candidates)
    rng = np.random.default_rng(1)
    rows = np.empty((targets, K), np.int64)
    for row in rows:
        step = int(rng.integers(1, n))
        while math.gcd(step, n) > 1:
            step += 1
        row[:] = candidates[(int(rng.integers(n)) + step * np.arange(K)) % n]
    return rows
