"""From an LMDB's images to descriptors: which images, which errors, and images of every kind."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from conftest import draw_image, run_sjft
from sjft.errors import BadImageError
from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_image
from sjft_tools.banks import make_bank
from sjft_tools.banks.alexnet_weights import SHAPES
from sjft_tools.banks.bank import warp
from sjft_tools.bins import load_bins
from sjft_tools.commands.fit_bins import fit
from sjft_tools.describe import Described, Describer
from sjft_tools.histogram import Histogrammer
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum

BANK = make_bank("gabor", resize=8)


def write_records(path: Path, records: list[bytes]) -> ImageLmdb:
    """Write encoded images as an LMDB."""
    with ImageLmdbWriter(str(path)) as writer:
        for record in records:
            writer.add(encoded_datum(record, 0), 0)
    return ImageLmdb(str(path))


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture(scope="module")
def lmdb(tmp_path_factory: pytest.TempPathFactory) -> ImageLmdb:
    """41 images, of which records 3, 4 and 17 cannot be decoded."""
    records = [png(draw_image(i)) for i in range(41)]
    for bad in (3, 4, 17):
        records[bad] = b"no image"
    return write_records(tmp_path_factory.mktemp("describe") / "lmdb", records)


@pytest.fixture(scope="module")
def describer(tmp_path_factory: pytest.TempPathFactory) -> Describer:
    folder = tmp_path_factory.mktemp("bins")
    target = write_records(folder / "target", [png(draw_image(i)) for i in range(6)])
    return Describer(BANK, Histogrammer(fit(target, BANK, 10)))


def alone(describer: Describer, lmdb: ImageLmdb, position: int) -> np.ndarray:
    """Describe one image by itself, outside of any stream."""
    return describer.describe(warp(lmdb.image(position), BANK)[None])[0]


GOOD = [i for i in range(41) if i not in (3, 4, 17)]
WANTED = {
    "all": (None, GOOD),
    "a range": (range(2, 30), [i for i in GOOD if 2 <= i < 30]),
    "some": (np.array([0, 3, 5, 6, 17, 40]), [0, 5, 6, 40]),
    "bad ones only": (range(3, 5), []),
    "none": (range(7, 7), []),
}


@pytest.mark.parametrize("case", WANTED)
def test_descriptors_are_those_of_each_image_alone(
    case: str, describer: Describer, lmdb: ImageLmdb
) -> None:
    positions, expected = WANTED[case]
    bad: list[tuple[int, str]] = []
    done: list[int] = []
    found = list(
        describer.stream(lmdb, positions, "", lambda *one: bad.append(one), bar=done.append)
    )
    wanted = range(41) if positions is None else [int(position) for position in positions]
    assert [int(i) for some in found for i in some.positions] == expected
    assert [position for position, _ in bad] == [i for i in wanted if i not in GOOD]
    assert all(lmdb.name(position) in sentence for position, sentence in bad)
    assert sum(done) == len(wanted)
    for some in found:
        assert some.positions.dtype == np.int64
        assert some.counts.dtype == np.uint16
        for position, counts in zip(some.positions.tolist(), some.counts):
            assert (counts == alone(describer, lmdb, position)).all()


def test_without_on_bad_the_first_bad_image_is_an_error_and_no_thread_stays(
    describer: Describer, lmdb: ImageLmdb
) -> None:
    before = set(threading.enumerate())
    with pytest.raises(BadImageError, match=r"record 3 \(key 0000000003\) of .* cannot be decoded"):
        list(describer.stream(lmdb, None, "", bar=lambda number: None))
    assert set(threading.enumerate()) <= before


def test_a_stream_left_early_leaves_no_thread(describer: Describer, lmdb: ImageLmdb) -> None:
    before = set(threading.enumerate())
    stream = describer.stream(lmdb, range(5, 17), "", bar=lambda number: None)
    assert isinstance(next(stream), Described)
    stream.close()
    assert set(threading.enumerate()) <= before


def test_its_own_bar_counts_all_images(
    describer: Describer, lmdb: ImageLmdb, capsys: pytest.CaptureFixture[str]
) -> None:
    list(describer.stream(lmdb, None, "sources", lambda position, sentence: None))
    printed = capsys.readouterr().err
    assert "sources" in printed
    assert "41/41" in printed


@pytest.mark.parametrize("threads", ["1", "5"])
def test_descriptors_do_not_depend_on_the_number_of_threads(
    threads: str, describer: Describer, lmdb: ImageLmdb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    found = list(describer.stream(lmdb, GOOD, "", bar=lambda number: None))
    together = np.concatenate([some.counts for some in found])
    assert (together == [alone(describer, lmdb, position) for position in GOOD]).all()


class Odd(NamedTuple):
    """An image file of an unusual kind, and what it shows: H x W x 3 BGR, about."""

    encoded: bytes
    shown: np.ndarray


def cmyk_jpeg(image: np.ndarray) -> bytes:
    """Encode in Adobe's CMYK, with the help of Pillow."""
    pillow = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    pillow.fromarray(rgb).convert("CMYK").save(stream, "JPEG", quality=100)
    return stream.getvalue()


