"""What ``sjft retrieve`` says where one set's images were enlarged and the other's were not."""

from __future__ import annotations

import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import run_sjft, write_image_lmdb
from sjft.image_lmdb import ImageLmdb
from sjft_tools.banks import make_bank
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.retrieval.detail import advice_on_detail, lost_detail

SOURCE_IS_COARSE = (
    "warning: the source's images show no more detail than 32 x 32 pixels hold, those of the "
    "target far more: if they were enlarged, sharpness decides and a few source images become "
    "everyone's neighbours; 'sjft fit-bins --resolution 32' compares both sets at that size"
)
TARGET_IS_COARSE = (
    SOURCE_IS_COARSE.replace("source's", "TARGET'S")
    .replace("the target far", "the source far")
    .replace("TARGET'S", "target's")
)


def draw(seed: int, side: int, stored: int) -> np.ndarray:
    """Return an image with detail of every size down to a pixel of side x side, then resized."""
    rng = np.random.default_rng(seed)
    image, share, cells = np.zeros((side, side, 3), np.float32), 1.0, 4
    while cells <= side:
        part = rng.normal(size=(cells, cells, 3)).astype(np.float32)
        image += share * cv2.resize(part, (side, side), interpolation=cv2.INTER_CUBIC)
        share, cells = share * 0.65, cells * 2
    image = np.clip(128 + 40 * image, 0, 255).astype(np.uint8)
    return cv2.resize(image, (stored, stored), interpolation=cv2.INTER_CUBIC)


def write(path: Path, side: int, stored: int, first: int = 0) -> ImageLmdb:
    images = [draw(first + seed, side, stored) for seed in range(20)]
    return ImageLmdb(str(write_image_lmdb(path, images, [0] * len(images))))


def test_the_share_that_is_lost() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * np.float32(255)
    assert lost_detail(board, 32) == pytest.approx(1)  # all of it is finer
    large = np.kron(board[:4, :4], np.ones((16, 16), np.float32))
    assert lost_detail(large, 32) < 0.1 < lost_detail(large, 4)
    assert lost_detail(np.full((64, 64), 7, np.float32), 16) == 0


@pytest.mark.parametrize("resize", [64, 256])  # the two banks' own
@pytest.mark.parametrize("stored", [32, 128])
def test_images_enlarged_before_or_only_for_the_bank(
    tmp_path: Path, resize: int, stored: int
) -> None:
    whole = make_bank("gabor", None, resize, None, "numpy")
    reduced = make_bank("gabor", None, resize, 32, "numpy")
    sharp, coarse = write(tmp_path / "sharp", 256, 256), write(tmp_path / "coarse", 32, stored, 50)
    assert advice_on_detail(sharp, coarse, whole) == SOURCE_IS_COARSE
    assert advice_on_detail(coarse, sharp, whole) == TARGET_IS_COARSE
    for target, source in ((sharp, coarse), (coarse, sharp)):
        assert advice_on_detail(target, source, reduced) == ""
    for lmdb in (sharp, coarse):
        assert advice_on_detail(lmdb, lmdb, whole) == ""


def test_a_source_of_which_only_some_are_coarse(tmp_path: Path) -> None:
    """Half of the demo's source are plain glyphs, like its targets; half are textures."""
    images = [draw(seed, 32 if seed % 2 else 256, 256) for seed in range(20)]
    mixed = ImageLmdb(str(write_image_lmdb(tmp_path / "mixed", images, [0] * 20)))
    bank = make_bank("gabor", None, None, None, "numpy")
    for other in (write(tmp_path / "sharp", 256, 256), write(tmp_path / "coarse", 32, 256)):
        assert advice_on_detail(other, mixed, bank) == ""


def test_photographs(tmp_path: Path, shared_data: Path) -> None:
    files = sorted((shared_data / "target_oxford17_flowers/images").glob("*.jpg"))[::20]
    flowers = [cv2.imread(str(file)) for file in files]
    tiny = []
    with tarfile.open(shared_data / "source_tiny_imagenet_32/images.tar.xz", "r|xz") as archive:
        for member in archive:
            if member.isfile():
                data = np.frombuffer(archive.extractfile(member).read(), np.uint8)
                tiny.append(cv2.imdecode(data, cv2.IMREAD_COLOR))
            if len(tiny) == 64:
                break
    target = ImageLmdb(str(write_image_lmdb(tmp_path / "target", flowers, [0] * len(flowers))))
    source = ImageLmdb(str(write_image_lmdb(tmp_path / "source", tiny, [0] * len(tiny))))
    for resize in (64, 256):
        bank = make_bank("gabor", None, resize, None, "numpy")
        assert advice_on_detail(target, source, bank) == SOURCE_IS_COARSE
        bank = make_bank("gabor", None, resize, 32, "numpy")
        assert advice_on_detail(target, source, bank) == ""


def test_on_the_command_line_with_images_that_cannot_be_used(tmp_path: Path) -> None:
    write(tmp_path / "target", 256, 256)
    with ImageLmdbWriter(str(tmp_path / "source")) as writer:
        for seed in range(20):
            png = cv2.imencode(".png", draw(seed, 32, 32))[1].tobytes()
            writer.add(encoded_datum(png if seed else b"no image", 0, 32, 32), 0)
    for options, said in (((), True), (("--resolution", 32), False)):
        numpy = ("--backend", "numpy", "--force")
        bins = ("fit-bins", "target", "bins.npz", "--bank", "gabor", "--bins", 8, *options)
        run_sjft(*bins, *numpy, cwd=tmp_path)
        retrieval = ("retrieve", "target", "source", "out", "--bins-file", "bins.npz", "--k", 3)
        output = run_sjft(*retrieval, "--product", "numpy", *numpy, cwd=tmp_path)
        assert (SOURCE_IS_COARSE in output) == said
        assert ("show no more detail" in output) == said
