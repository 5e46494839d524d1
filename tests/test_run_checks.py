"""What ``sjft run`` finds in the nets, the weights and the data before its first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import caffe
from conftest import REPO, draw_image, write_image_lmdb
from digits_run import experiment
from sjft_tools.experiment import net_trial
from sjft_tools.experiment.net_checks import check_nets, known_labels
from sjft_tools.experiment.net_trial import keep_facts
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.settings import read_experiment
from spoilt_runs import DEPLOY, SOLVER, checked, refusal

NET = "prototxt/demo/joint_train_val.prototxt"


@pytest.fixture
def content(digit_images: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The experiment on digits, to be spoilt; paths are seen from the checkout."""
    monkeypatch.chdir(REPO)
    return experiment(digit_images)


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
