"""Reading image and neighbour LMDBs: what is refused, forks, several readers; Datum's forms."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from conftest import draw_image
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_datum, decode_image
from sjft.messages import Datum
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft.selection import read_neighbours
from sjft.side_file import Fingerprint, probe_positions
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.neighbour_lmdb_writer import write_neighbours

FORK = multiprocessing.get_context("fork")

# ---- Datum


def as_planes(image: np.ndarray) -> np.ndarray:
    return image.transpose(2, 0, 1)


def test_the_three_forms_of_datum():
    image = draw_image(1)
    size = {"channels": 3, "height": 40, "width": 48, "label": 5}
    planes = as_planes(image)
    forms = [
        Datum(encoded=True, data=cv2.imencode(".png", image)[1].tobytes(), label=5),
        Datum(**size, data=planes.tobytes()),
        Datum(**size, float_data=planes.ravel().astype(float).tolist()),
        Datum(**size, float_data=(planes.ravel() * 0.99 + 0.4).tolist()),
    ]
    decoded = [decode_datum(form.SerializeToString(), "x") for form in forms]
    for pixels, label in decoded:
        assert label == 5
        assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    for pixels, _ in decoded[:3]:
        np.testing.assert_array_equal(pixels, image)
    np.testing.assert_array_equal(decoded[3][0], np.rint(image * 0.99 + 0.4))


def test_grey_becomes_three_equal_channels():
    grey = draw_image(1)[:, :, 0]
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    size = {"channels": 1, "height": 40, "width": 48}
    for datum in (
        Datum(encoded=True, data=cv2.imencode(".png", grey)[1].tobytes()),
        Datum(**size, data=grey.tobytes()),
        Datum(**size, float_data=grey.ravel().astype(float).tolist()),
    ):
        np.testing.assert_array_equal(decode_datum(datum.SerializeToString(), "x")[0], expected)


BAD_DATUMS = {
    "garbage": (b"\xff\xff\xff", "x is not a Caffe Datum record"),
    "nothing": (b"", "x states channels x height x width = 0 x 0 x 0 and holds 0 values"),
    "html": (encoded_datum(b"<html>", 0), "x cannot be decoded: .* got 6 bytes"),
    "empty": (encoded_datum(b"", 0), "x cannot be decoded: .* got 0 bytes"),
    "short": (
        Datum(channels=3, height=2, width=2, data=b"abc").SerializeToString(),
        "x states channels x height x width = 3 x 2 x 2 and holds 3 values: expected 1 or 3",
    ),
    "two channels": (
        Datum(channels=2, height=1, width=2, data=b"abcd").SerializeToString(),
        "expected 1 or 3 channels",
    ),
    "negative": (
        Datum(channels=-1, height=-1, width=4, data=b"abcd").SerializeToString(),
        "expected 1 or 3 channels",
    ),
    "floats": (
        Datum(channels=1, height=1, width=2, float_data=[0.0, 256.0]).SerializeToString(),
        "x holds floats outside 0..255: expected pixel values",
    ),
    "nan": (
        Datum(channels=1, height=1, width=1, float_data=[float("nan")]).SerializeToString(),
        "x holds floats outside 0..255",
    ),
}


@pytest.mark.parametrize(("value", "message"), BAD_DATUMS.values(), ids=BAD_DATUMS)
def test_bad_datums(value, message):
    with pytest.raises(InputError, match=message):
        decode_datum(value, "x")


def test_datum_is_caffes():
    caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2")
    ours = {field.name: (field.number, field.type) for field in Datum.DESCRIPTOR.fields}
    theirs = caffe_pb2.Datum.DESCRIPTOR.fields
    assert ours == {field.name: (field.number, field.type) for field in theirs}
    values = {"channels": 3, "height": 2, "width": 1, "data": b"abcdef", "label": 7}
    values.update(float_data=[1.5, -2.0], encoded=False)
    assert Datum(**values).SerializeToString() == caffe_pb2.Datum(**values).SerializeToString()


def test_decoding_applies_the_orientation_that_exif_states():
    image = draw_image(1)
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    orientation_6 = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(orientation_6) + 2).to_bytes(2, "big") + orientation_6
    upright = decode_image(jpeg[:2] + segment + jpeg[2:], "x")
    np.testing.assert_array_equal(upright, np.rot90(decode_image(jpeg, "x"), -1))


# ---- image LMDBs


def test_positions_follow_keys(make_lmdb):
    images = ImageLmdb(make_lmdb("a", 25, classes=4))
    assert len(images) == images.count == 25
    assert images.labels.dtype == np.int32
    assert images.labels.tolist() == [i % 4 for i in range(25)]
    assert images.class_names == [f"class {c}" for c in range(4)]
    assert images.key(7) == b"0000000007"
    assert images.name(7) == f"record 7 (key 0000000007) of {images.path}"
    for i in (0, 7, 24):
        np.testing.assert_array_equal(images.image(i), draw_image(i))
    everything = list(images.values())
    assert everything == [images.value(i) for i in range(25)]
    assert list(images.values(5, 9)) == everything[5:9]
    assert list(images.values(24)) == everything[24:]
    assert list(images.values(9, 9)) == list(images.values(25)) == []
    with pytest.raises(InputError, match=r"^record 25 \(key 0000000025\) .* is missing"):
        images.value(25)
    with pytest.raises(InputError, match=r"^record 25 .* is missing"):
        list(images.values(20, 26))


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 100, 1_281_167])
def test_probes_are_spread_over_the_records(count):
    positions = probe_positions(count)
    assert positions[0] == 0 and positions[-1] == count - 1
    assert len(positions) == len(set(positions)) == min(count, 16)
    assert max(np.diff(positions), default=0) <= -(-count // 15)


def test_the_fingerprint_is_of_keys_and_values_in_order():
    def text(*records: tuple[bytes, bytes]) -> str:
        fingerprint = Fingerprint()
        for record in records:
            fingerprint.add(*record)
        return fingerprint.text()

    assert text((b"a", b"bc")) != text((b"ab", b"c"))
    assert text((b"a", b"1"), (b"b", b"2")) != text((b"b", b"2"), (b"a", b"1"))
    assert text() == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_missing_and_empty(tmp_path):
    with pytest.raises(
        InputError, match=r"^the source LMDB .*no does not exist: expected a folder"
    ):
        ImageLmdb(str(tmp_path / "no"), "source")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"does not exist: expected a folder with data.mdb"):
        ImageLmdb(str(tmp_path / "folder"))
    (tmp_path / "folder" / "data.mdb").write_bytes(b"")
    with pytest.raises(InputError, match=r"is truncated: data.mdb has 0 bytes"):
        ImageLmdb(str(tmp_path / "folder"))
    (tmp_path / "folder" / "data.mdb").write_bytes(b"<html>" * 5000)
    with pytest.raises(InputError, match=r"cannot be opened"):
        ImageLmdb(str(tmp_path / "folder"))
    (tmp_path / "empty").mkdir()
    lmdb.open(str(tmp_path / "empty")).close()
    with pytest.raises(InputError, match=r"is empty: expected at least one record"):
        ImageLmdb(str(tmp_path / "empty"))
    nothing = pytest.raises(
        InputError, match=r"no image was given for .*out: expected at least one"
    )
    with nothing, ImageLmdbWriter(str(tmp_path / "out")):
        pass
    assert sorted(os.listdir(tmp_path)) == ["empty", "folder"]


READ_ALL = """
import sys
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
try:
    images = ImageLmdb(sys.argv[1])
    list(images.values())
