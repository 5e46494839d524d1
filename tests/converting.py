"""Image files for the tests of ``sjft convert``, and what they look at in its LMDBs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import lmdb
import numpy as np

from conftest import draw_image
from sjft.messages import Datum
from sjft_tools.image_files import Storage

KEEP = Storage(None, None, 95)


def encode(image: np.ndarray, ending: str = ".jpg", *options: int) -> bytes:
    return cv2.imencode(ending, image, options)[1].tobytes()


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def datums(path: Path) -> list[tuple[bytes, object]]:
    """The records as py-lmdb alone reads them."""
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return [(bytes(key), Datum.FromString(value)) for key, value in transaction.cursor()]


def side_file(path: Path) -> dict:
    return json.loads((path / "sjft.json").read_text(encoding="utf-8"))


def debris(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


def write_photos(folder: Path) -> Path:
    """Two classes and some files that are no images, in the folder `photos` of `folder`."""
    return write_files(
        folder / "photos",
        {
            "b rose/2.jpg": encode(draw_image(1)),
            "b rose/10.JPG": encode(draw_image(2)),
            "b rose/deep/er.png": encode(draw_image(3), ".png"),
            "b rose/.hidden.jpg": b"",
            "b rose/Thumbs.db": b"x",
            "ä daisy/1.jpeg": encode(draw_image(4)),
            ".git/x.jpg": b"",
            "readme.txt": b"hello",
        },
    )
