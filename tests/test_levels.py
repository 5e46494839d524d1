"""Levels of target images: how far they reach and how often they are visited; their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from joint_world import TARGETS, World, make_world
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.levels import read_levels
from sjft_tools.levels_writer import write_levels
from whole_batches import batch_of, joint, stored_views


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


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
