"""``sjft run``: three rounds on few digits, from images to report; and with bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import REPO, run_sjft
from digits_run import experiment, write
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.levels import read_levels
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.run_folder import check_run_folder, claim_run_folder
from sjft_tools.experiment.settings import read_experiment
from sjft_tools.experiment.validation import check_options


def test_rounds_go_from_images_to_a_report(undisturbed: tuple[Path, str]) -> None:
    folder, output = undisturbed
    assert "rounds: 3, the result is of round 3: every round of the experiment was" in output
    target = ImageLmdb(str(folder / "target_train_lmdb"))
    before = read_levels(None, target).levels
    for number in (1, 2):
        moves = json.loads((folder / f"round_{number}" / "moves.json").read_text())
        levels = read_levels(str(folder / f"round_{number}" / "levels.json"), target).levels
        assert moves["moved"] == (levels > before).sum() > 0
        assert levels.max() <= 3  # where 20 * level are all 60 neighbours
        net = (folder / f"round_{number + 1}" / "train_val.prototxt").read_text()
        assert f"round_{number}/levels.json" in net
        before = levels
    summary = json.loads((folder / "summary.json").read_text())
    assert [set(each) for each in summary["rounds"]] == [
        {"top1", "top5", "mean_class", "interval"}
    ] * 3
    page = (folder / "report.html").read_text()
    for words in (
        "88.1",
        "sha256:",
        "round 3 (the result)",
        "after round 2",
        "digit_7",
        "sjft harden",
        "<img",
    ):
        assert words in page


def test_the_report_is_written_once_more(undisturbed: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = undisturbed
    page = folder / "report.html"
    before = page.read_bytes()
    page.unlink()
    try:
        assert f"wrote {page}" in run_sjft("report", folder, cwd=REPO)
        assert page.read_bytes() == before
    finally:
        page.write_bytes(before)  # for the tests that read it
    output = run_sjft("report", tmp_path, status=2)
    assert "holds no finished run of 'sjft run'" in output


def test_what_is_done_is_not_done_again(undisturbed: tuple[Path, str], digit_images: Path) -> None:
    folder, _ = undisturbed
    weights = folder / "round_3" / "snapshots" / "round_3_iter_6.caffemodel"
    before = weights.stat().st_mtime_ns
    output = run_sjft("run", folder.parent / "experiment.yaml", "--out", folder, cwd=REPO)
    assert "$ sjft" not in output
    assert output.count("done  sjft") == 3 + 4 + 3 * 4 + 2 + 1
    assert weights.stat().st_mtime_ns == before


def changed(images: Path, **changes: Any) -> dict[str, Any]:
    return {**experiment(images), **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neighbors": {"k": 3}}, "has the unknown key 'neighbors'; did you mean 'neighbours'?"),
        ({"rounds": []}, "'rounds' must be a list of one or more rounds"),
        ({"rounds": [{"max_iter": 5}]}, "round 1 lacks the key 'base_lr': expected a number"),
        ({"rounds": [{"max_iter": 5, "base_lr": 0}]}, "'base_lr' must be above 0"),
        ({"neighbours": {"k": 10}}, "k0 20 neighbours are to be used, but k 10"),
        ({"bank": {"name": "alexnet", "weights": "no.npz"}}, "no.npz does not exist: 'sjft fit-"),
        ({"evaluate": "--resise 36"}, "cannot work: unrecognized arguments: --resise"),
        ({"source": "nowhere_lmdb"}, "nowhere_lmdb does not exist: 'sjft retrieve"),
        ({"target_test": {"convert": "folders ."}}, "invalid choice: 'folders'"),
        ({"target_test": {"convert": "folder none"}}, "none does not exist: 'sjft convert"),
        ({"target_test": {"convert": ""}}, "'target_test': expected after 'convert' the kind of"),
        ({"target_test": {"convert": "folder --resize 36 x"}}, "the kind of set, then its place"),
        ({"evaluate": "--resize '36"}, """"--resize '36" cannot be split into words"""),
        ({"evaluate": "--help"}, "cannot work: unrecognized arguments: --help"),
        ({"harden": "--scores=x.npz"}, "--scores is not for an experiment, whose results all lie"),
        ({"rounds": [{"max_iter": 5, "base_lr": "1e-3"}]}, "takes for text: write 0.001\n"),
    ],
)
def test_bad_experiments_are_refused_at_once(
    changes: dict[str, Any], message: str, digit_images: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, changed(digit_images, **changes))
    output = run_sjft("run", path, "--out", tmp_path / "run", cwd=REPO, status=2)
    assert message in output
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_left_alone(digit_images: Path, tmp_path: Path) -> None:
    path, folder = write(tmp_path, experiment(digit_images)), tmp_path / "data"
    folder.mkdir()
    (folder / "bins.npz").write_text("somebody's")
    output = run_sjft("run", path, "--out", folder, cwd=REPO, status=2)
    assert "data holds files that no 'sjft run' has made" in output
    assert [file.name for file in folder.iterdir()] == ["bins.npz"]
    claimed = tmp_path / "run"
    claimed.mkdir()
    claim_run_folder(str(claimed), "digits")
    check_run_folder(str(claimed), "digits")
    with pytest.raises(InputError, match="is the run folder of the experiment 'digits', not of"):
        check_run_folder(str(claimed), "letters")
    (claimed / "steps" / "run.json").write_text('{"format": "sjft run 0"}')
    with pytest.raises(InputError, match="of another version of sjft: format 'sjft run 0'"):
        check_run_folder(str(claimed), "digits")
    with pytest.raises(InputError, match="is not a folder"):
        check_run_folder(str(path), "digits")


def test_joined_lmdbs_come_before_the_output(digit_images: Path, tmp_path: Path) -> None:
    joined = {"convert": "joined a_lmdb b_lmdb --resize 36"}
    plan = Plan(read_experiment(str(write(tmp_path, changed(digit_images, source=joined)))), "x")
    [step] = [step for step in plan.all_steps() if step.name == "convert_source"]
    assert step.line == "sjft convert joined a_lmdb b_lmdb x/source_lmdb --resize 36"
    assert step.inputs == ["a_lmdb", "b_lmdb"]


def test_files_among_the_options_are_inputs(digit_images: Path, tmp_path: Path) -> None:
    """A folder here that is named as another option's value is none."""
    listed = {"convert": "list tests --root tools --class-names=names.txt --on-bad docs"}
    content = changed(digit_images, source=listed)
    content["neighbours"]["options"] = "--exclude mine.txt"
    plan = Plan(read_experiment(str(write(tmp_path, content))), "x")
    inputs = {step.name: step.inputs for step in plan.all_steps()}
    assert inputs["convert_source"] == ["tests", "tools", "names.txt"]
    assert "mine.txt" in inputs["retrieve"]


