"""``sjft neighbours``: every figure against plain counting, the levels, the figure, bad input."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from conftest import draw_image, run_sjft, write_image_lmdb
from formats_page import keys_in_tables
from retrieval_runs import forker
from sjft.image_lmdb import ImageLmdb
from sjft.levels import read_levels
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft.selection import neighbourhood_sizes, read_neighbours, select
from sjft_tools.levels_writer import write_levels
from sjft_tools.neighbour_lmdb_writer import write_neighbours
from sjft_tools.neighbour_report.counting import QUANTILES, least_k0, random_union
from sjft_tools.neighbour_report.report import advice

# What runs of the command would import.
DRAWING = "from sjft_tools.commands import neighbours; import matplotlib.backends.backend_agg"
TARGETS, SOURCES, K, CLASSES = 30, 400, 60, 7


class World(NamedTuple):
    target: ImageLmdb
    source: ImageLmdb
    neighbours: NeighbourLmdb
    indices: np.ndarray
    distances: np.ndarray


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("neighbours")
    rng = np.random.default_rng(1)
    images = [draw_image(i, 8, 8) for i in range(SOURCES)]
    labels = [int(i**0.5) // 3 for i in range(SOURCES)]  # 9 images, 27, 45, and so on
    names = [f"things {c}" for c in range(CLASSES - 2)] + ["$a$", "Gänse"]
    write_image_lmdb(folder / "target", images[:TARGETS], [0] * TARGETS, ["t"])
    write_image_lmdb(folder / "source", images, labels, names)
    target = ImageLmdb(str(folder / "target"), "target")
    source = ImageLmdb(str(folder / "source"), "source")
    liking = rng.pareto(1, SOURCES)  # some source images are near to many
    order = np.argsort(-liking * rng.random((TARGETS, SOURCES)), axis=1)[:, :K]
    distances = np.sort(rng.random((TARGETS, K)).astype(np.float32), axis=1)
    path = str(folder / "neighbours")
    write_neighbours(path, target, source, order, distances, {"bank": "none"})
    return World(target, source, NeighbourLmdb(path), order, distances)


def report(world: World, folder: Path, *options: object) -> tuple[dict, str]:
    file = folder / "report.json"
    printed = run_sjft("neighbours", world.neighbours.path, "--json", file, "--force", *options)
    return json.loads(file.read_text(encoding="utf-8")), printed


def plain_uses(world: World, sizes: np.ndarray) -> Counter:
    return Counter(int(source) for row, size in zip(world.indices, sizes) for source in row[:size])


def assert_counts(part: dict, uses: Counter, labels: np.ndarray, least: int) -> None:
    per_class = Counter(int(labels[source]) for source in uses)
    total = sum(uses.values())
    assert part["images"] == len(uses)
    assert part["neighbours"] == total
    assert part["classes"] == len(per_class)
    assert part["mean_uses"] == pytest.approx(total / len(uses))
    assert part["median_uses"] == np.median(list(uses.values()))
    ranked = sorted(uses, key=lambda source: (-uses[source], source))
    hubs = [(hub["source"], hub["uses"]) for hub in part["hubs"]]
    assert hubs == [(source, uses[source]) for source in ranked[:10]]
    top = ranked[: -(-len(uses) // 100)]
    assert part["share_of_top_percent"] == pytest.approx(
        sum(uses[source] for source in top) / total
    )
    assert {c["label"]: c["images"] for c in part["per_class"]} == dict(per_class)
    assert sum(c["neighbours"] for c in part["per_class"]) == total
    small = [images for images in per_class.values() if images < least]
    assert (part["dropped_classes"], part["dropped_images"]) == (len(small), sum(small))


def test_counts_equal_plain_counting(world, tmp_path):
    content, printed = report(world, tmp_path, "--k0", 50, 3, 17, "--min-source-per-class", 12)
    assert [part["k0"] for part in content["k0"]] == [3, 17, 50]
    for part in content["k0"]:
        uses = plain_uses(world, np.full(TARGETS, part["k0"]))
        assert_counts(part, uses, world.source.labels, 12)
    assert {*content, *content["k0"][0]} == keys_in_tables("Neighbour report")
    for k0, images in content["selected"]:
        assert images == len(plain_uses(world, np.full(TARGETS, k0)))
    assert content["selected"][-1][0] == content["most_k0"] == K
    for rank, *quantiles in content["distances"]:
        expected = np.quantile(world.distances[:, rank - 1], QUANTILES)
        np.testing.assert_allclose(quantiles, expected, rtol=1e-6)
    hub = content["k0"][-1]["hubs"][0]
    assert f"{hub['uses']:6d}  {hub['key']}  {hub['class']}" in printed


def test_the_selection_is_that_of_training(world, tmp_path):
    """Against what JointDataLayer itself selects, with levels and small classes dropped."""
    levels = np.random.default_rng(2).integers(1, 5, TARGETS)
    path = str(tmp_path / "levels.json")
    write_levels(path, levels, world.target)
    least = 10
    options = ("--levels", path, "--min-source-per-class", least, "--k0", 12, 15)
    content, _ = report(world, tmp_path, *options)
    assert content["most_k0"] == K // 4
    assert [part["dropped_classes"] > 0 for part in content["k0"]] == [True, True]
    for part in content["k0"]:
        sizes = neighbourhood_sizes(levels, part["k0"], K, world.target.name)
        flat = read_neighbours(world.neighbours, world.target, world.source, sizes)
        selection = select(flat, sizes, world.source.labels, least, world.target.name)
        assert part["images"] - part["dropped_images"] == selection.size
        assert part["classes"] - part["dropped_classes"] == len(selection.classes)
        assert_counts(part, plain_uses(world, sizes), world.source.labels, least)
        assert dict(map(tuple, content["selected"]))[part["k0"]] == part["images"]


def test_stated_numbers_of_neighbours(world, tmp_path):
    sizes = np.random.default_rng(3).integers(1, K + 1, TARGETS)
    file = {
        "format": "sjft levels 2",
        "target_fingerprint": world.target.fingerprint,
        "levels": [1 + i % 3 for i in range(TARGETS)],
        "neighbours": sizes.tolist(),
    }
    path = tmp_path / "levels.json"
    path.write_text(json.dumps(file))
    assert read_levels(str(path), world.target).neighbours is not None
    content, printed = report(world, tmp_path, "--levels", path, "--figure", tmp_path / "x.png")
    assert [part["k0"] for part in content["k0"]] == [None]
    assert_counts(content["k0"][0], plain_uses(world, sizes), world.source.labels, 50)
    assert "at the levels file's K_i, the images used most" in printed
    printed = run_sjft("neighbours", world.neighbours.path, "--levels", path, "--k0", 3, status=2)
    assert "states the numbers of neighbours: leave out --k0" in printed
    file["neighbours"][4] = K + 1
    path.write_text(json.dumps(file))
    printed = run_sjft("neighbours", world.neighbours.path, "--levels", path, status=2)
    assert f"asks for {K + 1} neighbours of record 4" in printed


def test_the_suggested_k0_is_the_least(world, tmp_path):
    sizes = [len(plain_uses(world, np.full(TARGETS, k0))) for k0 in range(K + 1)]
    for want in (1, 30, 31, sizes[20], sizes[20] + 1, sizes[-1]):
        expected = next(k0 for k0, images in enumerate(sizes) if images >= want)
        assert least_k0(np.array(sizes), want) == expected
    content, printed = report(world, tmp_path, "--want", sizes[20])
    assert sizes[content["suggested_k0"]] >= sizes[20] > sizes[content["suggested_k0"] - 1]
    assert f"is the least that selects {sizes[20]} images" in printed
    content, printed = report(world, tmp_path, "--want", sizes[-1] + 1)
    assert content["suggested_k0"] is None and content["most_images"] == sizes[-1]
    assert f"no K_0 up to {K} selects {sizes[-1] + 1} images, that selects {sizes[-1]}" in printed
    _, printed = report(world, tmp_path)
    assert "no K_0 selects 200000 images: the source holds 400" in printed
    assert f"({len(plain_uses(world, np.full(TARGETS, 50)))} at K_0 = 50)" in printed
    assert "with fewer the network overfits" in printed


def test_enough_images_bring_no_warning():
    content = {
        "k0": [{"k0": 50, "images": 199_999}, {"k0": 100, "images": 200_000}],
        "want": 200_000,
        "suggested_k0": 100,
    }
    few, suggestion = advice(content)
    assert few.startswith("warning: fewer source images are selected than the 200000")
    assert "(199999 at K_0 = 50)" in few
    assert suggestion == "K_0 = 100 is the least that selects 200000 images"
    del content["k0"][0]
    assert advice(content) == [suggestion]


def test_if_random():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 60, 40)
    drawn = [
        len(set(np.concatenate([rng.choice(300, size, replace=False) for size in sizes])))
        for _ in range(300)
    ]
    assert random_union(sizes, 300) == pytest.approx(np.mean(drawn), rel=0.01)
    assert random_union(np.array([3, 300]), 300) == 300


def test_the_figure(world, tmp_path):
    picture = tmp_path / "x.png"
    printed = run_sjft("neighbours", world.neighbours.path, "--figure", picture)
    assert f"drew {picture}" in printed
    image = cv2.imread(str(picture))
    assert image.shape == (800, 1100, 3)
    for panel in (image[:400, :550], image[:400, 550:], image[400:, :550], image[400:, 550:]):
        assert 0.01 < (panel < 250).any(axis=2).mean() < 0.5


def test_killed_before_every_other_file_operation(world, tmp_path):
    """The same command goes on behind the report, to the same bytes; nothing else is left."""
    outputs = [tmp_path / "x.json", tmp_path / "x.png"]
    command = ("neighbours", world.neighbours.path, "--json", outputs[0], "--figure", outputs[1])
    with forker(tmp_path / "log", DRAWING) as runs:
        assert runs.run(tmp_path, *command) == 0, runs.text()
        expected = [path.read_bytes() for path in outputs]
        gone_on = 0
        for at in range(1, 1000, 2):
            for path in outputs:
                path.unlink()
            status = runs.run(tmp_path, *command, kill_at=at)
            if status == 0:
                break
            assert status == -9, runs.text()
            is_complete = all(path.exists() for path in outputs)
            status = runs.run(tmp_path, *command)
            assert status == (2 if is_complete else 0), runs.text()
            gone_on += f"goes on behind {outputs[0]}, which an unf" in runs.text()
            assert [path.read_bytes() for path in outputs] == expected
            if not is_complete:
                assert sorted(os.listdir(tmp_path)) == ["log", "x.json", "x.png"]
        assert at > 8 and gone_on > 2
        # what is there of something else is refused
        outputs[1].unlink()
        outputs[0].write_bytes(b"\xff")
        assert runs.run(tmp_path, *command) == 2
        assert "x.json exists: give --force" in runs.text()
        assert outputs[0].read_bytes() == b"\xff" and not outputs[1].exists()


def test_bad_input(world, tmp_path):
    (tmp_path / "exists.json").write_text("mine")
    path, same = world.neighbours.path, tmp_path / "same.png"
    levels = str(tmp_path / "levels.json")
    write_levels(levels, np.full(TARGETS, 10), world.target)
    cases = [
        ((tmp_path / "no",), "the neighbour LMDB"),
        ((world.source.path,), "is not usable as the neighbour LMDB"),
        ((path, "--json", tmp_path / "exists.json"), "give --force"),
        ((path, "--figure", tmp_path / "x.jpg"), "must end in .png"),
        ((path, "--figure", same, "--json", same), "two outputs have one name"),
        ((path, "--source", world.target.path), "computed for another source LMDB"),
        ((path, "--k0", K + 1), f"but only {K} were retrieved"),
        ((path, "--k0", 7, "--levels", levels), "k0 = 7 at level 10 asks for 70 neighbours"),
        ((path, "--levels", tmp_path / "exists.json"), "cannot be read"),
        ((path, "--levels", levels, "--target", world.source.path), "another target LMDB"),
    ]
    for arguments, message in cases:
        printed = run_sjft("neighbours", *arguments, status=2)
        assert message in printed and "Traceback" not in printed
    assert sorted(os.listdir(tmp_path)) == ["exists.json", "levels.json"]
    wild = str(tmp_path / "wild")
    write_neighbours(
        wild, world.target, world.source, world.indices + SOURCES - 5, world.distances, {}
    )
    printed = run_sjft("neighbours", wild, status=2)
    assert "names the source image" in printed and "there are only 400" in printed
