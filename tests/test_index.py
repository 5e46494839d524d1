"""``sjft index``: LMDBs that Caffe's own tools made."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from conftest import draw_image, run_sjft
from processes import killed_at_last, read_until, stopping
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.messages import Datum
from sjft_tools.image_lmdb_writer import encoded_datum
from sjft_tools.neighbour_lmdb_writer import write_neighbours

NAMES = ["b.png", "deep/a.png", "c d.png"]
LABELS = [4, 0, 2]
SIDE_FILES = ["sjft.json", "sjft_keys.npy", "sjft_labels.npy", "sjft_sides.npy"]


def png(seed: int) -> bytes:
    return cv2.imencode(".png", draw_image(seed))[1].tobytes()


def write_records(path: Path, records: dict[bytes, bytes]) -> Path:
    path.mkdir()
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    return path


@pytest.fixture
def converted(tmp_path):
    """A function that has Caffe's convert_imageset make an LMDB of three images."""
    if shutil.which("convert_imageset") is None:
        pytest.skip("this Caffe has no convert_imageset on the PATH")

    def convert(*options: str) -> Path:
        for i, name in enumerate(NAMES):
            (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "images" / name).write_bytes(png(i))
        lines = [f"{name} {label}\n" for name, label in zip(NAMES, LABELS)]
        (tmp_path / "list.txt").write_text("".join(lines))
        command = ["convert_imageset", *options, f"{tmp_path}/images/", f"{tmp_path}/list.txt"]
        subprocess.run([*command, f"{tmp_path}/lmdb"], check=True, stderr=subprocess.DEVNULL)
        return tmp_path / "lmdb"

    return convert


@pytest.mark.parametrize("options", [(), ("--encoded", "--encode_type=png")], ids=["raw", "png"])
def test_an_lmdb_of_convert_imageset(converted, tmp_path, options):
    path = converted(*options)
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(InputError, match=rf"has no sjft.json: run 'sjft index {path}'"):
        ImageLmdb(str(path))
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    printed = run_sjft("index", path, "--class-names", tmp_path / "names.txt")
    assert f"indexed 3 images, 3 classes, of {path}" in printed
    images = ImageLmdb(str(path))
    assert images.count == 3
    assert images.labels.dtype == np.int32 and images.labels.tolist() == LABELS
    assert images.class_names == ["a", "b", "c", "d", "e"]
    assert [images.key(i) for i in range(3)] == [
        f"{i:08d}_{name}".encode() for i, name in enumerate(NAMES)
    ]
    for i in range(3):
        np.testing.assert_array_equal(images.image(i), draw_image(i))
    images.close()
    assert (path / "data.mdb").read_bytes() == before
    assert sorted(set(os.listdir(path)) - {"data.mdb", "lock.mdb"}) == SIDE_FILES


def test_the_same_contents_have_the_same_fingerprint(tmp_path):
    records = {b"%010d" % i: encoded_datum(png(i), i) for i in range(20)}
    run_sjft("index", write_records(tmp_path / "a", records))
    run_sjft("index", write_records(tmp_path / "b", dict(reversed(records.items()))))
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(20)))
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    run_sjft("convert", "list", tmp_path / "list.txt", tmp_path / "c")
    found = [json.loads((tmp_path / name / "sjft.json").read_text()) for name in "abc"]
    assert found[0] == found[1]
    # running keys need no file of keys
    assert found[0]["key_format"] == "%010d"
    assert not (tmp_path / "a" / "sjft_keys.npy").exists()
    # as convert writes height and width too
    assert found[0]["fingerprint"] != found[2]["fingerprint"]


def test_keys_of_any_length_and_bytes(tmp_path):
    keys = [b"\x00\x01", b"a", b"a\x00b", b"k" * 511, "ä".encode("latin-1")]
    path = write_records(tmp_path / "lmdb", {k: encoded_datum(png(1), 3) for k in keys})
    run_sjft("index", path)
    images = ImageLmdb(str(path))
    assert [images.key(i) for i in range(5)] == keys
    assert len(list(images.values())) == 5


def good() -> bytes:
    return encoded_datum(png(0), 1)


BAD_RECORDS = [
    (b"\xff\xff\xff", "record 1 (key 1) of {path} is not a Caffe Datum record"),
    (encoded_datum(b"<html>", 0), "record 1 (key 1) of {path} cannot be decoded"),
    (encoded_datum(png(1), -3), "record 1 (key 1) of {path} has the label -3, expected labels"),
    (
        Datum(channels=3, height=2, width=2, data=b"123", label=0).SerializeToString(),
        "record 1 (key 1) of {path} states channels x height x width = 3 x 2 x 2 and holds 3",
    ),
    (
        Datum(channels=40, height=1, width=8, data=bytes(320), label=0).SerializeToString(),
        "expected 1 or 3 channels",
    ),
]