def test_the_net_of_the_solver_is_an_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    plan = Plan(read_experiment("prototxt/demo/experiment.yaml"), "runs/x")
    adapts = [step for step in plan.all_steps() if step.words[1] == "adapt"]
    assert len(adapts) == 3
    for step in adapts:
        assert "prototxt/demo/joint_train_val.prototxt" in step.inputs


def test_numbers_of_neighbours_grow_from_round_to_round(digit_images: Path, tmp_path: Path) -> None:
    """What LEVELS_IN states already must not be given again; all that was retrieved is the most."""
    harden = "--resize 36 --k0 20 --sigma0 20 --sigma1 10"
    plan = Plan(read_experiment(str(write(tmp_path, changed(digit_images, harden=harden)))), "x")
    first, second = ([*plan.hardening(number).words, ""] for number in (1, 2))
    sigmas = ["--sigma0", "20", "--sigma1", "10", ""]
    assert first[-11:] == ["--most", "60", "--resize", "36", "--k0", "20", *sigmas]
    assert second[-9:] == ["--most", "60", "--resize", "36", *sigmas]
    content = changed(digit_images, harden=harden.replace("--k0 20", "--k0=20"))
    joined = Plan(read_experiment(str(write(tmp_path, content))), "x")
    assert [joined.hardening(number).words for number in (1, 2)] == [first[:-1], second[:-1]]


