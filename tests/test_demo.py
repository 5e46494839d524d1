"""The demo from end to end on few images, and what it does when something is in the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from conftest import run_sjft
from sjft.image_lmdb import ImageLmdb
from sjft_tools.demo import report, steps
from sjft_tools.demo.runner import write_random_neighbours
from sjft_tools.demo.training import RANDOM, SELECTIVE, plan
from sjft_tools.demo.workspace import Workspace
from sjft_tools.nets.demo import TASK, Demo

SHORT = ["--iterations", "3", "--glyphs", "4", "--k", "320", "--per-class", "3"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which a short demo with two seeds ran, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_sjft("demo", *SHORT, "--seeds", "2", cwd=folder)


def test_prints_commands_and_comparison(finished: tuple[Path, str]) -> None:
    _, printed = finished
    for command in (
        "$ sjft convert folder build/demo/images/target_train data/target_train_lmdb --force",
        "$ sjft fit-bins data/target_train_lmdb build/demo/bins.npz --bank gabor --force",
        "$ sjft retrieve data/target_train_lmdb data/source_lmdb data/neighbors_lmdb",
        "$ sjft gallery data/neighbors_lmdb build/demo/gallery.png",
        "$ OPENBLAS_NUM_THREADS=1 caffe train -solver build/demo/nets/joint/joint_solver.prototxt",
        "$ OPENBLAS_NUM_THREADS=1 caffe train -solver"
        " build/demo/seed_2/nets/target_only/target_only_solver.prototxt",
        "$ sjft evaluate build/demo/nets/joint/deploy.prototxt"
        " build/demo/joint_iter_3.caffemodel data/target_test_lmdb",
    ):
        assert command in printed
    for heading in ("target only", "selective joint", "gain", "mean"):
        assert heading in printed


def test_leaves_data_bases_gallery_logs_and_summary(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    counts = {"target_train": 30, "target_test": 1767, "source": 384}
    for name, count in counts.items():
        assert len(ImageLmdb(str(folder / "data" / f"{name}_lmdb"))) == count
    out = folder / "build/demo"
    assert cv2.imread(str(out / "gallery.png")).shape[1] > 300
    assert "Optimization Done" in (out / "logs/train_joint.log").read_text()
    found = json.loads((out / "summary.json").read_text())
    assert [seed["seed"] for seed in found["seeds"]] == [1, 2]
    assert set(found["accuracy"]) == {"target_only", "joint"}
    for seed in found["seeds"]:
        assert all(0 <= value <= 1 for value in seed["accuracy"].values())
        scores = out / ("" if seed["seed"] == 1 else "seed_2") / "joint_scores.json"
        assert json.loads(scores.read_text())["top1"] == seed["accuracy"]["joint"]


def test_retrieval_prefers_glyphs_where_chance_does_not(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = finished
    work = Workspace(folder / "data", tmp_path, folder / "data/source_lmdb")
    assert report.glyph_share(work.paths.neighbours, work.paths.source, k0=50) > 0.9
    write_random_neighbours(work, k=320, seed=1)
    assert 0.4 < report.glyph_share(work.random_neighbours, work.paths.source, k0=320) < 0.6
    joint = plan(RANDOM, work, Demo())
    net = joint.solver.with_name("joint_train_val.prototxt").read_text()
    assert work.random_neighbours in net
    assert work.paths.neighbours not in net


def test_seeds_choose_other_targets_from_the_same_source(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    second = folder / "build/demo/seed_2/data"
    first_train = ImageLmdb(str(folder / "data/target_train_lmdb"))
    assert ImageLmdb(str(second / "target_train_lmdb")).fingerprint != first_train.fingerprint
    assert not (second / "source_lmdb").exists()


def test_runs_again_after_kill_at_any_moment(finished: tuple[Path, str], tmp_path: Path) -> None:
    """A second run starts from a finished demo's files, is killed, and a third one ends well."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    command = [sys.executable, "-m", "sjft_tools.cli", "demo", *SHORT, "--seed", "2"]
    for marker in ("$ sjft convert folder build/demo/images/source", "$ sjft retrieve"):
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            while marker not in (line := process.stdout.readline()):
                assert line, f"the demo ended before '{marker}'"
            time.sleep(0.3)
            process.kill()
    run_sjft("demo", *SHORT, "--seed", "2", cwd=tmp_path)
    (seed,) = json.loads((tmp_path / "build/demo/summary.json").read_text())["seeds"]
    assert seed["seed"] == 2


