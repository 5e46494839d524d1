"""The demo from end to end on few images, and what it does when something is in the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import pytest

from conftest import REPO, run_sjft
from processes import SJFT
from sjft.image_lmdb import ImageLmdb
from sjft.levels import read_levels
from sjft_tools.demo import report, trainings
from sjft_tools.demo.runner import MARK, claim, empty
from sjft_tools.demo.settings import EXPERIMENT, Settings, experiment_file
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.settings import read_experiment
from sjft_tools.nets.demo import DEMO, TASK

# So short a training leaves digits that are wrong; levels can grow to 5, for two rounds of growth.
SHORT = ["--iterations", "14", "--glyphs", "16", "--k", "1500"]
DEFAULT = Settings(*(Path("build/demo"), 1, 1, 2000, 3, 200, 900), with_random=False, force=False)


def prepared(folder: Path) -> Path:
    """Return `folder`, in which the demo finds its nets and its experiment as in a checkout."""
    shutil.copytree(REPO / "prototxt/demo", folder / "prototxt/demo")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which a short demo with two seeds ran, killed on its way, and all it printed."""
    folder = prepared(tmp_path_factory.mktemp("demo"))
    command = [*SJFT, "demo", *SHORT, "--seeds", "2"]
    printed = ""
    for marker in ("$ sjft retrieve", "$ sjft harden", "target_only/solver.prototxt"):
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            line = ""
            while marker not in line:
                line = process.stdout.readline()
                assert line, f"the demo ended before '{marker}'"
                printed += line
            time.sleep(0.3)
            process.kill()
    return folder, printed + run_sjft("demo", *SHORT, "--seeds", "2", cwd=folder)


def test_prints_commands_and_comparison(finished: tuple[Path, str]) -> None:
    _, printed = finished
    for command in (
        "$ sjft run build/demo/experiment.yaml --out build/demo/run",
        "$ sjft convert folder build/demo/images/target_train build/demo/run/target_train_lmdb",
        "$ sjft retrieve build/demo/run/target_train_lmdb build/demo/run/source_lmdb",
        "$ sjft train build/demo/run/round_3/solver.prototxt --weights build/demo/run/round_2/",
        "$ sjft train build/demo/target_only/solver.prototxt --resume",
        "$ sjft run build/demo/seed_2/experiment.yaml --out build/demo/seed_2/run",
        "$ sjft train build/demo/seed_2/unhardened/round_3/solver.prototxt --weights"
        " build/demo/seed_2/unhardened/round_2/",
    ):
        assert command in printed
    for heading in ("target only", "selective joint, round 1", "after the rounds", "gain", "mean"):
        assert heading in printed
    assert "round 3  without hard samples  difference" in printed
    assert printed.endswith("\nreport: build/demo/run/report.html\n")


