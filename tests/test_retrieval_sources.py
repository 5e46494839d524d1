"""Which sources can be neighbours: bad and excluded ones, too few, and those beyond limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import draw_image, write_image_lmdb
from retrieval_runs import FIT, World, forker
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.exclusion import write_exclusions
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.matching.products import make_product
from sjft_tools.retrieval import finish
from sjft_tools.retrieval.engine import Engine
from sjft_tools.retrieval.inputs import Inputs, Paths, open_inputs
from sjft_tools.retrieval.memory import memory_text
from sjft_tools.retrieval.plan import make_plan, parts_of
from sjft_tools.retrieval.shard_files import Pass, ShardFiles

BAD = (0, 17, 39)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """40 sources, BAD ones of which cannot be decoded; targets 0 and 1 are sources 5 and 6."""
    folder = tmp_path_factory.mktemp("sources")
    images = [draw_image(100 + i, 16, 16) for i in range(40)]
    write_image_lmdb(folder / "target", images[5:9], [0] * 4)
    with ImageLmdbWriter(str(folder / "source")) as writer:
        for i, image in enumerate(images):
            png = cv2.imencode(".png", image)[1].tobytes()
            writer.add(encoded_datum(png if i not in BAD else b"no image", 0), 0)
    with forker(folder / "log") as runs:
        made = World(folder, runs)
        made.sjft(*FIT)
        yield made


def open_world(world: World, k: int, exclude: str | None = None) -> Inputs:
    names = (world.folder / name for name in ("target", "source", "bins.npz"))
    return open_inputs(Paths(*map(str, names), None, exclude, "auto"), k, {})


def test_bad_sources_are_named_counted_and_nobodys_neighbours(world: World) -> None:
    output = world.sjft(*world.command("out", "--shard-size", 20, k=37))
    for count, i in enumerate(BAD, 1):
        assert f"record {i} (key {i:010d}) of source cannot be decoded" in output
        assert f"bad images so far: {count}, at most 100" in output
    assert output.endswith("images; 3 source images cannot be decoded and are nobody's\n")
    found = NeighbourLmdb(str(world.folder / "out"))
    assert found.info["bad_images"] == 3 and found.info["excluded"] == 0
    for row in range(4):
        assert sorted(found.indices(row)) == [i for i in range(40) if i not in BAD]
        assert found.indices(row)[0] == 5 + row


def test_too_many_bad_sources_end_a_run_that_can_go_on(world: World) -> None:
    command = world.command("few", "--shard-size", 10)
    line = world.sjft(*command, "--max-bad-images", 2, status=2).splitlines()[-1]
    assert "3 source images cannot be used, more than --max-bad-images 2 allows; the last: " in line
    assert "record 39 (key 0000000039) of source cannot be decoded" in line
    assert not (world.folder / "few").exists()
    stats = json.loads((world.folder / ".few.work" / "shard-00001.json").read_text())
    assert stats["images"] == 9 and len(stats["bad"]) == 1
    assert "record 17 (key 0000000017)" in stats["bad"][0]
    # Those of shards that are done count, too.
    line = world.sjft(*command, "--max-bad-images", 1, status=2).splitlines()[-1]
    assert "2 source images cannot be used" in line
    assert "30/40" in world.sjft(*command, "--max-bad-images", 3)
    assert world.debris("few") == []


def test_k_larger_than_what_can_be_decoded(world: World) -> None:
    line = world.sjft(*world.command("large", k=38), status=2).splitlines()[-1]
    assert "--k 38 is larger than what is left of the source: of the 40 images of source, 3" in line


def test_excluded_sources_are_nobodys_neighbours(world: World) -> None:
    source = ImageLmdb(str(world.folder / "source"))
    excluded = [0, 5, 20, 21]
    file = str(world.folder / "exclusions")
    write_exclusions(file, source, excluded, ["a test"] * 4)
    output = world.sjft(*world.command("others", "--exclude", file, "--shard-size", 7, k=34))
    assert "(4 excluded)" in output and "36/36" in output
    found = NeighbourLmdb(str(world.folder / "others"))
    assert found.info["bad_images"] == 2 and found.info["excluded"] == 4
    for row in range(4):
        assert sorted(found.indices(row)) == [i for i in range(40) if i not in (*BAD, 5, 20, 21)]
    assert found.indices(0)[0] != 5 and found.indices(1)[0] == 6
    assert "another --exclude" not in output
    inputs = open_world(world, 34, file)
    assert inputs.positions(3, 22).tolist() == [3, 4, *range(6, 20)]
    assert inputs.taking_part(3, 22) == 16 and inputs.usable == 36


def test_limits_that_are_too_low_cost_a_second_pass_and_nothing_else(
    world: World, tmp_path: Path
) -> None:
    inputs = open_world(world, 9)
    plan = make_plan(inputs, 9, 7)
    engine = Engine(inputs, plan, "auto")
    targets = engine.describe_targets()
    done: list[tuple[str, list[int]]] = []

    def do_pass(of: Pass) -> None:
        done.append((of.name, of.rows.tolist()))
        files = ShardFiles(str(tmp_path), plan, of)
        for shard in range(plan.shards):
            found = engine.shard(shard, of, targets, lambda text: None, lambda number: None)
            files.write(shard, *found)

    def neighbours(limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = Pass("shard", np.arange(4), limits)
        do_pass(first)
        return finish.neighbours(str(tmp_path), inputs, plan, first, do_pass)

    expected = neighbours(np.full(4, np.inf))
    assert done == [("shard", [0, 1, 2, 3])]
    limits = expected[1][:, -1].copy()
    for found, wanted in zip(neighbours(limits), expected):
        assert np.array_equal(found, wanted)
    assert [name for name, _ in done] == ["shard"] * 2
    limits[1] = np.nextafter(limits[1], 0)
    limits[3] = 0
    for found, wanted in zip(neighbours(limits), expected):
        assert np.array_equal(found, wanted)
    assert done[2:] == [("shard", [0, 1, 2, 3]), ("again", [1, 3])]


def test_the_memory_of_joining_does_not_depend_on_the_shards(world: World) -> None:
    inputs = open_world(world, 9)
    plans = (make_plan(inputs, 9, size) for size in (1, 7, 40))
    texts = {
        memory_text(inputs, replace(plan, targets=20_000, k=900), make_product("numpy"))
        for plan in plans
    }
    said = {re.search(r"candidates (\d+)", text)[1] for text in texts}  # type: ignore[index]
    # while it is cut: twice as many as are kept, of 20 bytes, and these once more, sorted
    assert len(said) == 1 and int(said.pop()) << 20 > 3 * 20 * 20_000 * 900


@pytest.mark.parametrize("shards", [1, 7, 12])
def test_parts_are_all_shards_once(shards: int) -> None:
    for parts in range(1, 15):
        found = [list(parts_of(shards, part, parts)) for part in range(1, parts + 1)]
        assert sorted(chain(*found)) == list(range(shards))
        assert max(map(len, found)) - min(map(len, found)) <= 1
