"""Small or full-sized data sets of the published structure, for the tests of ``sjft convert``."""

from __future__ import annotations

import functools
import io
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import lmdb
import numpy as np
from scipy.io import savemat

from sjft.image_lmdb import ImageLmdb
from sjft_tools.command import Parser
from sjft_tools.commands import convert
from sjft_tools.image_sets import ImageSet


@functools.lru_cache(1 << 16)
def picture(number: int) -> bytes:
    """An image that tells its number, 0 to 65535."""
    colour = (number % 256, number // 256, 0)
    return cv2.imencode(".png", np.full((4, 4, 3), colour, np.uint8))[1].tobytes()


def numbers_in(path: Path) -> list[int]:
    """The numbers of an LMDB's pictures."""
    images = ImageLmdb(str(path))
    pixels = [images.image(i)[0, 0].tolist() for i in range(images.count)]
    return [blue + 256 * green for blue, green, _ in pixels]


def numbers_of(images: ImageSet, number: dict[str, int]) -> list[int]:
    """The numbers of an ImageSet's entries, by the names of their files."""
    return [number[entry.path.rsplit("/", 1)[-1]] for entry in images.entries]


def tar_bytes(files: Iterable[tuple[str, bytes]], mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def write_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)


def write_tree(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    for name, data in files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def cells(texts: Sequence[str]) -> np.ndarray:
    """A column of MATLAB cells, as the published files hold their names."""
    column = np.empty((len(texts), 1), object)
    column[:, 0] = texts
    return column


def mat_bytes(**variables: object) -> bytes:
    content = io.BytesIO()
    savemat(content, variables)
    return content.getvalue()


def devkit_meta(wnids: Sequence[str], words: Sequence[str], images: int = 1300) -> bytes:
    """meta.mat of ImageNet's development kit: `wnids` in the order of ILSVRC2012_ID.

    `images`: how many of each synset there are to train on.
    """
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "num_train_images")
    synsets = np.zeros((len(wnids) + 1, 1), [(field, object) for field in fields])
    rows = [(i + 1, w, t, "a gloss", 0, images) for i, (w, t) in enumerate(zip(wnids, words))]
    rows.append((len(wnids) + 1, "n00001740", "entity", "that which is", len(wnids), 0))
    for i, row in enumerate(rows):
        for field, value in zip(fields, row):
            synsets[field][i, 0] = float(value) if isinstance(value, int) else value
    return mat_bytes(synsets=synsets)


def read_form(form: str, folder: Path, *options: object) -> ImageSet:
    """What the form reads, in this process."""
    parser = Parser()
    convert.add_arguments(parser)
    args = parser.parse_args([form, str(folder), "unused", *map(str, options)])
    return convert.FORMS[form][0].read(args, str(folder / "scratch"))


def convert_form(form: str, folder: Path, out: Path, *options: object) -> None:
    """Convert in this process."""
    parser = Parser()
    convert.add_arguments(parser)
    convert.run(parser.parse_args([form, str(folder), str(out), *map(str, options)]))


def record_count(path: Path) -> int:
    """The records as py-lmdb alone counts them."""
    with lmdb.open(str(path), readonly=True, lock=False) as env:
        return int(env.stat()["entries"])
