"""Shards and parts of ``sjft retrieve``: joined, damaged, mixed up, run side by side."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import processes
from conftest import draw_image, write_image_lmdb
from formats_page import keys_in_tables
from retrieval_runs import World, forker, make_world, stopped_in_mid_run
from sjft_tools.checksums import array_checksum


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """2,500 sources, enough for limits; ``expected`` is from one run with one shard."""
    folder = tmp_path_factory.mktemp("shards")
    with forker(folder / "log") as runs:
        made = make_world(folder / "world", 2500, runs)
        made.sjft(*made.command("expected"))
        yield made


@pytest.fixture
def clean(world: World) -> Iterator[World]:
    """Remove what a test leaves."""
    yield world
    for path in world.folder.iterdir():
        if path.name not in ("target", "source", "bins.npz", "expected"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def start(world: World, *arguments: object, **variables: str) -> subprocess.Popen:
    """Start ``sjft`` in the world's folder."""
    return processes.start(*processes.SJFT, *arguments, cwd=world.folder, **variables)


def test_parts_side_by_side_under_clocks_that_differ(clean: World) -> None:
    world = clean
    command = world.command("out", "--shard-size", 400)
    assert "holds no plan.json" in world.sjft("merge", "out", status=2)
    zones = {1: "Pacific/Kiritimati", 2: "Etc/GMT+12"}
    runs = [start(world, *command, "--shard", f"{i}/3", TZ=zone) for i, zone in zones.items()]
    outputs = [run.communicate(timeout=600)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert "2 of all 7 shards are left" in "".join(outputs)
    missing = world.sjft("merge", "out", status=2).splitlines()[-1]
    assert "part 3 of 3 is not done yet" in missing
    for number, path in enumerate(sorted((world.folder / ".out.work").iterdir())):
        os.utime(path, (number * 10**8, number * 10**8))
    last = world.sjft(*command, "--shard", "3/3").splitlines()[-1]
    assert "part 3 of 3 is done; all 7 shards are there: 'sjft merge out' joins them" in last
    assert "5 neighbours for each of 6 images" in world.sjft("merge", "out")
    assert world.content("out") == world.content("expected")
    assert "nothing to join: the output out is there" in world.sjft("merge", "out", status=2)
    assert world.debris() == []


def test_a_run_goes_on_with_the_shards_of_parts(clean: World) -> None:
    world = clean
    world.sjft(*world.command("out", "--shard", "2/2"))
    stats = json.loads((world.folder / ".out.work" / "shard-00001.json").read_text())
    assert (stats["start"], stats["stop"], stats["images"], stats["bad"]) == (1250, 2500, 1250, [])
    output = world.sjft(*world.command("out"))
    assert "shards of 1250" in output and "1250/2500" in output
    assert "goes on: 1 of 2 shards are done" in output
    assert world.content("out") == world.content("expected")


def test_damaged_and_foreign_shards_are_done_anew(clean: World) -> None:
    world = clean
    work = world.folder / ".out.work"
    command = world.command("out", "--shard-size", 400)
    world.sjft(*command, "--shard", "1/1")
    other = world.command("other", "--shard-size", 400, k=6)
    world.sjft(*other, "--shard", "1/1")
    shard = (work / "shard-00000.npz").read_bytes()
    (work / "shard-00000.npz").write_bytes(shard[:-1])
    (work / "shard-00001.npz").write_bytes(shard)
    for suffix in ("npz", "json"):
        shutil.copy(world.folder / ".other.work" / f"shard-00002.{suffix}", work)
        shutil.copy(work / f"shard-00004.{suffix}", work / f"shard-00003.{suffix}")
    (work / "shard-00004.json").write_text("[1, 2")
    (work / "shard-00005.npz").unlink()
    (work / ".shard-00006.npz.elsewhere.1.partial").write_text("half")
    merged = world.sjft("merge", "out", "--max-bad-images", 0, status=2)
    assert "part 1 of 1 is not done yet" in merged
    assert "100/2500" in world.sjft(*command)
    assert world.content("out") == world.content("expected")
    assert world.debris() == [".other.work"]


@pytest.mark.parametrize("damaged", ["targets.npy", "limits.npy", "prepared.json"])
def test_damaged_preparations_are_made_anew(damaged: str, clean: World) -> None:
    world = clean
    world.sjft(*world.command("out", "--shard", "1/2"))
    path = world.folder / ".out.work" / damaged
    path.write_bytes(path.read_bytes()[:-1])
    world.sjft(*world.command("out"))
    assert world.content("out") == world.content("expected")


def test_other_inputs_and_options_are_refused(clean: World) -> None:
    world = clean
    world.sjft(*world.command("out", "--shard-size", 2000, "--shard", "1/2"))
    (world.folder / "none").write_text(
        "sjft exclusions 1 "
        + json.loads((world.folder / "source" / "sjft.json").read_text())["fingerprint"]
        + "\n0000000007\n"
    )
    write_image_lmdb(
        world.folder / "source2", [draw_image(i, 16, 16) for i in range(2500)], [0] * 2500
    )
    world.sjft("fit-bins", "target", "bins2.npz", "--bank", "gabor", "--bins", 9, "--resize", 8)
    before = sorted(path.name for path in (world.folder / ".out.work").iterdir())
    changes: dict[str, list[object]] = {
        "another --k (5, now 6)": world.command("out", k=6),
        "another --shard-size (2000, now 100)": world.command("out", "--shard-size", 100),
        "another source LMDB": ["source2" if a == "source" else a for a in world.command("out")],
        "another --bins-file": [
            "bins2.npz" if a == "bins.npz" else a for a in world.command("out")
        ],
        "another --exclude": world.command("out", "--exclude", "none"),
    }
    for message, command in changes.items():
        line = world.sjft(*command, status=2).splitlines()[-1]
        assert f"holds unfinished work with {message}" in line
        assert "give the same as before, another output, or --force to start over" in line
        assert sorted(path.name for path in (world.folder / ".out.work").iterdir()) == before
    plan = world.folder / ".out.work" / "plan.json"
    text = plan.read_text()
    plan.write_text(text.replace("sjft retrieval 1", "sjft retrieval 0"))
    assert "its format is 'sjft retrieval 0'" in world.sjft(*world.command("out"), status=2)
    plan.write_text(text)
    world.sjft(*world.command("out", "--force", k=6))
    assert json.loads(world.content("out")["sjft.json"])["k"] == 6
    assert world.debris() == []


def test_force_goes_on_with_a_run_that_is_to_replace_an_output(clean: World) -> None:
    world = clean
    world.sjft(*world.command("out", k=6))
    line = world.sjft(*world.command("out"), status=2).splitlines()[-1]
    assert "the output out exists: give --force to replace it" in line
    with stopped_in_mid_run(world, 3, *world.command("out", "--force", "--shard-size", 20)):
        pass  # and it is killed
    assert json.loads(world.content("out")["sjft.json"])["k"] == 6
    assert "exists: give --force" in world.sjft(*world.command("out"), status=2)
    output = world.sjft(*world.command("out", "--force", "--shard-size", 20))
    assert f"{3 * 20}/2500" in output
    assert world.content("out") == world.content("expected")


def test_two_runs_at_once_are_kept_apart(clean: World) -> None:
    world = clean
    with stopped_in_mid_run(world, 1, *world.command("out", "--shard-size", 20)) as run:
        for command in (
            world.command("out"),
            world.command("out", "--shard", "1/2"),
            ["merge", "out"],
        ):
            line = world.sjft(*command, status=2).splitlines()[-1]
            assert "another run is working on out in" in line and "wait for it to end" in line
        run.send_signal(signal.SIGCONT)
        printed = run.communicate(timeout=600)[0]
    assert run.returncode == 0, printed
    part = world.command("part", "--shard-size", 20, "--shard", "1/2")
    with stopped_in_mid_run(world, 1, *part) as run:
        assert "another run is doing part-1-of-2" in world.sjft(*part, status=2)
        world.sjft(*part[:-1], "2/2")
        assert "another run is working on part" in world.sjft("merge", "part", status=2)
        run.send_signal(signal.SIGCONT)
        printed = run.communicate(timeout=600)[0]
    assert run.returncode == 0, printed
    world.sjft("merge", "part")
    assert world.content("part") == world.content("out") == world.content("expected")


def test_a_work_folder_of_ones_own(clean: World, tmp_path: Path) -> None:
    world = clean
    command = world.command("out", "--work", tmp_path / "deep" / "work")
    last = world.sjft(*command, "--shard", "1/1").splitlines()[-1]
    assert f"'sjft merge out --work {tmp_path}/deep/work' joins them" in last
    assert world.debris() == []
    (tmp_path / "deep" / "work" / "thesis.tex").write_text("")
    assert "holds 'thesis.tex'" in world.sjft(*command, status=2)
    (tmp_path / "deep" / "work" / "thesis.tex").unlink()
    assert "holds no plan.json" in world.sjft("merge", "out", "--work", tmp_path, status=2)
    world.sjft("merge", "out", "--work", tmp_path / "deep" / "work")
    assert world.content("out") == world.content("expected")
    assert not list((tmp_path / "deep").iterdir())


@pytest.mark.parametrize("work", ["out", "out/work", "./out/../out"])
def test_a_work_folder_in_the_output_is_refused_at_once(work: str, clean: World) -> None:
    line = clean.sjft(*clean.command("out", "--work", work), status=2).splitlines()[-1]
    assert f"the work folder {work} is the output or lies in it: expected another --work" in line
    assert not (clean.folder / "out").exists()


def test_a_run_that_computes_otherwise_does_no_shards(clean: World) -> None:
    """As with other versions, or another kind of processor, it would: here the first run has."""
    world = clean
    world.sjft(*world.command("out", "--shard", "1/2"))
    work = world.folder / ".out.work"
    targets = np.load(work / "targets.npy")
    targets[2] = targets[2, ::-1]
    np.save(work / "targets.npy", targets)
    about = json.loads((work / "prepared.json").read_text())
    about["targets"] = array_checksum(targets)
    (work / "prepared.json").write_text(json.dumps(about))
    before = sorted(path.name for path in work.iterdir())
    for part in ("2/2", "1/2"):
        line = world.sjft(*world.command("out", "--shard", part), status=2).splitlines()[-1]
        assert "computes other descriptors than the run that began" in line
        assert "processors of the same kind, or another --work" in line
    assert sorted(path.name for path in work.iterdir()) == before


def test_a_part_says_for_what_it_waits(clean: World) -> None:
    world = clean
    work = world.folder / ".out.work"
    work.mkdir()
    with open(work / "plan.lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with processes.killed_at_last(start(world, *world.command("out", "--shard", "1/1"))) as run:
            assert run.stdout is not None
            wanted = f"waits for another run that does the plan of {work}"
            assert any(wanted in line for line in run.stdout)
            fcntl.flock(stream, fcntl.LOCK_UN)
            assert "part 1 of 1 is done" in run.stdout.read()
    assert run.returncode == 0


def test_shards_hold_what_their_stats_say(clean: World) -> None:
    world = clean
    world.sjft(*world.command("out", "--shard-size", 400, "--shard", "1/1"))
    work = world.folder / ".out.work"
    images = candidates = 0
    for path in sorted(work.glob("shard-*.json")):
        stats = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz")) as stored:
            arrays = {name: stored[name] for name in stored.files}
        assert stats.keys() <= keys_in_tables("Work folder of a retrieval")
        assert set(arrays) == {"targets", "sources", "distances"}
        assert [arrays[n].dtype for n in ("targets", "sources", "distances")] == ["i4", "i8", "f8"]
        assert (arrays["sources"] >= stats["start"]).all()
        assert (arrays["sources"] < stats["stop"]).all()
        assert stats["candidates"] == len(arrays["targets"])
        assert stats["seconds"] > 0 and stats["images_per_second"] > 0
        images += stats["images"]
        candidates += stats["candidates"]
    assert images == 2500
    # Limits keep the candidates few: without them each shard would have its 5 for every target.
    assert 5 * 6 <= candidates < 7 * 5 * 6