@pytest.mark.parametrize(("value", "message"), BAD_RECORDS)
def test_bad_records(tmp_path, value, message):
    path = write_records(tmp_path / "lmdb", {b"0": good(), b"1": value, b"2": good()})
    printed = run_sjft("index", path, status=2)
    assert re.search("sjft index: error: .*" + re.escape(message.format(path=path)), printed)
    assert "Traceback" not in printed
    assert sorted(os.listdir(path)) == ["data.mdb", "lock.mdb"]


def test_images_that_cannot_be_decoded_may_be_borne(tmp_path):
    bad = encoded_datum(b"<html>", 4)
    path = write_records(tmp_path / "lmdb", {b"0": bad, b"1": good(), b"2": bad})
    printed = run_sjft("index", path, "--max-bad-images", 1, status=2)
    assert "record 2 (key 2) of" in printed.splitlines()[-1]
    assert "bad images so far: 2, at most 1 (--max-bad-images)" in printed
    printed = run_sjft("index", path, "--max-bad-images", 2)
    assert "record 0 (key 0) of" in printed and "record 2 (key 2) of" in printed
    assert f"indexed 3 images, 2 classes, of {path}; 2 of them cannot be decoded\n" in printed
    images = ImageLmdb(str(path))
    assert images.labels.tolist() == [4, 1, 4]
    assert images.sides is not None and images.sides.tolist() == [
        0,
        min(draw_image(0).shape[:2]),
        0,
    ]
    run_sjft("convert", "joined", path, tmp_path / "whole", "--on-bad", "skip")
    assert ImageLmdb(str(tmp_path / "whole")).labels.tolist() == [1]


def test_bad_lmdbs(tmp_path):
    printed = run_sjft("index", tmp_path / "no", status=2)
    assert "no does not exist: expected a folder with data.mdb" in printed
    (tmp_path / "folder").mkdir()
    assert "does not exist" in run_sjft("index", tmp_path / "folder", status=2)
    printed = run_sjft("index", write_records(tmp_path / "empty", {}), status=2)
    assert "is empty: expected at least one record" in printed
    path = write_records(tmp_path / "cut", {b"%d" % i: good() for i in range(100)})
    os.truncate(path / "data.mdb", os.path.getsize(path / "data.mdb") - 4096)
    assert "is truncated: data.mdb has" in run_sjft("index", path, status=2)
    path = write_records(tmp_path / "torn", {b"%d" % i: good() for i in range(100)})
    with open(path / "data.mdb", "r+b") as stream:
        stream.seek(2 * 4096)
        stream.write(bytes(os.path.getsize(path / "data.mdb") - 2 * 4096))
    last = run_sjft("index", path, status=2).splitlines()[-1]
    assert "torn cannot be read: " in last and "MDB_" in last
    path = write_records(tmp_path / "zero", {b"a\0": good()})
    assert "ends in a zero byte" in run_sjft("index", path, status=2)
    path = write_records(tmp_path / "names", {b"a": encoded_datum(png(0), 2)})
    (tmp_path / "names.txt").write_text("a\nb\n")
    printed = run_sjft("index", path, "--class-names", tmp_path / "names.txt", status=2)
    assert "names 2 classes, but the label 2 occurs" in printed


def test_side_files_that_exist(tmp_path):
    path = write_records(tmp_path / "lmdb", {b"a": good()})
    run_sjft("index", path)
    printed = run_sjft("index", path, status=2)
    assert f"the output {path}/sjft.json exists: give --force to replace it" in printed
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as transaction:
        transaction.put(b"b", good())
    with pytest.raises(InputError, match=r"is not the one that its sjft.json describes \(2 rec"):
        ImageLmdb(str(path))
    run_sjft("index", path, "--force")
    assert ImageLmdb(str(path)).count == 2


def test_force_does_not_make_images_of_neighbours(tmp_path, make_lmdb):
    images = ImageLmdb(make_lmdb("images", 4))
    path = tmp_path / "neighbours"
    indices = np.tile(np.arange(3), (4, 1))
    write_neighbours(str(path), images, images, indices, indices.astype(np.float32), {})
    before = (path / "sjft.json").read_bytes()
    printed = run_sjft("index", path, "--force", status=2)
    assert "is not usable as the image LMDB" in printed
    assert (path / "sjft.json").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted(tmp_path, number):
    big = cv2.imencode(".png", draw_image(0, 500, 500))[1].tobytes()
    records = {b"%08d_x" % i: encoded_datum(big, i % 5) for i in range(800)}
    path = tmp_path / "lmdb"
    path.mkdir()
    with lmdb.open(str(path), map_size=1 << 30) as env, env.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    command = [*stopping(r"/[.]sjft[.]json[.]lock$"), "index", str(path)]
    with killed_at_last(subprocess.Popen(command, stderr=subprocess.PIPE)) as process:
        read_until(process.stderr, b"0%")  # the progress bar: the first image is being read
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # had it read all of them, it would be stopped
        process.communicate(timeout=600)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert sorted(os.listdir(path)) == ["data.mdb", "lock.mdb"]
    run_sjft("index", path)
    assert ImageLmdb(str(path)).count == 800