def test_leaves_the_run_and_its_summary(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    out = folder / "build/demo"
    counts = {"target_train": 30, "target_test": 1767, "source": 1536}
    for name, count in counts.items():
        assert len(ImageLmdb(str(out / "run" / f"{name}_lmdb"))) == count
    gallery = cv2.imread(str(out / "run/gallery.png"))
    assert gallery is not None and gallery.shape[1] > 300
    assert "round 3" in (out / "run/report.html").read_text()
    found = json.loads((out / "summary.json").read_text())
    assert [seed["seed"] for seed in found["seeds"]] == [1, 2]
    for seed, place in zip(found["seeds"], (out, out / "seed_2")):
        assert set(seed["others"]) == {"target_only", "unhardened_2", "unhardened_3"}
        assert len(seed["rounds"]) == 3
        scores = json.loads((place / "run/round_3/test.json").read_text())
        assert scores["top1"] == seed["rounds"][2]
        scores = json.loads((place / "unhardened/round_3/test.json").read_text())
        assert scores["top1"] == seed["others"]["unhardened_3"]


def test_rounds_and_their_control_differ_in_levels_alone(finished: tuple[Path, str]) -> None:
    out = finished[0] / "build/demo"
    target = ImageLmdb(str(out / "run/target_train_lmdb"))
    for number in (2, 3):
        levels = f"build/demo/run/round_{number - 1}/levels.json"
        assert read_levels(str(finished[0] / levels), target).levels.max() > 1
        hard, same = (
            _layer_parameters(out / way / f"round_{number}/train_val.prototxt")
            for way in ("run", "unhardened")
        )
        assert hard == [{**same[0], "levels": levels}, same[1]]


def _layer_parameters(net: Path) -> list[dict[str, object]]:
    """Return the parameters of the data layers, TRAIN's first."""
    lines = [line for line in net.read_text().splitlines() if "param_str" in line]
    return [json.loads(json.loads(line.split("param_str: ")[1])) for line in lines[:2]]


def test_retrieval_prefers_glyphs_where_chance_does_not(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    run = finished[0] / "build/demo/run"
    target, source = str(run / "target_train_lmdb"), str(run / "source_lmdb")
    assert report.glyph_share(str(run / "neighbors_lmdb"), source, k0=50) > 0.9
    drawn = tmp_path / "drawn_lmdb"
    run_sjft("random-neighbours", target, source, drawn, "--k", "300", "--seed", "1")
    assert 0.4 < report.glyph_share(str(drawn), source, k0=300) < 0.6


def test_seeds_choose_other_targets_from_the_same_source(finished: tuple[Path, str]) -> None:
    out = finished[0] / "build/demo"
    first, second = (
        ImageLmdb(str(place / "run/target_train_lmdb")).fingerprint
        for place in (out, out / "seed_2")
    )
    assert first != second
    assert not (out / "seed_2/run/source_lmdb").exists()


def test_what_is_done_is_not_done_again(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    assert "done  sjft run build/demo/experiment.yaml --out build/demo/run" in printed
    summary = folder / "build/demo/summary.json"
    before = json.loads(summary.read_text())
    again = run_sjft("demo", *SHORT, "--seeds", "2", cwd=folder)
    assert "\n$ sjft" not in again
    assert json.loads(summary.read_text())["seeds"] == before["seeds"]


def test_refuses_a_folder_that_holds_other_files(tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("precious")
    for force in ([], ["--force"]):
        printed = run_sjft("demo", *SHORT, "--out", "mine", *force, cwd=tmp_path, status=2)
        assert "error: the folder mine holds files that the demo did not make" in printed
        assert os.listdir(tmp_path / "mine") == ["thesis.tex"]


def test_force_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "build/demo"
    claim(out)
    (out / "run").mkdir()
    (out / "summary.json").touch()
    empty(out)
    assert os.listdir(out) == [MARK]


def test_outside_a_checkout_it_says_so(tmp_path: Path) -> None:
    printed = run_sjft("demo", *SHORT, cwd=tmp_path, status=2)
    assert f"there is no {EXPERIMENT} here: start the demo in a checkout of sjft" in printed


def test_a_failing_command_is_named(tmp_path: Path) -> None:
    printed = run_sjft(
        *("demo", "--iterations", "3", "--glyphs", "4", "--k", "999"),
        cwd=prepared(tmp_path),
        status=2,
    )
    assert "sjft demo: error: the step 'sjft run build/demo/experiment.yaml --out" in printed
    assert "--k 999' gave status 2" in printed
    assert not (tmp_path / "build/demo/run/neighbors_lmdb").exists()


def test_default_settings_run_the_committed_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    assert experiment_file(DEFAULT, 0) == EXPERIMENT
    plan = Plan(read_experiment(EXPERIMENT), "build/demo/run")
    first, demo = plan.experiment.rounds[0], DEMO
    assert (first["max_iter"], first["base_lr"]) == (demo.max_iter, demo.base_lr)
    assert first["stepsize"] == demo.max_iter * 2 // 3
    assert plan.experiment.net["k0"] == TASK.k0
    for role, path in (
        ("target_train", TASK.paths.target),
        ("target_test", TASK.paths.target_test),
        ("source", TASK.paths.source),
    ):
        assert plan.lmdb(role) == path
    assert plan.file("neighbors_lmdb") == TASK.paths.neighbours


def test_random_joint_training_reads_the_drawn_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    plan = Plan(read_experiment(EXPERIMENT), "build/demo/run")
    training = trainings.random_joint(plan, "build/demo/random_joint")
    draw = trainings.draw_neighbours(plan, training)
    drawn = "build/demo/random_joint/neighbors_lmdb"
    assert draw.outputs == [drawn] and "300" in draw.words
    adapt, train, _ = trainings.steps(plan, training)
    assert drawn in adapt.words and drawn in train.inputs
    assert plan.file("neighbors_lmdb") not in [*adapt.words, *train.inputs]


def test_tables_show_each_seed_then_mean_and_deviation() -> None:
    others = [
        {"target_only": alone, "unhardened_2": second, "unhardened_3": third}
        for alone, second, third in ((0.7, 0.88, 0.93), (0.9, 0.9, 0.91))
    ]
    # with the second seed, the rounds ended after the second
    results = [
        report.SeedResult(1, 0.99, [0.8, 0.9, 0.92], others[0]),
        report.SeedResult(2, 0.97, [0.9, 0.94], others[1]),
    ]
    assert [line.split() for line in report.comparison(results).splitlines()[1:]] == [
        ["1", "70.0", "%", "80.0", "%", "92.0", "%", "+22.0", "99.0", "%"],
        ["2", "90.0", "%", "90.0", "%", "94.0", "%", "+4.0", "97.0", "%"],
        ["mean", "80.0", "%", "85.0", "%", "93.0", "%", "+13.0", "98.0", "%"],
        ["sd", "14.1", "7.1", "1.4", "12.7", "1.4"],
    ]
    table = report.what_rounds_add(results).replace(" %", "")
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["1", "80.0", "90.0", "88.0", "+2.0", "92.0", "93.0", "-1.0"],
        ["2", "90.0", "94.0", "90.0", "+4.0", "94.0", "91.0", "+3.0"],
        ["mean", "85.0", "92.0", "89.0", "+3.0", "93.0", "92.0", "+1.0"],
        ["sd", "7.1", "2.8", "1.4", "1.4", "1.4", "1.4", "2.8"],
    ]
