"""docs/formats.md, read literally: files parsed by what it says, without sjft's readers."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

import caffe
from conftest import REPO, draw_image, run_sjft
from formats_page import PAGE, keys_in_tables, section
from sjft.image_lmdb import ImageLmdb
from sjft.levels import levels_text
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.neighbour_lmdb_writer import write_neighbours


def records(path: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return list(transaction.cursor())


def fingerprint(chosen: list[tuple[bytes, bytes]]) -> str:
    pieces = b"".join(struct.pack("<Q", len(p)) + p for record in chosen for p in record)
    return "sha256:" + hashlib.sha256(pieces).hexdigest()


def probe(all_records: list[tuple[bytes, bytes]]) -> str:
    last = len(all_records) - 1
    return fingerprint([all_records[i] for i in sorted({j * last // 15 for j in range(16)})])


def parse_datum(value: bytes) -> dict[int, list]:
    """Protocol buffer wire format by hand: field number -> values (ints or bytes)."""

    def varint(at: int) -> tuple[int, int]:
        number = shift = 0
        while True:
            number |= (value[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not value[at - 1] & 0x80:
                return number, at

    fields: dict[int, list] = {}
    at = 0
    while at < len(value):
        tag, at = varint(at)
        if tag & 7 == 0:
            content, at = varint(at)
        elif tag & 7 == 2:
            size, at = varint(at)
            content, at = value[at : at + size], at + size
        else:
            assert tag & 7 == 5
            content, at = value[at : at + 4], at + 4
        fields.setdefault(tag >> 3, []).append(content)
    return fields


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with an LMDB of 40 images, of which one could not be read, and their files."""
    lines = []
    for i in range(40):
        image = draw_image(i, 20 + i % 3, 30)
        cv2.imwrite(str(tmp_path / f"img {i}.png"), image if i % 4 else image[:, :, 0])
        lines.append(f"img {i}.png {i % 5}\n")
    (tmp_path / "list.txt").write_text("".join([*lines, "missing.png 3\n"]))
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    options = ("--class-names", tmp_path / "names.txt", "--on-bad", "skip")
    run_sjft("convert", "list", tmp_path / "list.txt", tmp_path / "lmdb", *options)
    return tmp_path


def test_image_lmdb(folder):
    path = folder / "lmdb"
    side_file = json.loads((path / "sjft.json").read_text(encoding="utf-8"))
    labels = np.load(path / "sjft_labels.npy", allow_pickle=False)
    found = records(path)
    assert set(side_file) <= keys_in_tables("Image LMDB")
    assert side_file["format"] == "sjft image lmdb 1"
    assert side_file["count"] == len(found) == 40
    assert side_file["key_format"] == "%010d"
    assert side_file["fingerprint"] == fingerprint(found)
    assert side_file["probe"] == probe(found)
    assert side_file["class_names"] == list("abcde")
    assert side_file["left_out"] == 1
    assert side_file["written_by"].startswith("sjft ")
    assert labels.dtype == np.int32 and labels.tolist() == [i % 5 for i in range(40)]
    sides = np.load(path / "sjft_sides.npy", allow_pickle=False)
    assert sides.dtype == np.int32 and sides.tolist() == [20 + i % 3 for i in range(40)]
    for i, (key, value) in enumerate(found):
        assert key == b"%010d" % i
        datum = parse_datum(value)
        shape = (3, 20 + i % 3, 30)
        assert [datum[n] for n in (1, 2, 3)] == [[side] for side in shape]
        assert datum[4] == [(folder / f"img {i}.png").read_bytes()]
        assert datum[5] == [i % 5] and datum[7] == [1] and 6 not in datum


def test_indexed_lmdb(folder):
    path = folder / "foreign"
    path.mkdir()
    with lmdb.open(str(path), map_size=1 << 26) as env, env.begin(write=True) as transaction:
        for i, (_, value) in enumerate(records(folder / "lmdb")):
            transaction.put(b"%08d_%s" % (i, b"x" * (i % 7)), value)
    run_sjft("index", path)
    side_file = json.loads((path / "sjft.json").read_text(encoding="utf-8"))
    found = records(path)
    assert side_file["key_format"] is None and "left_out" not in side_file
    assert side_file["fingerprint"] == fingerprint(found) and side_file["probe"] == probe(found)
    keys = np.load(path / "sjft_keys.npy", allow_pickle=False)
    assert keys.dtype == "S15" and keys.tolist() == [key for key, _ in found]


