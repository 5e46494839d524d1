"""LMDBs of images that cost as much to decode as photographs do, and random neighbours of them.

A drawn photograph is noise with as much contrast at fine scales as photographs have, and smooth
shapes on it; one of 256 x 256 takes some 30 kB as JPEG of quality 95. A folder of real images can
take the drawn ones' place. Fewer images are encoded than there are records, which repeat them.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from results import OUT

from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import progress
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.neighbour_lmdb_writer import write_neighbours

QUALITY = 95  # what convert_imageset and `sjft convert` encode with
K = 200
_SUFFIXES = {".jpg", ".jpeg", ".png"}


class Set(NamedTuple):
    """An image LMDB to be: its records, how many different images they show, and their size."""

    records: int
    images: int
    classes: int
    height: int
    width: int


SETS = {
    "target": Set(600, 200, 60, 256, 256),
    "source": Set(1200, 300, 100, 256, 256),
    "large": Set(300, 40, 60, 768, 1024),
}


def lmdb_path(folder: Path, name: str) -> str:
    """Return the path of an LMDB of `folder`: one of SETS, or "neighbours"."""
    return str(folder / f"{name}_lmdb")


def build(images: Path | None) -> Path:
    """Write the LMDBs that are missing; what is there is complete and left alone. Return where.

    `images`: a folder of real images, warped to the sizes of SETS, or None to draw some.
    """
    folder = OUT / ("photographs" if images is None else f"photographs_{images.resolve().name}")
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, form) in enumerate(SETS.items()):
        path = lmdb_path(folder, name)
        if not Path(path).exists():
            encoded = [
                _jpeg(_image(images, i, seed, form))
                for i in progress(range(form.images), f"making {name} images")
            ]
            write_records(path, encoded, form)
    paths = [lmdb_path(folder, name) for name in ("target", "source", "neighbours")]
    if not Path(paths[2]).exists():
        write_random_neighbours(*paths, K)
    return folder


def write_records(path: str, encoded: list[bytes], form: Set) -> None:
    """Write an LMDB of JPEGs, over and over, with the classes in turn."""
    with ImageLmdbWriter(path) as writer:
        for i, content in zip(range(form.records), itertools.cycle(encoded)):
            label = i % form.classes
            writer.add(encoded_datum(content, label, form.height, form.width), label)


def write_random_neighbours(target: str, source: str, neighbours: str, k: int) -> None:
    """Write an LMDB of `k` neighbours of each target image, drawn at random."""
    targets, sources = ImageLmdb(target), ImageLmdb(source)
    rng = np.random.default_rng(1)
    indices = [rng.choice(sources.count, k, replace=False) for _ in range(targets.count)]
    distances = np.tile(np.linspace(1, 2, k, dtype=np.float32), (targets.count, 1))
    write_neighbours(neighbours, targets, sources, np.stack(indices), distances, {"bank": "none"})


def kilobytes(folder: Path, name: str) -> float:
    """Return the mean size of the records of one of SETS."""
    lmdb = ImageLmdb(lmdb_path(folder, name))
    return sum(map(len, lmdb.values())) / lmdb.count / 1000


def draw(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a drawn photograph, height x width x 3 uint8 BGR."""
    image = np.full((height, width, 3), 110, np.float32)
    contrast, cells = 45.0, 4
    while cells <= max(height, width):
        shape = (max(1, height * cells // width), cells, 3)
        noise = rng.standard_normal(shape).astype(np.float32)
        noise = 0.4 * noise + 1.2 * noise.mean(axis=2, keepdims=True)  # colours differ less
        image += contrast * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        contrast, cells = 0.7 * contrast, 2 * cells
    for _ in range(rng.integers(5, 14)):
        mask = np.zeros((height, width), np.float32)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(8, width // 4)), int(rng.integers(8, height // 4)))
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 0.8, -1, cv2.LINE_AA)
        image += mask[..., None] * (rng.uniform(0, 255, 3).astype(np.float32) - image)
    return np.clip(image, 0, 255).astype(np.uint8)


def _image(images: Path | None, i: int, seed: int, form: Set) -> np.ndarray:
    if images is None:
        return draw(np.random.default_rng([seed, i]), form.height, form.width)
    files = [file for file in sorted(images.rglob("*")) if file.suffix.lower() in _SUFFIXES]
    if not files:
        raise SystemExit(f"{images} holds no .jpg, .jpeg or .png file")
    file = files[i * len(files) // form.images]
    image = cv2.imread(str(file))
    if image is None:
        raise SystemExit(f"{file} cannot be decoded")
    return cv2.resize(image, (form.width, form.height))


def _jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
