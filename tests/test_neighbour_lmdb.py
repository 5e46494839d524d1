"""Neighbour LMDBs read as written; damaged ones, and those of other images, are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2

from conftest import draw_image, run_sjft
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft.selection import read_neighbours
from sjft_tools.image_lmdb_writer import encoded_datum
from sjft_tools.neighbour_lmdb_writer import write_neighbours


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
    run_sjft("index", path)
    target = ImageLmdb(str(path))
    indices = np.tile(np.arange(3), (4, 1))
    out = str(tmp_path / "out")
    write_neighbours(out, target, target, indices, indices.astype(np.float32), {})
    neighbours = NeighbourLmdb(out)
    assert [neighbours.key(i) for i in range(4)] == keys
    assert neighbours.indices(3).tolist() == [0, 1, 2]