def turned_jpeg(image: np.ndarray) -> bytes:
    """Encode `image` lying on its side, with the EXIF entry that says to turn it upright."""
    jpeg = cv2.imencode(".jpg", np.rot90(image), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    orientation = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    content = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + orientation + b"\0\0\0\0"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


SMOOTH = draw_image(1, 48, 64)
GREY = cv2.cvtColor(SMOOTH, cv2.COLOR_BGR2GRAY)
LONG = draw_image(2, 40, 20_000)
ODD: dict[str, Callable[[], Odd]] = {
    "grey": lambda: Odd(png(GREY), cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR)),
    "CMYK": lambda: Odd(cmyk_jpeg(SMOOTH), SMOOTH),
    "16 bits": lambda: Odd(png(SMOOTH.astype(np.uint16) * 257), SMOOTH),
    "EXIF-rotated": lambda: Odd(turned_jpeg(SMOOTH), SMOOTH),
    "transparent": lambda: Odd(png(cv2.cvtColor(SMOOTH, cv2.COLOR_BGR2BGRA)), SMOOTH),
    "one pixel": lambda: Odd(png(SMOOTH[:1, :1]), SMOOTH[:1, :1]),
    "one row": lambda: Odd(png(SMOOTH[:1]), SMOOTH[:1]),
    "20,000 pixels wide": lambda: Odd(png(LONG), LONG),
    "20,000 pixels high": lambda: Odd(png(LONG.transpose(1, 0, 2)), LONG.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("kind", ODD)
def test_images_of_every_kind_are_described_as_what_they_show(
    kind: str, describer: Describer, tmp_path: Path
) -> None:
    odd = ODD[kind]()
    decoded = decode_image(odd.encoded, kind)
    assert decoded.shape == odd.shown.shape
    assert np.abs(decoded.astype(int) - odd.shown).mean() < 4  # JPEG, and CMYK's way there and back
    lmdb = write_records(tmp_path / "odd", [png(SMOOTH), odd.encoded, png(SMOOTH)])
    (found,) = describer.stream(lmdb, None, "", bar=lambda number: None)
    upright = warp(np.ascontiguousarray(decoded), BANK)
    assert (found.counts[1] == describer.describe(upright[None])[0]).all()
    assert (found.counts[0] == found.counts[2]).all()
    assert (found.counts.reshape(3, 48, 10).sum(axis=2) == 64).all()


def test_bins_are_fitted_to_images_of_every_kind(tmp_path: Path) -> None:
    kinds = [make().encoded for make in ODD.values()]
    target = write_records(tmp_path / "target", kinds)
    run_sjft("fit-bins", target.path, tmp_path / "bins.npz", "--bank", "gabor", "--resize", 8)
    bins = load_bins(str(tmp_path / "bins.npz"))
    assert (bins.edges == fit(target, BANK, 100).edges).all()
    found = np.concatenate(
        [some.counts for some in Describer(BANK, Histogrammer(bins)).stream(target, None, "")]
    )
    assert found.shape == (len(ODD), 4800)


def test_images_of_one_colour_give_constant_channels(tmp_path: Path) -> None:
    plain = np.full((20, 30, 3), 77, np.uint8)
    target = write_records(tmp_path / "target", [png(plain), png(plain)])
    bins = fit(target, BANK, 10)
    assert (bins.edges == bins.maximum[:, None]).all()
    assert (bins.minimum == bins.maximum).all()
    other = write_records(tmp_path / "source", [png(plain), png(SMOOTH)])
    (found,) = Describer(BANK, Histogrammer(bins)).stream(other, None, "")
    shares = found.counts.reshape(2, 48, 10)
    assert (shares[0, :, 0] == 64).all()
    assert (shares[1, :, 0] + shares[1, :, -1] == 64).all()
    assert (shares[1, :, -1] > 0).any()


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    target = write_records(tmp_path / "target", [png(SMOOTH)])
    arrays = {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}
    arrays["conv1_w"][5, 1, 2, 3] = np.nan
    np.savez(tmp_path / "weights.npz", **arrays)
    out = tmp_path / "bins.npz"
    output = run_sjft("fit-bins", target.path, out, "--weights", tmp_path / "weights.npz", status=2)
    assert "conv1_w in" in output.splitlines()[-1]
    assert "hold NaN or infinite values" in output.splitlines()[-1]
    assert not out.exists()


def test_weights_too_large_for_float32_are_refused(tmp_path: Path) -> None:
    target = write_records(tmp_path / "target", [png(SMOOTH)])
    arrays = {name: np.full(shape, 1e38, np.float32) for name, shape in SHAPES.items()}
    np.savez(tmp_path / "weights.npz", **arrays)
    out = tmp_path / "bins.npz"
    output = run_sjft("fit-bins", target.path, out, "--weights", tmp_path / "weights.npz", status=2)
    assert "the bank's responses are NaN or infinite in" in output.splitlines()[-1]
    assert not out.exists()
