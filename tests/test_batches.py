"""Finished batches: the right pixels and labels of the right images, from real LMDBs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import centre_view, draw_image, write_image_lmdb
from joint_world import SOURCES, TARGETS, World, make_world
from sjft.batches import Batches, JointBatches, TargetBatches
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import parse_joint_data, parse_target_data
from sjft.levels import read_levels
from sjft.prefetch import open_stream
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.levels_writer import write_levels

MEAN = [104, 117, 123]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def joint(world: World, rank: int = 0, ranks: int = 1, **changes: object) -> JointBatches:
    return JointBatches(parse_joint_data(world.param_str(**changes)), rank, ranks)


def target(path: str, train: bool, **keys: object) -> TargetBatches:
    keys = {"target": path, "crop": 32, "batch_size": 4, **keys}
    return TargetBatches(parse_target_data(json.dumps(keys), train))


def batch_of(batches: Batches, number: int) -> dict[str, np.ndarray]:
    out = {name: np.full(shape, np.nan, np.float32) for name, shape in batches.tops.items()}
    batches.fill(number, out)
    return out


def stored_views(path: str, **size: int | None) -> list[bytes]:
    """The central view of every image of an LMDB, with and without mirroring."""
    lmdb = ImageLmdb(path)
    keys = {"resize": 32, "resize_shorter": None, **size}
    plain = [centre_view(lmdb.image(i), crop=32, mean=MEAN, **keys) for i in range(len(lmdb))]
    return [view.tobytes() for view in plain]


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


def test_levels_reach_further_and_visit_more_often(world: World, tmp_path: Path) -> None:
    lmdb = ImageLmdb(world.target)
    levels = np.array([1, 2] * 7)
    file = tmp_path / "levels.json"
    write_levels(str(file), levels, lmdb)
    assert np.array_equal(read_levels(str(file), lmdb).levels, levels)
    assert read_levels(str(file), lmdb).neighbours is None
    batches = joint(world, levels=str(file), batch_size=6, max_per_class=None)
    visits = np.zeros(TARGETS)
    for number in range(7):  # 21 slots: one epoch
        for i in batch_of(batches, number)["target_indices"].astype(int):
            visits[i] += 1
    assert visits.tolist() == levels.tolist()
    with pytest.raises(InputError, match="k0 = 6 at level 2 asks for 12 neighbours"):
        joint(world, levels=str(file), k0=6)


def test_neighbour_counts_of_a_levels_file_override_k0(world: World, tmp_path: Path) -> None:
    lmdb = ImageLmdb(world.target)
    file = tmp_path / "levels.json"
    counts = np.array([1, 7] * 7)
    write_levels(str(file), np.ones(TARGETS, int), lmdb, neighbours=counts)
    assert read_levels(str(file), lmdb).neighbours.tolist() == counts.tolist()
    settings = {"mirror": False, "resize": 32, "max_per_class": None, "levels": str(file)}
    batches = joint(world, k0=1000, **settings)
    sources = stored_views(world.source)
    drawn: list[set[bytes]] = [set() for _ in range(TARGETS)]
    for number in range(250):
        batch = batch_of(batches, number)
        pairs = len(batch["target_indices"])
        for i, source in zip(batch["target_indices"].astype(int), batch["data"][pairs:]):
            drawn[i].add(source.tobytes())
    for i, count in enumerate(counts.tolist()):
        assert drawn[i] == {sources[j] for j in world.indices[i, :count]}
    too_many = np.full(TARGETS, 3)
    too_many[4] = 1000
    write_levels(str(file), np.ones(TARGETS, int), lmdb, True, too_many)
    with pytest.raises(InputError, match=r"asks for 1000 neighbours of record 4 .*, but only"):
        joint(world, **settings)


@pytest.mark.parametrize(
    "text, message",
    [
        ("[", "cannot be read"),
        ("[]", "is not a levels file: format None"),
        ('{"format": "sjft levels 1"}', "was written for another target LMDB"),
        ('{"format": "sjft levels 1", "target_fingerprint": F}', "holds no list of levels"),
        ('{"format": "sjft levels 1", "target_fingerprint": F, "levels": [1]}', "holds 1 levels"),
        (
            '{"format": "sjft levels 1", "target_fingerprint": F, "levels": L}',
            "the level of record 3 .* is 11, expected an integer from 1 to 10",
        ),
        (
            '{"format": "sjft levels 2", "target_fingerprint": F, "levels": O}',
            "holds no list of neighbour counts",
        ),
        (
            '{"format": "sjft levels 2", "target_fingerprint": F, "levels": O, "neighbours": Z}',
            "the neighbour count of record 0 .* is 0, expected an integer from 1 on",
        ),
    ],
)
def test_bad_levels_files(world: World, tmp_path: Path, text: str, message: str) -> None:
    lmdb = ImageLmdb(world.target)
    levels, ones = str([1, 1, 1, 11, *[1] * (TARGETS - 4)]), str([1] * TARGETS)
    file = tmp_path / "levels.json"
    file.write_text(
        text.replace("F", f'"{lmdb.fingerprint}"')
        .replace("L", levels)
        .replace("O", ones)
        .replace("Z", ones.replace("1", "0"))
    )
    with pytest.raises(InputError, match=message):
        read_levels(str(file), lmdb)


def test_levels_are_checked_before_they_are_written(world: World, tmp_path: Path) -> None:
    lmdb = ImageLmdb(world.target)
    file = tmp_path / "levels.json"
    for levels, message in (([1] * 3, "holds 3 levels"), ([0] * TARGETS, "record 0 .* is 0")):
        with pytest.raises(InputError, match="the levels file to be written.*" + message):
            write_levels(str(file), np.array(levels), lmdb)
    assert not file.exists()
    write_levels(str(file), np.ones(TARGETS, int), lmdb)
    with pytest.raises(InputError, match="exists: give --force"):
        write_levels(str(file), np.ones(TARGETS, int), lmdb)


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
    for ranks, workers in ((1, 64), (2, 32), (8, 8), (100, 1)):
        for prefetch in (
            parse_joint_data(param_str, ranks).prefetch,
            parse_target_data(keys, train=True, ranks=ranks).prefetch,
        ):
            assert prefetch.workers == workers
            assert prefetch.depth == min(128, 2 * workers + 2)


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
