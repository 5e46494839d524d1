"""What ``sjft run`` finds in an experiment's file, and its run folder, before the first step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import REPO
from digits_run import experiment
from sjft.errors import InputError
from sjft_tools.experiment.run_folder import begun_in, claim_run_folder, spelled
from sjft_tools.experiment.settings import read_experiment
from spoilt_runs import DEPLOY, SOLVER, checked, refusal


@pytest.fixture
def content(digit_images: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The experiment on digits, to be spoilt; paths are seen from the checkout."""
    monkeypatch.chdir(REPO)
    return experiment(digit_images)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "seed: 2\nseed: 3",
            "line 2: the key 'seed' stands twice, the first time in line 1: ex",
        ),
        ("net: {k0: 1,\n  k0: 2}", "line 2: the key 'k0' stands twice, the first time in line 1"),
        ("seed: 010", "line 1: YAML takes 010 for 8: expected a number in plain digits, or a text"),
        ("seed: 1:30", "line 1: YAML takes 1:30 for 90: expected a number in plain digits"),
        ("name: [", "is not valid YAML: while parsing a flow node"),
        ("? [a]\n: b", "line 1: a key is no word"),
        ("name: 2026-13-40", "holds a value that is none: month must be in 1..12"),
    ],
)
def test_surprises_of_yaml(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(line + "\n")
    with pytest.raises(InputError) as refused:
        read_experiment(str(path))
    assert message in str(refused.value) and str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "max_iter",
            "10k",
            "'max_iter' must be an integer from 1 to 2147483647, got '10k', with a unit: w",
        ),
        ("max_iter", "300 iterations", "got '300 iterations', with a unit: write the number alone"),
        ("base_lr", "1e-2s", "'base_lr' must be a number of at least 0, got '1e-2s', with a unit"),
        ("base_lr", "5e-4", "got '5e-4', which YAML takes for text: write 0.0005"),
        ("stepsize", "200", "got '200', which YAML takes for text: write 200"),
        ("snapshot", "often", "must be an integer from 1 to 2147483647 or null, got 'often'"),
        ("max_iter", True, "'max_iter' must be an integer from 1 to 2147483647, got True"),
        ("max_iter", 2**31, "'max_iter' must be an integer from 1 to 2147483647, got 2147483648"),
    ],
)
def test_what_is_no_number(
    tmp_path: Path, content: dict, key: str, value: Any, message: str
) -> None:
    content["rounds"][1] = {**content["rounds"][1], key: value}
    assert message in refusal(tmp_path, content)
    assert "round 2: " in refusal(tmp_path, content)