except InputError as error:
    print(error)
    sys.exit(2)
"""


def read_all(path: str) -> tuple[int, str]:
    """Read in a process of its own, since a read past the end of a file ends the process."""
    process = subprocess.run(
        [sys.executable, "-c", READ_ALL, path], stdout=subprocess.PIPE, text=True, check=False
    )
    return process.returncode, process.stdout


def test_every_truncation_is_refused(make_lmdb):
    path = make_lmdb("a", 12)
    assert read_all(path) == (0, "")
    data = os.path.join(path, "data.mdb")
    size = os.path.getsize(data)
    for left in [size - 1, size - 4096, size // 2, 8193, 8192, 8191, 4096, 100, 1, 0]:
        os.truncate(data, left)
        status, printed = read_all(path)
        assert status == 2, (left, status)
        assert f"the image LMDB {path} " in printed
        assert "truncated" in printed or "cannot be opened" in printed or "empty" in printed


def test_changed_contents_are_refused(make_lmdb, tmp_path):
    path = make_lmdb("a", 12)
    for change in ("value", "more", "fewer"):
        changed = str(tmp_path / change)
        shutil.copytree(path, changed)
        with lmdb.open(changed, map_size=1 << 26) as env, env.begin(write=True) as transaction:
            if change == "value":
                transaction.put(b"0000000011", encoded_datum(b"other", 0))
            elif change == "more":
                transaction.put(b"0000000012", encoded_datum(b"other", 0))
            else:
                transaction.delete(b"0000000003")
        with pytest.raises(InputError, match=r"is not the one that its sjft.json describes"):
            ImageLmdb(changed)


def test_side_files_that_do_not_fit(make_lmdb):
    path, other = Path(make_lmdb("a", 12)), Path(make_lmdb("b", 12, seed=1))
    content = json.loads((path / "sjft.json").read_text())

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            ImageLmdb(str(path))

    (path / "sjft.json").write_text((other / "sjft.json").read_text())
    refused(r"is not the one that its sjft.json describes \(12 records, 12 described\)")
    (path / "sjft.json").write_text(json.dumps(content)[:-9])
    refused(r"sjft.json cannot be read")
    (path / "sjft.json").write_text("[1]")
    refused(r"its sjft.json says format None, expected 'sjft image lmdb 1'")
    (path / "sjft.json").write_text(json.dumps({**content, "format": "sjft image lmdb 9"}))
    refused(r"says format 'sjft image lmdb 9', expected 'sjft image lmdb 1'")
    for key in ("count", "probe", "key_format", "class_names", "fingerprint"):
        left = {k: v for k, v in content.items() if k != key}
        (path / "sjft.json").write_text(json.dumps(left))
        refused(f"sjft.json lacks the key '{key}': expected a file that sjft wrote")
        (path / "sjft.json").write_text(json.dumps({**content, key: {}}))
        refused(rf"sjft.json says {key} {{}}: expected a file that sjft wrote, unchanged")
    (path / "sjft.json").unlink()
    refused(rf"has no sjft.json: run 'sjft index {path}' if Caffe's own tools made it")
    (path / "sjft.json").write_text(json.dumps(content))
    np.save(path / "sjft_labels.npy", np.zeros(11, np.int32))
    refused(r"sjft_labels.npy has shape \(11,\), expected \(12,\)")
    for damaged in (b"x", b""):
        (path / "sjft_labels.npy").write_bytes(damaged)
        refused(r"sjft_labels.npy cannot be read")
    (path / "sjft_labels.npy").unlink()
    refused(r"sjft_labels.npy cannot be read")


def test_two_readers_in_one_process(make_lmdb, tmp_path):
    path = make_lmdb("a", 5)
    (tmp_path / "link").symlink_to(path)
    first, second, linked = ImageLmdb(path), ImageLmdb(path), ImageLmdb(str(tmp_path / "link"))
    first.close()
    np.testing.assert_array_equal(second.image(3), draw_image(3))
    second.close()
    np.testing.assert_array_equal(linked.image(3), draw_image(3))
    linked.close()
    linked.close()
    np.testing.assert_array_equal(first.image(3), draw_image(3))  # opens again


def test_an_lmdb_that_is_replaced_while_it_is_read(make_lmdb, tmp_path):
    path = make_lmdb("a", 5)
    old = ImageLmdb(path)
    before = old.value(4)
    os.rename(path, tmp_path / "moved")
    make_lmdb("a", 5, seed=1)
    new = ImageLmdb(path)
    assert new.value(4) != before
    assert old.value(4) == before


def test_a_reader_needs_no_leave_to_write(make_lmdb):
    path = make_lmdb("a", 5)
    for name in os.listdir(path):
        os.chmod(os.path.join(path, name), 0o444)
    os.chmod(path, 0o555)
    assert ImageLmdb(path).count == 5
    assert not os.path.exists(os.path.join(path, "lock.mdb"))


def _pixels(images: ImageLmdb, i: int) -> bytes:
    return images.image(i).tobytes()


def test_readers_work_across_a_fork(make_lmdb):
    """Opened in the parent, read in children that run at the same time, then read in the parent."""
    images = ImageLmdb(make_lmdb("a", 30))
    expected = [_pixels(images, i) for i in range(30)]
    children = [FORK.Process(target=_check_in_child, args=(images, expected)) for _ in range(4)]
    for child in children:
        child.start()
    assert [_pixels(images, i) for i in range(30)] == expected
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert [_pixels(images, i) for i in range(30)] == expected


def _check_in_child(images: ImageLmdb, expected: list[bytes]) -> None:
    assert [_pixels(images, i) for i in range(30)] == expected
    images.close()
    again = ImageLmdb(images.path)
    assert [_pixels(again, i) for i in range(30)] == expected


def test_the_writer_grows_its_map_within_one_batch(tmp_path):
    """A single record larger than the first map of 64 MiB."""
    value = encoded_datum(os.urandom(90 << 20), 1)
    with ImageLmdbWriter(str(tmp_path / "big")) as writer:
        writer.add(value, 1)
        writer.add(encoded_datum(b"x", 2), 2)
    images = ImageLmdb(str(tmp_path / "big"))
    assert images.count == 2 and images.value(0) == value


# ---- neighbour LMDBs


@pytest.fixture
def triple(make_lmdb, tmp_path) -> Callable[..., tuple[ImageLmdb, ImageLmdb, str]]:
    """A function (targets, sources, k) that writes image LMDBs and neighbours of random order."""

    def make(targets: int = 5, sources: int = 40, k: int = 12) -> tuple[ImageLmdb, ImageLmdb, str]:
        target = ImageLmdb(make_lmdb("target", targets), "target")
        source = ImageLmdb(make_lmdb("source", sources, seed=1), "source")
        rng = np.random.default_rng(2)
        indices = np.stack([rng.permutation(sources)[:k] for _ in range(targets)])
        distances = np.sort(rng.random((targets, k)).astype(np.float32), axis=1)
        path = str(tmp_path / "neighbours")
        write_neighbours(path, target, source, indices, distances, {"bank": "gabor", "bins": 100})
        np.save(tmp_path / "indices.npy", indices)
        np.save(tmp_path / "distances.npy", distances)
        return target, source, path

    return make


def test_neighbours_are_read_as_written(triple, tmp_path):
    target, source, path = triple()
    neighbours = NeighbourLmdb(path)
    indices, distances = np.load(tmp_path / "indices.npy"), np.load(tmp_path / "distances.npy")
    assert (neighbours.count, neighbours.k) == (5, 12)
    assert neighbours.info["bank"] == "gabor" and neighbours.info["bins"] == 100
    for i in range(5):
        assert neighbours.key(i) == target.key(i)
        assert neighbours.indices(i).dtype == np.int64
        np.testing.assert_array_equal(neighbours.indices(i), indices[i])
        np.testing.assert_array_equal(neighbours.indices(i, 3), indices[i, :3])
        assert neighbours.distances(i).dtype == np.float32
        np.testing.assert_array_equal(neighbours.distances(i), distances[i])
        np.testing.assert_array_equal(neighbours.distances(i, 3), distances[i, :3])
    neighbours.check_matches(target, source)


def test_the_first_neighbours_of_many_targets_are_read(triple, tmp_path):
    target, source, path = triple(600, 30)  # several times as many as are read at once
    indices = np.load(tmp_path / "indices.npy")
    sizes = np.random.default_rng(3).integers(1, 12, 600, endpoint=True)
    flat = read_neighbours(NeighbourLmdb(path), target, source, sizes)
    assert flat.dtype == np.int32
    assert flat.tolist() == [s for row, size in zip(indices, sizes) for s in row[:size]]


def test_any_user_of_caffe_can_read_neighbours(triple, tmp_path):
    caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2")
    _, _, path = triple()
    with lmdb.open(path, readonly=True, lock=False) as env, env.begin() as transaction:
        datum = caffe_pb2.Datum.FromString(transaction.get(b"0000000003"))
    assert (datum.channels, datum.height, datum.width) == (12, 1, 8)
    assert datum.label == 3 % 3
    np.testing.assert_array_equal(
        np.frombuffer(datum.data, "<i8"), np.load(tmp_path / "indices.npy")[3]
    )
    np.testing.assert_array_equal(
        np.float32(datum.float_data), np.load(tmp_path / "distances.npy")[3]
    )


def test_neighbours_of_other_images_are_refused(triple, make_lmdb):
    target, source, path = triple()
    neighbours = NeighbourLmdb(path)
    with pytest.raises(
        InputError, match=r"^target and source are swapped: .* holds the neighbours"
    ):
        neighbours.check_matches(source, target)
    other = ImageLmdb(make_lmdb("other", 40, seed=2), "source")
    with pytest.raises(InputError, match=r"computed for another source LMDB than .*other .*finger"):
        neighbours.check_matches(target, other)
    other.role = "target"
    with pytest.raises(InputError, match=r"computed for another target LMDB than .*other"):
        neighbours.check_matches(other, source)


def test_kinds_are_not_confused(triple):
    target, _, path = triple()
    with pytest.raises(
        InputError, match=r"not usable as the source LMDB: .* 'sjft neighbour lmdb 1'"
    ):
        ImageLmdb(path, "source")
    with pytest.raises(
        InputError, match=r"not usable as the neighbour LMDB: .* 'sjft image lmdb 1'"
    ):
        NeighbourLmdb(target.path)


def test_damaged_neighbours(triple):
    _, _, path = triple()
    side_file = Path(path, "sjft.json")
    content = json.loads(side_file.read_text())
    side_file.write_text(json.dumps({**content, "k": 13}))
    neighbours = NeighbourLmdb(path)
    with pytest.raises(InputError, match=r"does not hold the 13 neighbours that sjft.json says"):
        neighbours.indices(0)
    side_file.unlink()
    with pytest.raises(InputError, match=r"expected an LMDB that 'sjft retrieve' wrote"):
        NeighbourLmdb(path)


def test_neighbours_under_foreign_keys(tmp_path):
    path = tmp_path / "target"
    path.mkdir()
    keys = [b"%08d_%s.jpg" % (i, b"x" * i) for i in range(4)]
    png = cv2.imencode(".png", draw_image(0))[1].tobytes()
    with lmdb.open(str(path)) as env, env.begin(write=True) as transaction:
        for i, key in enumerate(keys):
            transaction.put(key, encoded_datum(png, i))
    subprocess.run([sys.executable, "-m", "sjft_tools.cli", "index", str(path)], check=True)
    target = ImageLmdb(str(path))
    indices = np.tile(np.arange(3), (4, 1))
    out = str(tmp_path / "out")
    write_neighbours(out, target, target, indices, indices.astype(np.float32), {})
    neighbours = NeighbourLmdb(out)
    assert [neighbours.key(i) for i in range(4)] == keys
    assert neighbours.indices(3).tolist() == [0, 1, 2]


def test_a_negative_label_is_refused(make_lmdb: Callable[..., str]) -> None:
    path = make_lmdb("images", 4)
    np.save(f"{path}/sjft_labels.npy", np.array([0, 1, -1, 0], np.int32))
    with pytest.raises(InputError, match=r"record 2 .* has the label -1: expected 0 or more"):
        ImageLmdb(path)
