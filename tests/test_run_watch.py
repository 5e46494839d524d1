"""``sjft run`` keeps an eye on the time that is left, on the disk, and on the way it is called."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import REPO, run_sjft
from digits_run import experiment, write
from sjft.errors import InputError
from sjft_tools.adapting import SOLVER_FILE
from sjft_tools.experiment.disk_space import (
    LITTLE,
    begun,
    check_room,
    converted,
    retrieved,
    scored,
    size_words,
    snapshots,
)
from sjft_tools.experiment.net_checks import check_round
from sjft_tools.experiment.net_trial import net_facts
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.settings import read_experiment
from sjft_tools.experiment.step import Marker, Step, read_markers
from sjft_tools.experiment.time_left import TimeLeft, duration
from sjft_tools.experiment.watch import Watch
from sjft_tools.net_files import caffe_messages


def step(name: str, size: int = 1) -> Step:
    return Step(name, ["true"], [], [], size=size)


def marker(seconds: float, size: int = 1) -> Marker:
    return {"seconds": seconds, "size": size}


# ---- time


def test_the_time_of_a_step() -> None:
    times = TimeLeft({"round_1_train": marker(100, 50), "round_2_train": marker(50, 25)})
    assert times.of(step("round_3_train", 200)) == 400  # 2 s for each iteration
    assert times.of(step("round_1_train", 50)) == 100  # as before
    assert times.of(step("round_1_train", 10)) == 20
    assert times.of(step("round_1_test")) is None
    assert times.of(step("retrieve")) is None
    times.learn({"round_1_test": marker(9), "retrieve": marker(1000)})
    assert times.of(step("round_3_test")) == 9
    assert times.of(step("retrieve")) == 1000
    old = TimeLeft({"retrieve": {"seconds": 5}})  # of a version that noted no size
    assert old.of(step("retrieve")) is None


def test_the_time_left_in_words() -> None:
    rest = [step("round_2_train", 600), step("round_2_test"), step("round_3_train", 600)]
    rest += [step("round_3_test"), step("curves")]
    times = TimeLeft({})
    assert times.words(rest, 0) == "time left unknown as yet"
    times.learn({"round_1_train": marker(3600, 600)})
    assert times.words(rest, 0) == "about 2 h 0 min left, and what 2 x test, curves will take"
    times.learn({"round_1_test": marker(300), "curves": marker(2)})
    assert times.words(rest, 0) == "about 2 h 10 min left"
    assert times.words(rest, 1800) == "about 1 h 40 min left"
    assert times.words(rest, 9999) == "about 1 h 10 min left"  # longer than foreseen
    assert times.words(rest[1:], 0) == "about 1 h 10 min left"


def test_durations() -> None:
    words = [duration(seconds) for seconds in (0.4, 119, 120, 3599, 3600, 7170, 360000)]
    assert words == ["0 s", "119 s", "2 min", "60 min", "1 h 0 min", "2 h 0 min", "100 h 0 min"]


def test_a_run_says_where_it_stands(undisturbed: tuple[Path, str]) -> None:
    folder, output = undisturbed
    said = [line for line in output.splitlines() if line.startswith("step ")]
    count = len(read_markers(str(folder)))
    assert len(said) == count
    assert said[0] == f"step 1 of at most {count}: 0 s gone, time left unknown as yet"
    for place, line in enumerate(said, 1):
        assert line.startswith(f"step {place} of at most {count}: ")
    assert re.search(r" (s|min) left, and what curves will take$", said[-2])
    assert set(os.listdir(folder / "logs")) == {f"{name}.log" for name in read_markers(str(folder))}


# ---- disk


def test_estimates_beside_what_was_written(
    undisturbed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(REPO)
    folder, _ = undisturbed
    plan = Plan(read_experiment(str(folder.parent / "experiment.yaml")), str(folder))
    facts = net_facts(plan)
    for number, max_iter in ((1, 9), (2, 6)):
        place = folder / f"round_{number}" / "snapshots"
        files = [path for path in place.iterdir() if "_iter_" in path.name]
        written = sum(path.stat().st_size for path in files)
        (tmp_path / "snapshots").mkdir()
        prefix = str(tmp_path / "snapshots" / f"round_{number}")
        solver = caffe_messages().SolverParameter(
            snapshot_prefix=prefix, max_iter=max_iter, snapshot=4
        )
        assert 0.9 * written < snapshots(solver, facts.weights) < 1.1 * written
        # those that are there need no more room
        for path in files:
            if "_iter_4." in path.name:
                shutil.copy(path, tmp_path / "snapshots")
                written -= path.stat().st_size
        assert 0.9 * written < snapshots(solver, facts.weights) < 1.1 * written
        shutil.rmtree(tmp_path / "snapshots")
    for kind, copies in (("SGD", 2), ("Adam", 3), ("AdaDelta", 3), ("a fork's own", 2)):
        solver = caffe_messages().SolverParameter(
            snapshot_prefix=str(tmp_path / "x"), max_iter=100, type=kind
        )
        assert snapshots(solver, 7) == copies * 7
    images = plan.experiment.images["source"]
    size = (folder / "source_lmdb" / "data.mdb").stat().st_size
    assert 0.3 * size < converted(images) <= size
    size = (folder / "neighbors_lmdb" / "data.mdb").stat().st_size
    assert 0.5 * size < retrieved(plan.lmdb("target_train"), 60)
    size = (folder / "round_1" / "test.npz").stat().st_size
    assert 0.5 * size < scored(plan.lmdb("target_test"), facts.classes["deploy"]) < 4 * size


def test_estimates_of_conversions(tmp_path: Path) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    for name, size in (("1.jpg", 1000), ("2.jpg", 500_000)):
        (tmp_path / "images" / "a" / name).write_bytes(b"x" * size)
    (tmp_path / "images" / "a" / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    folder = ["folder", str(tmp_path / "images")]
    assert converted(folder) == 501_000
    assert converted([*folder, "--resize", "100"]) == 2 * 100 * 100 // 5
    assert converted([*folder, "--resize-shorter", "60"]) == 2 * 60 * 80 // 5
    assert converted([*folder, "--resize", "9000"]) == 501_000
    assert converted(["joined", str(tmp_path / "images"), str(tmp_path / "images")]) == 1_002_000
    assert converted(["joined", str(tmp_path / "images"), "--resize", "9"]) == 0
    assert converted(["flowers102", str(tmp_path), "--split", "train"]) == 0
    sizes = (5, 2048, 3 << 20, 5 << 29, 1 << 42)
    assert [size_words(n) for n in sizes] == ["5 bytes", "2 KiB", "3.0 MiB", "2.5 GiB", "4.0 TiB"]


def test_what_unfinished_work_has_written_needs_no_more_room(tmp_path: Path) -> None:
    work = tmp_path / ".x_lmdb.work" / "output"
    work.mkdir(parents=True)
    convert = Step("convert_source", ["true"], [], [str(tmp_path / "x_lmdb")])
    assert begun(convert) == 0
    (work / "data.mdb").write_bytes(b"x" * 100_000)
    with open(work / "hole", "wb") as file:
        file.truncate(1 << 30)
    assert 100_000 <= begun(convert) < 200_000


def test_a_disk_with_too_little_room(digit_images: Path, tmp_path: Path) -> None:
    """On a small file system of its own; with more room the same command goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs leave to mount a small file system")
    try:
        check_room(step("1"), str(disk), 1 << 20)
        with pytest.raises(InputError, match=r"writes about 3\.0 MiB, but only 2\.0 MiB are free"):
            check_room(step("1"), str(disk), 3 << 20)
        words = ["run", write(tmp_path, experiment(digit_images)), "--out", disk / "run"]
        (disk / "run").mkdir()
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        output = run_sjft(*words, cwd=REPO, status=1)
        assert f"No space left on device (writing {disk}/run" in output
        (disk / "filler").unlink()
        output = run_sjft(*words, cwd=REPO, status=2)
        last = output.splitlines()[-1]
        assert last.startswith("sjft run: error: the step 'sjft convert folder ")
        needed = size_words(LITTLE + converted(["folder", str(digit_images / "train")]))
        assert f"writes about {needed}, but only " in last and f"system of {disk}/run: exp" in last
        assert not list(disk.rglob("*_lmdb")) and not list(disk.rglob("*.log"))
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        command = [sys.executable, "-m", "sjft_tools.cli", *map(str, words)]
        process = subprocess.Popen(
            command, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not (disk / "run" / "steps" / "convert_target_train.done.json").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 130
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# ---- before a round


def test_a_round_whose_source_has_too_many_classes(
    undisturbed: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Known only when the neighbours are: just before training."""
    monkeypatch.chdir(REPO)
    folder, _ = undisturbed
    solver = folder / "round_1" / SOLVER_FILE
    check_round(str(solver))
    net = folder / "round_1" / "train_val.prototxt"
    text = net.read_text()
    assert "num_output: 64" in text
    start = text.index('name: "fc_source"')
    few = text[:start] + text[start:].replace("num_output: 64", "num_output: 9", 1)
    (tmp_path / "net.prototxt").write_text(few)
    mine = tmp_path / "solver.prototxt"
    mine.write_text(solver.read_text().replace(str(net), str(tmp_path / "net.prototxt")))
    with pytest.raises(InputError, match="'fc_source' has 9 outputs, but the renumbered source"):
        check_round(str(mine))
    # and a run asks before it trains
    plan = Plan(read_experiment(str(folder.parent / "experiment.yaml")), str(folder))
    watch = Watch(plan, net_facts(plan))
    [train] = [each for each in plan.all_steps() if each.name == "round_1_train"]
    words = ["sjft", "train", str(mine), "--resume"]
    with pytest.raises(InputError, match="'fc_source' has 9 outputs"):
        watch.before(Step(train.name, words, [], [], size=9), 0, {})
    assert "about 9 s left" not in capsys.readouterr().out


# ---- how it is called


def test_however_the_run_folder_is_spelled(undisturbed: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = undisturbed
    path = folder.parent / "experiment.yaml"
    (tmp_path / "link").symlink_to(folder.parent)
    for words, cwd in (
        ((path, "--out", os.path.relpath(folder, REPO) + "/"), REPO),
        ((path, "--out", "link/run"), tmp_path),
        (("experiment.yaml", "--out", "run"), folder.parent),
    ):
        output = run_sjft("run", *words, cwd=cwd)
        assert "$ sjft" not in output
        assert (f"paths are seen from {REPO}, in which this run was begun" in output) == (
            cwd != REPO
        )
