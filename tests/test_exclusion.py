"""The exclusion file: written, read back, written by hand, and refused."""

from __future__ import annotations

import os

import cv2
import lmdb
import numpy as np
import pytest

from conftest import draw_image, run_sjft
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.exclusion import FORMAT, read_exclusions, write_exclusions
from sjft_tools.image_lmdb_writer import encoded_datum

AWKWARD = [b"00_a b.JPEG", b"01_x#y", b"02_50%", "03_Gänse".encode(), b"04_\xff\x01", b"n/05.jpg"]


@pytest.fixture
def awkward(tmp_path) -> ImageLmdb:
    """An LMDB with keys as Caffe's own tools make them of the names of files, and worse."""
    path = str(tmp_path / "awkward")
    os.mkdir(path)
    with lmdb.open(path, map_size=1 << 20) as env, env.begin(write=True) as transaction:
        for i, key in enumerate(AWKWARD):
            content = cv2.imencode(".png", draw_image(i))[1].tobytes()
            transaction.put(key, encoded_datum(content, 0))
    run_sjft("index", path)
    return ImageLmdb(path, "source")


def test_what_is_written_is_read(make_lmdb, tmp_path):
    source = ImageLmdb(make_lmdb("source", 30), "source")
    path = str(tmp_path / "exclude.txt")
    write_exclusions(path, source, np.array([3, 7, 29]), ["why", "two\nlines", "a # sign"])
    found = read_exclusions(path, source)
    assert found.dtype == np.int64 and found.tolist() == [3, 7, 29]
    lines = (tmp_path / "exclude.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [
        f"{FORMAT} {source.fingerprint}",
        "0000000003  # why",
        "0000000007  # two lines",
        "0000000029  # a # sign",
    ]
    with pytest.raises(InputError, match="give --force"):
        write_exclusions(path, source, [1], ["why"])
    write_exclusions(path, source, [], [], force=True)
    assert read_exclusions(path, source).tolist() == []


def test_any_key_can_be_written(awkward, tmp_path):
    path = str(tmp_path / "exclude.txt")
    everything = range(len(AWKWARD))
    write_exclusions(path, awkward, everything, [""] * len(AWKWARD))
    assert read_exclusions(path, awkward).tolist() == list(everything)


def test_a_file_written_by_hand(awkward, tmp_path):
    path = tmp_path / "exclude.txt"
    text = (
        f"\ufeff{FORMAT} {awkward.fingerprint}\r\n\r\n# mine\r\nn/05.jpg\r\n  03_Gänse # goose\r\n"
    )
    path.write_bytes((text + "00_a b.JPEG\r\nn/05.jpg").encode())
    assert read_exclusions(str(path), awkward).tolist() == [0, 3, 5]


def test_bad_input(make_lmdb, tmp_path):
    source = ImageLmdb(make_lmdb("source", 30), "source")
    other = ImageLmdb(make_lmdb("other", 30, seed=1), "source")
    header = f"{FORMAT} {source.fingerprint}\n".encode()
    path = tmp_path / "exclude.txt"
    cases = [
        (header + b"0000000030\n", "line 2 of .* names the key '0000000030', which .* not have"),
        (header + b"\n# a\n12 # b\n", "line 4 of .* names the key '12'.*as '0000000000' is"),
        (header + b"00000\xe40001\n", "is not an exclusion file: expected text in UTF-8"),
        (b"", "its first line is '', expected 'sjft exclusions 1 sha256:"),
        (b"0000000003\n", "is not an exclusion file: its first line is '0000000003'"),
        (b"x" * 100_000, "is not an exclusion file: its first line is 'x"),
        (f"{FORMAT} {other.fingerprint}\n".encode(), "was written for another source LMDB than"),
    ]
    for content, message in cases:
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_exclusions(str(path), source)
    for missing in (tmp_path / "no", tmp_path):
        with pytest.raises(InputError, match=f"the exclusion file {missing} cannot be read: "):
            read_exclusions(str(missing), source)
