"""What ``sjft run`` finds before its first step: in the file, the nets, the weights, the data."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import caffe
from conftest import REPO, draw_image, write_image_lmdb
from digits_run import experiment, write
from sjft.errors import InputError
from sjft_tools.experiment import net_trial
from sjft_tools.experiment.net_checks import check_nets, known_labels
from sjft_tools.experiment.net_trial import NetFacts, keep_facts
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.run_folder import begun_in, claim_run_folder, spelled
from sjft_tools.experiment.settings import read_experiment
from sjft_tools.experiment.validation import validate

SOLVER = "prototxt/demo/joint_solver.prototxt"
NET = "prototxt/demo/joint_train_val.prototxt"
DEPLOY = "prototxt/demo/deploy.prototxt"


@pytest.fixture
def content(digit_images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The experiment on digits, to be spoilt; paths are seen from the checkout."""
    monkeypatch.chdir(REPO)
    return experiment(digit_images)


def checked(folder: Path, content: dict[str, Any]) -> NetFacts:
    path = str(write(folder, content))
    return validate(Plan(read_experiment(path), str(folder / "run")), path)


def refusal(folder: Path, content: dict[str, Any]) -> str:
    with pytest.raises(InputError) as refused:
        checked(folder, content)
    assert not (folder / "run").exists()
    return str(refused.value)


def altered(source: str, place: Path, *changes: tuple[str, str]) -> str:
    """Write the file `source` of the checkout with `changes` to `place`; return its path."""
    text = (REPO / source).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    place.write_text(text)
    return str(place)


def weights_of(deploy: str, place: Path, value: float = 0) -> str:
    net = caffe.Net(deploy, caffe.TEST)
    net.params["conv1"][0].data[...] = value
    net.save(str(place))
    return str(place)


def lmdb(place: Path, labels: list[int]) -> str:
    return str(write_image_lmdb(place, [draw_image(i, 36, 36) for i in range(len(labels))], labels))


# ---- the file


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


def test_banks_and_their_weights(tmp_path: Path, content: dict) -> None:
    """Found before hours of conversion."""
    content["bank"] = {"name": "alexnet"}
    assert "which the alexnet bank needs and others do without, got None" in refusal(
        tmp_path, content
    )
    other = weights_of(DEPLOY, tmp_path / "other.caffemodel")
    content["bank"] = {"name": "gabor", "weights": other}
    assert f"others do without, got '{other}' for gabor" in refusal(tmp_path, content)
    content["bank"] = {"name": "alexnet", "weights": other}
    assert f"{other} " in refusal(tmp_path, content)


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


# ---- the run folder


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


# ---- data, nets, weights