def test_bins_and_neighbours(folder):
    target, bins, out = folder / "lmdb", folder / "bins.npz", folder / "neighbours"
    run_sjft("fit-bins", target, bins, "--bank", "gabor", "--bins", 20)
    run_sjft("retrieve", target, target, out, "--bins-file", bins, "--k", 9)
    with np.load(bins, allow_pickle=False) as stored:
        assert set(stored.files) == {"info", "edges", "minimum", "maximum"}
        info = json.loads(str(stored["info"]))
        edges, minimum, maximum = (stored[name] for name in ("edges", "minimum", "maximum"))
    assert set(info) <= keys_in_tables("Bins file")
    assert info["format"] == "sjft bins 1" and info["bank"] == "gabor"
    assert edges.dtype == np.float64 and edges.shape == (48, 20)
    assert (edges[:, -1] == maximum).all() and (np.diff(edges, axis=1) >= 0).all()
    assert minimum.dtype == maximum.dtype == np.float32 and (minimum <= edges[:, 0]).all()
    about = {k: v for k, v in info.items() if k not in ("format", "sjft_version")}
    checksum = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for array in (edges, minimum, maximum):
        checksum.update(array.tobytes())

    side_file = json.loads((out / "sjft.json").read_text(encoding="utf-8"))
    named = keys_in_tables("Neighbour LMDB") | keys_in_tables("Image LMDB")
    assert set(side_file) <= named
    assert side_file["format"] == "sjft neighbour lmdb 1"
    assert side_file["bins_checksum"] == "sha256:" + checksum.hexdigest()
    assert (side_file["k"], side_file["bins"], side_file["count"]) == (9, 20, 40)
    found, images = records(out), records(target)
    assert side_file["probe"] == probe(found)
    assert side_file["target_fingerprint"] == side_file["source_fingerprint"] == fingerprint(images)
    assert info["target_fingerprint"] == fingerprint(images)
    assert side_file["target_path"] == side_file["source_path"] == str(target)
    for i, (key, value) in enumerate(found):
        assert key == images[i][0]
        datum = parse_datum(value)
        assert [datum[n] for n in (1, 2, 3)] == [[9], [1], [8]]
        positions = struct.unpack("<9q", datum[4][0])
        distances = struct.unpack("<9f", b"".join(datum[6]))
        assert positions[0] == i and distances[0] == pytest.approx(0, abs=1e-6)
        assert list(distances) == sorted(distances)
        assert all(0 <= position < 40 for position in positions)
        assert datum.get(5, [0]) == [i % 5]


def test_neighbours_under_foreign_keys_have_a_file_of_keys(folder):
    path = folder / "foreign"
    path.mkdir()
    with lmdb.open(str(path), map_size=1 << 26) as env, env.begin(write=True) as transaction:
        for i, (_, value) in enumerate(records(folder / "lmdb")):
            transaction.put(b"%08d" % i, value)
    run_sjft("index", path)
    target = ImageLmdb(str(path))
    indices = np.zeros((40, 1), np.int64)
    out = folder / "neighbours"
    write_neighbours(str(out), target, target, indices, indices.astype(np.float32), {})
    assert NeighbourLmdb(str(out)).key(39) == b"00000039"
    assert json.loads((out / "sjft.json").read_text())["key_format"] is None
    assert np.load(out / "sjft_keys.npy").tolist() == [b"%08d" % i for i in range(40)]


def test_levels_file(folder):
    target = ImageLmdb(str(folder / "lmdb"))
    content = json.loads(levels_text(np.full(40, 3), target))
    with_neighbours = json.loads(levels_text(np.full(40, 3), target, np.arange(1, 41)))
    target.close()
    assert set(with_neighbours) == keys_in_tables("Levels file")
    assert with_neighbours["format"] == "sjft levels 2"
    assert with_neighbours["neighbours"] == list(range(1, 41))
    assert set(content) == keys_in_tables("Levels file") - {"neighbours"}
    assert content["format"] == "sjft levels 1" and content["levels"] == [3] * 40
    assert content["target_fingerprint"] == fingerprint(records(folder / "lmdb"))


def test_evaluation_file(folder):
    deploy = REPO / "prototxt" / "demo" / "deploy.prototxt"
    caffe.Net(str(deploy), caffe.TRAIN).save(str(folder / "net.caffemodel"))
    options = ("--resize", 32, "--json", folder / "out.json", "--scores", folder / "scores.npz")
    run_sjft("evaluate", deploy, folder / "net.caffemodel", folder / "lmdb", *options)
    content = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    table = section("Evaluation file")
    assert set(content) == keys_in_tables("Evaluation file")
    assert all(f"`{key}`" in table for key in content["per_class"][0])
    accuracies = {"top1", "top5", "mean_class"}
    assert all(f"`{key}`" in table for key in set(content["interval"]) | accuracies)
    assert content["test_fingerprint"] == fingerprint(records(folder / "lmdb"))
    assert content["top1"] == sum(c["top1"] * c["images"] for c in content["per_class"]) / 40

    arrays = np.load(folder / "scores.npz", allow_pickle=False)
    info = json.loads(str(arrays["info"]))
    assert set(info) | set(info["models"][0]) | set(arrays.files) == keys_in_tables("Scores file")
    assert info["format"] == "sjft scores 1" and info["models"] == content["models"]
    assert info["test_fingerprint"] == fingerprint(records(folder / "lmdb"))
    for role, file in (("deploy", deploy), ("weights", folder / "net.caffemodel")):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert info["models"][0][f"{role}_checksum"] == f"sha256:{digest}"
    scores, labels = arrays["scores"], arrays["labels"]
    assert (scores.dtype, labels.dtype) == (np.float32, np.int32)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    own = scores[np.arange(40), labels]
    assert content["top1"] == ((scores >= own[:, None]).sum(axis=1) == 1).mean()


def test_every_link_within_the_page_has_its_heading():
    headings = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.*)$", PAGE, re.M)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) == headings