def test_paths_seen_from_another_folder(
    tmp_path: Path, content: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project" / "elsewhere").mkdir(parents=True)
    (tmp_path / "project" / "mine_lmdb").mkdir()
    monkeypatch.chdir(tmp_path / "project" / "elsewhere")
    for key in ("solver", "deploy"):
        content["net"][key] = str(REPO / content["net"][key])
    content["source"] = "mine_lmdb"
    message = refusal(tmp_path / "project", content)
    assert "mine_lmdb does not exist: 'sjft retrieve" in message
    assert message.endswith(
        f"; paths are seen from {tmp_path}/project/elsewhere, but it is in {tmp_path}/project: "
        f"give the command there"
    )
    content["net"]["deploy"] = "nowhere.prototxt"
    assert refusal(tmp_path / "project", content) == (
        f"section 'net', 'deploy': nowhere.prototxt does not exist; paths are seen from "
        f"{tmp_path}/project/elsewhere"
    )


@pytest.mark.parametrize(
    ("key", "options", "message"),
    [
        ("evaluate", "--scales 256", "--scales is for --crops dense, got --crops 1"),
        ("evaluate", "--mean 0 0 nan", "--mean is [0.0, 0.0, nan], expected three finite numbers"),
        ("harden", "--sigma0 1", "--sigma0 is 1 and --sigma1 1: expected sigma0 > sigma1"),
        ("harden", "--most 11", "--most is 11, expected levels up to 10"),
        ("harden", "--k0 20 --sigma0 9", "grow, by --k0 or since LEVELS_IN states them: expected"),
        ("evaluate", "--resize 36 --resize=30", "--resize stands twice, maybe since another key"),
        ("harden", "--delta-quantile 75", "--delta-quantile is 75.0, expected 0 to 1"),
        ("evaluate", "--force", "--force is not for an experiment, whose steps replace what they"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, content: dict, key: str, options: str, message: str
) -> None:
    """Found at once, and not after the first round."""
    content[key] = options
    refused = refusal(tmp_path, content)
    assert message in refused and f"the step 'sjft {key} " in refused


def test_one_run_does_all_shards(tmp_path: Path, content: dict) -> None:
    content["neighbours"]["options"] = "--shard 1/2"
    assert "--shard is not for an experiment, of which one run does all parts: " in refusal(
        tmp_path, content
    )


@pytest.mark.parametrize("name", ("..", "a/b", "-x", ".x", "a\0", "x" * 101))
def test_names_that_no_folder_can_have(tmp_path: Path, content: dict, name: str) -> None:
    content["name"] = name
    assert "'name' must be a name of at most 100 characters" in refusal(tmp_path, content)


def test_images_smaller_than_the_net_takes_them(tmp_path: Path, content: dict) -> None:
    for key in ("evaluate", "harden"):
        changed = {**content, key: "--resize 31"}
        assert f"'{key}': --resize 31 makes images smaller than {DEPLOY} takes them: exp" in (
            refusal(tmp_path, changed)
        )
    checked(tmp_path, {**content, "evaluate": "--resize-shorter 32"})


def test_comments_that_are_not_utf_8(tmp_path: Path, content: dict) -> None:
    """As Caffe reads them, the run does."""
    for key, path in (("deploy", DEPLOY), ("solver", SOLVER)):
        copy = tmp_path / f"{key}.prototxt"
        copy.write_bytes((REPO / path).read_bytes() + "# d\xe9j\xe0 vu\n".encode("latin-1"))
        content["net"][key] = str(copy)
    checked(tmp_path, content)


def test_what_the_run_makes_is_no_input(tmp_path: Path, content: dict) -> None:
    content["source"] = f"{tmp_path}/run/../run/target_test_lmdb/"
    assert "is in the run folder" in refusal(tmp_path, content)
    content["source"] = str(tmp_path / "run" / "target_test_lmdb")  # which a step before has made
    content["neighbours"]["options"] = "--work elsewhere"
    assert "--work is not for an experiment, whose results all lie in its run f" in refusal(
        tmp_path, content
    )


def test_a_run_folder_is_spelled_in_one_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    run = project / "runs" / "x"
    run.mkdir(parents=True)
    (tmp_path / "link").symlink_to(project / "runs")
    monkeypatch.chdir(project)
    assert begun_in("runs/x") == str(project)
    claim_run_folder("runs/x", "x")
    spellings = ["runs/x", "./runs/x/", str(run), "../link/x"]
    assert {spelled(path, begun_in(path)) for path in spellings} == {"runs/x"}
    monkeypatch.chdir(tmp_path)
    for path in ("project/runs/x", str(run), "link/x/"):
        assert begun_in(path) == str(project) and spelled(path, begun_in(path)) == "runs/x"
    # moved together it is the same run
    monkeypatch.chdir(project)
    os.rename(project, tmp_path / "moved")
    assert begun_in(str(tmp_path / "moved" / "runs" / "x")) == str(tmp_path / "moved")
    # outside of where it is begun it has one name as well
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(tmp_path / "moved")
    claim_run_folder("../other", "x")
    monkeypatch.chdir(tmp_path)
    assert begun_in("other") == str(tmp_path / "moved")
    assert spelled("other", begun_in("other")) == str(other)
    # a folder that is gone is none to go to
    shutil.rmtree(tmp_path / "moved")
    assert begun_in("other") == str(tmp_path)