def test_what_is_well_passes(
    tmp_path: Path, content: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    content["net"]["weights"] = weights_of(DEPLOY, tmp_path / "start.caffemodel")
    facts = checked(tmp_path, content)
    assert facts.classes == {"deploy": 10}
    blobs = caffe.Net(DEPLOY, caffe.TEST).params.values()
    assert facts.weights == sum(blob.data.nbytes for layer in blobs for blob in layer)
    # kept, and known again as long as nothing changes
    plan = Plan(read_experiment(str(tmp_path / "experiment.yaml")), str(tmp_path / "run"))
    (tmp_path / "run" / "steps").mkdir(parents=True)
    keep_facts(plan, facts)
    monkeypatch.setattr(net_trial, "build", None)
    assert net_trial.net_facts(plan) == facts
    weights_of(DEPLOY, tmp_path / "start.caffemodel", 1)
    with pytest.raises(TypeError):  # it would be tried again
        net_trial.net_facts(plan)


@pytest.mark.parametrize(
    "path", sorted((REPO / "prototxt").rglob("experiment.yaml")), ids=lambda path: path.parent.name
)
def test_the_nets_of_committed_experiments_go_together(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPO)
    plan = Plan(read_experiment(str(path)), "runs/x")
    images = plan.experiment.images
    for role in [role for role, given in images.items() if isinstance(given, str)]:
        del images[role]  # an LMDB of the user's own
    labels = known_labels(plan)
    # of published sets the number of classes is known
    assert {role for role, given in images.items() if given[0] != "folder"} <= set(labels)
    check_nets(plan, labels)


def test_data_that_cannot_serve(tmp_path: Path, content: dict) -> None:
    good = lmdb(tmp_path / "good", [0, 1, 2])
    assert f"k is 60, but {good} has 3 images" in refusal(tmp_path, {**content, "source": good})
    bad = lmdb(tmp_path / "bad", [0, 10])
    message = refusal(tmp_path, {**content, "target_test": bad})
    assert f"'fc_target' has 10 outputs, but the labels of {bad} go up to 10" in message
    assert "set num_output of 'fc_target' to 11 or more" in message
    flowers = {"convert": f"flowers102 {tmp_path} --split train"}
    message = refusal(tmp_path, {**content, "target_train": flowers})
    assert "'fc_target' has 10 outputs, but the labels of flowers102 " in message


def test_solvers_that_cannot_be_adapted(tmp_path: Path, content: dict) -> None:
    content["net"]["solver"] = "prototxt/demo/target_only_solver.prototxt"
    assert "no layer of prototxt/demo/target_only_train_val.prototxt takes 'source': ex" in refusal(
        tmp_path, content
    )
    content["net"]["solver"] = altered(
        SOLVER, tmp_path / "solver.prototxt", ('lr_policy: "step"', 'lr_policy: "fixed"')
    )
    content["rounds"][2] = {**content["rounds"][2], "stepsize": 5}
    message = refusal(tmp_path, content)
    assert message.startswith("the step 'sjft adapt ") and "lr_policy of" in message


def test_snapshots_in_a_format_that_sjft_train_does_not_take(tmp_path: Path, content: dict) -> None:
    """Found before hours of retrieval."""
    content["net"]["solver"] = altered(
        SOLVER,
        tmp_path / "solver.prototxt",
        ("snapshot_prefix", "snapshot_format: HDF5 snapshot_prefix"),
    )
    assert "has snapshot_format: HDF5, of which sjft train cannot tell" in refusal(
        tmp_path, content
    )


def test_other_classes_to_test_on(tmp_path: Path, content: dict) -> None:
    for number in range(10):
        (tmp_path / "images" / f"number_{number}").mkdir(parents=True)
    content["target_test"] = {"convert": f"folder {tmp_path}/images"}
    assert refusal(tmp_path, content).startswith(
        "'target_train' and 'target_test' give their labels different class names: expected "
    )


def test_labels_beyond_the_deploy_net(tmp_path: Path, content: dict) -> None:
    """The nets agree, but the output that is scored is another layer's."""
    tail = (
        'layer { name: "few" type: "InnerProduct" bottom: "prob" top: "few"\n'
        "  inner_product_param { num_output: 7 } }\n"
    )
    net = altered(NET, tmp_path / "net.prototxt")
    Path(net).write_text(Path(net).read_text() + tail.replace('"prob"', '"fc_target"'))
    deploy = altered(DEPLOY, tmp_path / "deploy.prototxt")
    Path(deploy).write_text(Path(deploy).read_text() + tail)
    content["net"]["solver"] = altered(SOLVER, tmp_path / "solver.prototxt", (NET, net))
    content["net"]["deploy"] = deploy
    message = refusal(tmp_path, content)
    assert "'target_train': the labels of " in message
    assert f"go up to 9, but 'deploy' of section 'net', {deploy}, has 7 classes" in message


def test_deploy_nets_of_other_nets(tmp_path: Path, content: dict) -> None:
    content["net"]["deploy"] = altered(
        DEPLOY, tmp_path / "deploy.prototxt", ('name: "fc_target"', 'name: "fc"')
    )
    assert refusal(tmp_path, content).startswith(
        f"section 'net', 'deploy': the layer 'fc' of {tmp_path}/deploy.prototxt is not in {NET}"
    )
    altered(DEPLOY, tmp_path / "deploy.prototxt", ("num_output: 10 ", "num_output: 12 "))
    assert f"'fc_target' has 12 outputs in {tmp_path}/deploy.prototxt, but 10 in {NET}" in refusal(
        tmp_path, content
    )
    altered(DEPLOY, tmp_path / "deploy.prototxt", ("kernel_size: 5", "kernel_size: 500"))
    assert f"Caffe cannot build {tmp_path}/deploy.prototxt: " in refusal(tmp_path, content)


def test_dense_crops_and_their_net_go_together(tmp_path: Path, content: dict) -> None:
    dense = {**content, "evaluate": "--crops dense"}
    assert "'evaluate' has '--crops dense', but section 'net' no 'deploy_dense'" in refusal(
        tmp_path, dense
    )
    content["net"]["deploy_dense"] = DEPLOY
    message = refusal(tmp_path, content)
    assert "has a 'deploy_dense', but 'evaluate' no '--crops dense', which it is for" in message


def test_a_gpu_that_is_not_there(tmp_path: Path, content: dict) -> None:
    content["net"]["gpu"] = 63
    assert "section 'net', 'gpu': Caffe cannot use GPU 63 (" in refusal(tmp_path, content)


def test_weights_that_do_not_fit(tmp_path: Path, content: dict) -> None:
    place = tmp_path / "start.caffemodel"
    content["net"]["weights"] = str(place)
    place.write_bytes(b"no weights")
    assert "is not a .caffemodel file, expected layers with weights" in refusal(tmp_path, content)
    other = tmp_path / "other.prototxt"
    weights_of(altered(DEPLOY, other, ("num_output: 10 ", "num_output: 7 ")), place)
    message = refusal(tmp_path, content)
    assert "does not fit the layer 'fc_target', at which Caffe would end: 7 x 256 in the" in message
    assert f"{place} --fitted NEW.caffemodel' writes weights without that layer" in message
    weights_of(altered(DEPLOY, other, ('"fc_target"', '"fc_source"')), place)
    message = refusal(tmp_path, content)
    assert f"has 10 outputs for the layer 'fc_source', but {NET} 64, and Caffe would end" in message
    names = [
        (f'  name: "{name}', f'  name: "my_{name}') for name in ("conv", "bn", "sc", "res", "fc")
    ]
    net = caffe.Net(altered(DEPLOY, other, *names), caffe.TEST)
    net.save(str(place))
    assert f"has no weights for any layer of {NET}, which would all start" in refusal(
        tmp_path, content
    )
