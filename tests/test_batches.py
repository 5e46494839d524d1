"""Finished batches: the right pixels and labels of the right images, from real LMDBs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import draw_image, write_image_lmdb
from joint_world import SOURCES, TARGETS, World, make_world
from sjft.batches import JointBatches, TargetBatches
from sjft.cores import cores
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import parse_joint_data, parse_target_data
from sjft.prefetch import open_stream
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from whole_batches import batch_of, joint, stored_views


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def target(path: str, train: bool, **keys: object) -> TargetBatches:
    keys = {"target": path, "crop": 32, "batch_size": 4, **keys}
    return TargetBatches(parse_target_data(json.dumps(keys), train))


def test_pairs_are_target_images_and_their_neighbours(world: World) -> None:
    # crop = resize and no mirror: every view is the central one, so pixels tell which image it is
    batches = joint(world, resize=32, mirror=False, max_per_class=None)
    targets, sources = stored_views(world.target), stored_views(world.source)
    source_labels = ImageLmdb(world.source).labels
    selected = np.unique(world.indices[:, :4])
    classes = np.unique(source_labels[selected]).tolist()
    assert batches.source_classes == len(classes)
    visits = np.zeros(TARGETS)
    for number in range(7):  # 28 pairs: two epochs
        batch = batch_of(batches, number)
        assert batch["data"].shape == (8, 3, 32, 32)
        for j in range(4):
            i = targets.index(batch["data"][j].tobytes())
            s = sources.index(batch["data"][4 + j].tobytes())
            assert batch["target_indices"][j] == i
            assert batch["target_labels"][j] == i % 5
            assert s in world.indices[i, :4]
            assert batch["source_labels"][j] == classes.index(source_labels[s])
            visits[i] += 1
    assert (visits == 2).all()


def test_random_views_differ_between_visits_and_images(world: World) -> None:
    batches = joint(world, resize=None, resize_shorter=[33, 40])
    seen = {batch_of(batches, b)["data"][j].tobytes() for b in range(14) for j in range(8)}
    assert len(seen) == 14 * 8


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path, workers: int) -> None:
    images = [encoded_datum(cv2.imencode(".png", draw_image(i))[1].tobytes(), 0) for i in range(5)]
    images[3] = encoded_datum(b"not an image", 0)
    with ImageLmdbWriter(str(tmp_path / "lmdb")) as writer:
        for image in images:
            writer.add(image, 0)
    keys = {"target": str(tmp_path / "lmdb"), "crop": 32, "batch_size": 2, "workers": workers}
    params = parse_target_data(json.dumps(keys), train=False)
    stream = open_stream(TargetBatches(params), params.prefetch)
    stream.next_into({"data": np.empty((2, 3, 32, 32), np.float32), "labels": np.empty(2)})
    with pytest.raises(InputError, match=r"^record 3 \(key 0000000003\) of .* cannot be decoded"):
        stream.next_into({"data": np.empty((2, 3, 32, 32), np.float32), "labels": np.empty(2)})


def test_stored_versions_take_turns(world: World, tmp_path: Path) -> None:
    others = [draw_image(500 + i) for i in range(TARGETS)]
    other = write_image_lmdb(tmp_path / "other_lmdb", others, [i % 5 for i in range(TARGETS)])
    batches = joint(world, target=[world.target, str(other)], resize=32, mirror=False)
    views = stored_views(world.target), stored_views(str(other))
    seen = set()
    for number in range(60):
        batch = batch_of(batches, number)
        for j, i in enumerate(batch["target_indices"].astype(int)):
            version = [v[i] for v in views].index(batch["data"][j].tobytes())
            seen.add((int(i), version))
    assert len(seen) == 2 * TARGETS
    with pytest.raises(InputError, match="is not another version of"):
        joint(world, target=[world.target, world.source])


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_an_epoch(world: World, ranks: int) -> None:
    settings = {"max_per_class": None, "batch_size": 2}
    numbers = range(-(-TARGETS // ranks))
    parts = [joint(world, rank, ranks, **settings) for rank in range(ranks)]
    indices = [batch_of(part, b)["target_indices"] for b in numbers for part in parts]
    assert sorted(np.concatenate(indices)[:TARGETS].tolist()) == list(range(TARGETS))


def test_test_phase_goes_through_the_records_in_order_and_wraps(world: World) -> None:
    batches = target(world.target, train=False, resize_shorter=32)
    views = stored_views(world.target, resize=None, resize_shorter=32)
    for number in range(9):
        batch = batch_of(batches, number)
        for j in range(4):
            i = (4 * number + j) % TARGETS
            assert batch["data"][j].tobytes() == views[i]
            assert batch["labels"][j] == i % 5


def test_train_phase_without_source_shuffles_epochs(world: World) -> None:
    batches = target(world.target, train=True, resize=40, batch_size=7)
    labels = [batch_of(batches, b)["labels"] for b in range(4)]
    expected = sorted(i % 5 for i in range(TARGETS))
    assert sorted(np.concatenate(labels[:2])) == expected
    assert sorted(np.concatenate(labels[2:])) == expected
    assert not np.array_equal(np.concatenate(labels[:2]), np.concatenate(labels[2:]))
    again = target(world.target, train=True, resize=40, batch_size=7)
    assert np.array_equal(batch_of(again, 3)["data"], batch_of(batches, 3)["data"])
    other = target(world.target, train=True, resize=40, batch_size=7, seed=2)
    assert not np.array_equal(batch_of(other, 3)["labels"], labels[3])


def test_data_bases_that_do_not_fit(world: World, tmp_path: Path) -> None:
    other = make_world(tmp_path, seed=1)
    with pytest.raises(InputError, match="target and source are swapped"):
        joint(world, target=world.source, source=world.target)
    with pytest.raises(InputError, match="was computed for another source LMDB"):
        joint(world, source=other.source)
    with pytest.raises(InputError, match="was computed for another target LMDB"):
        joint(world, target=other.target)
    with pytest.raises(InputError, match="does not exist"):
        joint(world, neighbours=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"record 0 .* has no neighbour left"):
        joint(world, min_source_per_class=SOURCES)
    with pytest.raises(InputError, match="batch_size 15 is larger than an epoch"):
        target(world.target, train=True, batch_size=15)
    with pytest.raises(InputError, match=r"crop 45 is larger than record \d+ .* pixels"):
        batch_of(joint(world, resize=None, crop=45), 0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 7}, "'batch_size' must be even"),
        ({"resize_shorter": 32}, "'resize' and 'resize_shorter' exclude each other"),
        ({"resize": None, "resize_shorter": [40, 33]}, r"must be \[smallest, largest\]"),
        ({"crop": 37}, "'crop' must be at most 'resize'.*got crop 37 and resize 36"),
        ({"resize": None, "resize_shorter": [30, 40]}, "'crop' must be at most 'resize_shorter'"),
        ({"workers": 5000}, "'workers' must be at most"),
        ({"mean": [1, 2]}, "'mean' must be a list of 3 values"),
        ({"mean": [1, 2, 256]}, "a list of 3 values, each a number from 0 to 255, got"),
        ({"neighbors": "x"}, "unknown key 'neighbors'; did you mean 'neighbours'?"),
        ({"k0": "many"}, "'k0' must be an integer of at least 1, got \"many\""),
    ],
)
def test_joint_params_that_do_not_fit(world: World, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match="^JointDataLayer: .*" + message):
        parse_joint_data(world.param_str(**changes))


def test_processes_that_train_together_share_the_cores(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sjft.layer_params.cores", lambda: 65)
    keys = json.dumps({"target": world.target})
    param_str = world.param_str(workers=None)
    for ranks, workers in ((1, 16), (4, 16), (8, 8), (100, 1)):
        for prefetch in (
            parse_joint_data(param_str, ranks).prefetch,
            parse_target_data(keys, train=True, ranks=ranks).prefetch,
        ):
            assert prefetch.workers == workers
            assert prefetch.depth == 2 * workers + 2
    assert parse_joint_data(world.param_str(workers=100)).prefetch.depth == 128


@pytest.mark.parametrize(
    "files, most",
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_container_may_use_its_quota_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], most: int | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr("sjft.cores._CONTROL_GROUP", str(tmp_path))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(64))
    assert cores() == (most or 64)


@pytest.mark.parametrize(
    "key",
    [
        "batch_size",
        "k0",
        "min_source_per_class",
        "max_per_class",
        "resize",
        "crop",
        "seed",
        "workers",
        "prefetch",
        "prefetch_mb",
        "timeout_s",
    ],
)
@pytest.mark.parametrize("value", [10**30, 2**40, 2**62])
def test_absurd_numbers_end_in_a_sentence_or_work(world: World, key: str, value: int) -> None:
    changes = {"prefetch": 128, key: value}
    try:
        params = parse_joint_data(world.param_str(**changes))
        batches = JointBatches(params)
        stream = open_stream(batches, params.prefetch._replace(workers=0))
        stream.next_into({n: np.empty(s, np.float32) for n, s in batches.tops.items()})
        open_stream(batches, params.prefetch).close()
    except InputError as error:
        assert key in str(error)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"mirror": False}, "'mirror' is for the TRAIN phase only"),
        ({"seed": 1}, "'seed' is for the TRAIN phase only"),
        ({"resize_shorter": [256, 480]}, ".*must be one integer in the TEST phase"),
    ],
)
def test_nothing_random_in_the_test_phase(keys: dict, message: str) -> None:
    param_str = json.dumps({"target": "x", **keys})
    parse_target_data(param_str, train=True)
    with pytest.raises(InputError, match="^TargetDataLayer: " + message):
        parse_target_data(param_str, train=False)