def with_neighbours_of(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return an experiment of one short round with the neighbours of the run in `folder`."""
    content = experiment(folder)
    del content["bank"]
    images = {
        role: str(folder / f"{role}_lmdb") for role in ("target_train", "target_test", "source")
    }
    rounds = [{"max_iter": 1, "base_lr": 0.05}]
    found = str(folder / "neighbors_lmdb")
    return {**content, **images, "rounds": rounds, "neighbours": found, "seed": 2, **changes}


def test_neighbours_of_another_run(undisturbed: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = undisturbed
    path = write(tmp_path, with_neighbours_of(folder))
    output = run_sjft("run", path, "--out", tmp_path / "run", cwd=REPO)
    steps = [line.split()[2] for line in output.splitlines() if line.startswith("$ sjft ")]
    assert steps == ["neighbours", "gallery", "adapt", "neighbours", "train", "evaluate", "plot"]
    assert (
        str(folder / "neighbors_lmdb") in (tmp_path / "run/round_1/train_val.prototxt").read_text()
    )
    page = (tmp_path / "run" / "report.html").read_text()
    assert str(folder / "neighbors_lmdb") in page
    assert "bank: name" not in page
    run_sjft("report", tmp_path / "run", cwd=REPO)


def test_images_of_neighbours_are_those_of_this_run(digit_images: Path, tmp_path: Path) -> None:
    """Which may be converted once more: the other run's may be gone."""
    content = changed(digit_images, neighbours="other/neighbors_lmdb", bank=None)
    plan = Plan(read_experiment(str(write(tmp_path, content))), "x")
    for step in plan.all_steps():
        if step.words[1] in ("neighbours", "gallery"):
            assert " --target x/target_train_lmdb --source x/source_lmdb" in step.line
            assert "other/neighbors_lmdb" in step.inputs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bank": {"name": "gabor"}}, "'bank' says how neighbours are to be found, but 'neighbo"),
        ({"leaks": ""}, "'leaks' says how neighbours are to be found, but 'neighbours' is an LMDB"),
        ({"neighbours": {"k": 60}}, "lacks the key 'bank': expected a section of keys"),
        ({"neighbours": "none_lmdb"}, "none_lmdb does not exist: 'sjft neighbours"),
        ({"net": {"k0": 61}}, "k0 61 neighbours are to be used, but 'neighbours', "),
        ({"source": "target_test"}, "is of other source images than 'source', "),
    ],
)
def test_neighbours_of_another_run_that_cannot_serve(
    undisturbed: tuple[Path, str], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder, _ = undisturbed
    content = with_neighbours_of(folder)
    net = {**content["net"], **changes.get("net", {})}
    content = {**content, **changes, "net": net}
    if content["source"] == "target_test":
        content["source"] = content["target_test"]
    output = run_sjft(
        "run", write(tmp_path, content), "--out", tmp_path / "run", cwd=REPO, status=2
    )
    assert message in output
    assert not (tmp_path / "run").exists()


def commands_with(net: Path, tmp_path: Path, **changes: Any) -> dict[str, str]:
    """Return step -> command of an experiment on `net`."""
    solver = tmp_path / "solver.prototxt"
    solver.write_text(f'net: "{net}" snapshot_prefix: "x" lr_policy: "step"')
    content = changed(tmp_path, **{"evaluate": "", "harden": "", **changes})
    content["net"]["solver"] = str(solver)
    plan = Plan(read_experiment(str(write(tmp_path, content))), str(tmp_path / "run"))
    return {step.name: step.line for step in plan.all_steps()}


def test_images_are_tested_as_the_net_tests_them(tmp_path: Path) -> None:
    """By its mean and its size, but of no size where the published one belongs to the crop."""
    text = (REPO / "prototxt" / "demo" / "joint_train_val.prototxt").read_text()
    net = tmp_path / "net.prototxt"
    net.write_text(text.replace("[104, 117, 123]", "[103.94, 116.78, 0]"))
    found = commands_with(net, tmp_path)
    for step in ("round_2_test", "round_2_harden"):
        assert found[step].endswith(" --resize 36 --mean 103.94 116.78 0")
    given = "--resize-shorter 40 --mean 1 2 3"
    found = commands_with(net, tmp_path, evaluate=given, harden=given)
    for step in ("round_2_test", "round_2_harden"):
        assert found[step].endswith(f" {given}")
        assert found[step].count("--resize") == found[step].count("--mean") == 1
    found = commands_with(net, tmp_path, evaluate="--crops dense")
    assert found["round_1_test"].endswith(" --mean 103.94 116.78 0 --crops dense")
    found = commands_with(REPO / "prototxt" / "sjft_train_val.prototxt", tmp_path)
    assert "--resize" not in found["round_1_test"] + found["round_1_harden"]
    assert "--mean" not in found["round_1_test"] + found["round_1_harden"]


def test_the_selection_is_counted_as_the_net_makes_it(tmp_path: Path) -> None:
    text = (REPO / "prototxt" / "demo" / "joint_train_val.prototxt").read_text()
    for least in (0, 25):
        net = tmp_path / "net.prototxt"
        net.write_text(
            text.replace('"min_source_per_class": 0', f'"min_source_per_class": {least}')
        )
        for step in ("round_1_selection", "round_2_selection"):
            assert f" --min-source-per-class {least} " in commands_with(net, tmp_path)[step]


def test_a_dry_run_prints_commands_and_does_nothing(digit_images: Path, tmp_path: Path) -> None:
    path = write(tmp_path, experiment(digit_images))
    output = run_sjft("run", path, "--out", tmp_path / "run", "--dry-run", cwd=REPO)
    assert not (tmp_path / "run").exists()
    commands = [line.split()[1] for line in output.splitlines() if line.startswith("sjft ")][1:]
    assert commands[:7] == [*["convert"] * 3, "fit-bins", "retrieve", "neighbours", "gallery"]
    assert commands[7:] == [
        *["adapt", "neighbours", "train", "evaluate", "harden"] * 2,
        *["adapt", "neighbours", "train", "evaluate", "plot"],
    ]


@pytest.mark.parametrize(
    "path", sorted((REPO / "prototxt").rglob("experiment.yaml")), ids=lambda path: path.parent.name
)
def test_committed_experiments_can_be_read_and_typed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPO)
    plan = Plan(read_experiment(str(path)), "runs/x")
    check_options(plan)
    for file in (plan.experiment.net["solver"], plan.experiment.net["deploy"]):
        assert Path(file).is_file()
