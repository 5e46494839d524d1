"""``sjft leaks`` killed before every file operation: always the same outputs, nothing left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from conftest import draw_image, write_image_lmdb
from retrieval_runs import Forker, forker
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum

# Shards of 32 images, so that small sources have some.
SMALL_SHARDS = """
from sjft_tools.commands import leaks
from sjft_tools.leaks import images, kept

images.BLOCK, kept.SHARD_BLOCKS = 32, 1
"""
OUTPUTS = ("found.txt", "found.json")
COMMAND = ("leaks", "tests", "source", "--out", "found.txt", "--json", "found.json")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Forker]:
    """Runs in the folder ``world``: 4 test images, 70 sources, some of which leak or are bad."""
    world = tmp_path / "world"
    world.mkdir()
    tests = [draw_image(i, 60, 80) for i in range(4)]
    write_image_lmdb(world / "tests", tests, range(4))
    with ImageLmdbWriter(str(world / "source")) as writer:
        for i in range(70):
            image = {5: tests[1], 40: tests[3][:, ::-1], 66: tests[0]}.get(i)
            image = draw_image(1000 + i, 50, 60) if image is None else image
            content = b"no image" if i in (7, 41) else cv2.imencode(".png", image)[1].tobytes()
            writer.add(encoded_datum(content, 0), 0)
    with forker(tmp_path / "log", SMALL_SHARDS) as made:
        yield made


def outputs(world: Path) -> dict[str, bytes]:
    return {name: (world / name).read_bytes() for name in OUTPUTS if (world / name).exists()}


def debris(world: Path) -> list[str]:
    return sorted(name for name in os.listdir(world) if name.startswith("."))


def clear(world: Path) -> None:
    for name in OUTPUTS:
        (world / name).unlink(missing_ok=True)


def test_killed_before_every_file_operation(runs: Forker, tmp_path: Path) -> None:
    world = tmp_path / "world"
    assert runs.run(world, *COMMAND) == 0, runs.text()
    expected = outputs(world)
    assert set(expected) == set(OUTPUTS) and expected["found.txt"].count(b"\n") == 4
    summary = runs.text().splitlines()[-1]
    assert "3 of 70 source images show 3 of 4 test images" in summary
    clear(world)
    kills = gone_on = 0
    for at in range(1, 1000):
        status = runs.run(world, *COMMAND, kill_at=at)
        if status == 0:
            break
        assert status == -9, runs.text()
        kills += 1
        assert outputs(world).items() <= expected.items()
        left = debris(world)
        status = runs.run(world, *COMMAND)
        # Without anything left behind, or all but an empty folder, the run was over.
        assert status == 0 or (status == 2 and "exists" in runs.text()), runs.text()
        if status == 0:
            gone_on += "goes on with what an unfinished run left" in runs.text()
            assert runs.text().splitlines()[-1] == summary
        else:
            assert not left or left == [".found.txt.work"]
        assert outputs(world) == expected
        assert debris(world) == []
        clear(world)
    assert status == 0 and kills > 30 and gone_on > 20


def test_finished_shards_are_not_searched_again(runs: Forker, tmp_path: Path) -> None:
    world = tmp_path / "world"
    at = 1
    while not (world / ".found.txt.work" / "000001.json").exists():
        assert runs.run(world, *COMMAND, kill_at=at) == -9, runs.text()
        at += 1
    # Of shards that are there nothing is read: the two images in them are named from what is kept.
    assert runs.run(world, *COMMAND) == 0
    assert "source images:  91%" in runs.text() and "2 images of source cannot" in runs.text()
    assert "record 7 " in runs.text() and "record 41 " in runs.text()
    found = outputs(world)
    assert runs.run(world, *COMMAND, "--force") == 0
    assert outputs(world) == found


def test_what_another_search_left_is_not_taken(runs: Forker, tmp_path: Path) -> None:
    world = tmp_path / "world"
    at = 1
    while not (world / ".found.txt.work" / "000000.json").exists():
        assert runs.run(world, *COMMAND, "--threshold", 0.9, kill_at=at) == -9, runs.text()
        at += 1
    assert runs.run(world, *COMMAND) == 0
    assert "goes on" not in runs.text()
    assert debris(world) == []
    found = outputs(world)
    clear(world)
    assert runs.run(world, *COMMAND) == 0
    assert outputs(world) == found


def test_outputs_of_others_are_not_replaced(runs: Forker, tmp_path: Path) -> None:
    """A kill while outputs are written lets the next run replace those alone that it wrote."""
    world = tmp_path / "world"
    at = 1
    while not (world / "found.txt").exists():
        assert runs.run(world, *COMMAND, kill_at=at) == -9, runs.text()
        at += 1
    (world / "mine.json").write_text("mine")
    other = (*COMMAND[:-1], "mine.json")
    assert runs.run(world, *other) == 2
    assert "the output" in runs.text() and "mine.json exists: give --force" in runs.text()
    assert (world / "mine.json").read_text() == "mine"
    assert runs.run(world, *COMMAND) == 0 and debris(world) == []
    assert runs.run(world, *COMMAND) == 2 and "found.txt exists: give --force" in runs.text()
    assert debris(world) == []


def test_a_folder_of_something_else(runs: Forker, tmp_path: Path) -> None:
    world = tmp_path / "world"
    (world / ".found.txt.work").mkdir()
    (world / ".found.txt.work" / "thesis.tex").write_text("")
    assert runs.run(world, *COMMAND) == 2
    assert ".found.txt.work holds 'thesis.tex': expected an empty folder" in runs.text()
    assert outputs(world) == {}
