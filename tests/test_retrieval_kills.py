"""``sjft retrieve`` killed at random and before every file operation: always the same bytes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval_runs import World, forker, kill, make_world

KILLS = 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """3,000 sources, enough for limits from a sample; ``expected`` is from one undisturbed run."""
    folder = tmp_path_factory.mktemp("kills")
    with forker(folder / "log") as runs:
        made = make_world(folder / "world", 3000, runs)
        made.sjft(*made.command("expected"))
        yield made


def test_killed_at_random_moments(world: World) -> None:
    runs = world.runs
    expected = world.content("expected")
    assert set(expected) == {"data.mdb", "sjft.json"}
    command = world.command("out", "--shard-size", 150)
    random = np.random.default_rng(1)
    kills = kept = 0
    started = time.monotonic()
    assert runs.run(world.folder, *command) == 0, runs.text()
    seconds = time.monotonic() - started
    # A kill that comes before the first shard is done shows little: kills go on until enough came
    # later, however fast the machine.
    while kills < KILLS or kept < KILLS / 3:
        assert world.content("out") == expected
        assert world.debris() == []
        shutil.rmtree(world.folder / "out")
        while not (world.folder / "out").exists():
            assert kills < 10 * KILLS
            pid = runs.start(world.folder, *command)
            time.sleep(random.uniform(0, seconds))
            kill(pid)
            status = runs.status()
            assert status in (0, -9), runs.text()
            kills += status == -9
            has_kept = any((world.folder / ".out.work").glob("shard-*.json"))
            kept += has_kept
            # the machine may be slower, or faster, than it was
            seconds *= 0.9 if status == 0 else 1 if has_kept else 1.1
        # What is left by a kill that came after the output was there, the next run removes.
        if world.debris():
            assert runs.run(world.folder, *command) == 0, runs.text()
    assert world.content("out") == expected
    assert world.debris() == []


def test_killed_before_every_file_operation(tmp_path: Path) -> None:
    kills = 0
    with forker(tmp_path / "log") as runs:
        world = make_world(tmp_path / "world", 60, runs)
        world.sjft(*world.command("expected"))
        expected = world.content("expected")
        command = world.command("out", "--shard-size", 30)
        for at in range(1, 1000):
            status = runs.run(world.folder, *command, kill_at=at)
            if status == 0:
                break
            assert status == -9, runs.text()
            kills += 1
            assert not (world.folder / "out").exists() or world.content("out") == expected
            left = world.debris()
            status = runs.run(world.folder, *command)
            # Without anything left behind the run was over when it was killed.
            assert status == 0 or (status == 2 and not left), runs.text()
            assert world.content("out") == expected
            assert world.debris() == []
            shutil.rmtree(world.folder / "out")
    assert status == 0 and kills > 60