def test_a_killed_demo_leaves_no_command_running(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sjft_tools.demo import steps\n"
        "steps.run(['sh', '-c', 'echo $$ > pid; exec sleep 100'], Path('log'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    pid = tmp_path / "pid"
    _wait_for(lambda: pid.exists() and pid.read_text().strip() != "")
    process.kill()
    process.wait()
    child = int(pid.read_text())
    _wait_for(lambda: not _runs(child))


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "name", ["target_train_lmdb", "target_test_lmdb", "source_lmdb", "neighbors_lmdb"]
)
def test_refuses_to_replace_a_users_data_base(
    make_lmdb: Callable[..., str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "data").mkdir()
    own = make_lmdb(f"data/{name}", count=6)
    before = {path: path.read_bytes() for path in Path(own).iterdir()}
    printed = run_sjft("demo", *SHORT, cwd=tmp_path, status=2)
    assert f"sjft demo: error: data/{name} was not made by the demo: move it away" in printed
    assert {path: path.read_bytes() for path in Path(own).iterdir()} == before
    assert not (tmp_path / "build").exists()


def test_refuses_a_folder_that_holds_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("precious")
    printed = run_sjft("demo", *SHORT, "--out", "mine", cwd=tmp_path, status=2)
    assert "error: the folder mine holds files that the demo did not make" in printed
    assert os.listdir(tmp_path) == ["mine"]


def test_a_failing_command_is_named_with_its_log(tmp_path: Path) -> None:
    printed = run_sjft("demo", *SHORT, "--k", "999", cwd=tmp_path, status=2)
    assert (
        "sjft demo: error: the command 'sjft retrieve data/target_train_lmdb data/source_lmdb"
        " data/neighbors_lmdb --bins-file build/demo/bins.npz --k 999' gave status 2; its log"
        " build/demo/logs/retrieve.log ends with:\n"
    ) in printed
    assert "384" in printed.split("ends with:")[1]
    assert not (tmp_path / "data/neighbors_lmdb").exists()


def test_a_command_ended_by_a_signal_is_named(tmp_path: Path) -> None:
    words = ["sh", "-c", f"echo before; kill -{int(signal.SIGABRT)} $$"]
    with pytest.raises(steps.StepFailed) as caught:
        steps.run(words, tmp_path / "step.log")
    assert "was ended by SIGABRT" in str(caught.value)
    assert str(caught.value).endswith("step.log ends with:\n  before")


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        steps.InputError, match=r"no program 'caffe' on the PATH: run '\. \./env.sh'"
    ):
        steps.run(["caffe", "train"], tmp_path / "step.log")


def test_default_settings_train_with_the_committed_files() -> None:
    work = Workspace(Path("data"), Path("build/demo"), Path("data/source_lmdb"))
    assert plan(SELECTIVE, work, Demo()).solver == Path("prototxt/demo/joint_solver.prototxt")
    assert TASK.source_classes == 64


def test_table_shows_each_seed_then_mean_and_deviation() -> None:
    results = [
        report.SeedResult(seed, share, {"target_only": base, "joint": base + gain}, {})
        for seed, share, base, gain in [(1, 0.99, 0.8, 0.1), (2, 0.97, 0.9, 0.02)]
    ]
    lines = report.table(results, {"target_only": "target only", "joint": "selective joint"})
    assert [line.split() for line in lines.splitlines()[1:]] == [
        ["1", "80.0", "%", "90.0", "%", "+10.0", "99.0", "%"],
        ["2", "90.0", "%", "92.0", "%", "+2.0", "97.0", "%"],
        ["mean", "85.0", "%", "91.0", "%", "+6.0", "98.0", "%"],
        ["sd", "7.1", "1.4", "5.7", "1.4"],
    ]
