"""What ``sjft graft`` refuses, in one sentence and before anything is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import REPO, run_sjft
from graft_nets import (
    ALEXNET_LIKE,
    GOOGLENET_LIKE,
    INPUT,
    NETS,
    SIZES,
    SQUEEZENET_LIKE,
    V1,
    graft,
    write_data_bases,
)
from sjft.errors import InputError


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory) -> Path:
    """Small data bases under their default names."""
    folder = tmp_path_factory.mktemp("graft")
    write_data_bases(folder)
    return folder


@pytest.fixture(autouse=True)
def in_data_folder(data_folder, monkeypatch):
    monkeypatch.chdir(data_folder)


NO_CLASSIFIER = 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: 'x'", "bad.prototxt has no layers: expected a net's prototxt"),
        ("layer { nonsense: 1 }", 'no field named "nonsense"'),
        (INPUT + NO_CLASSIFIER, "bad.prototxt has no classifier to graft onto: expected scores"),
        (INPUT + 'layer { type: "ReLU" }', "layer 1 of bad.prototxt has no name"),
        (INPUT + 'layer { name: "a" }', "layer 1 of bad.prototxt has no type"),
        (
            INPUT + 'layer { name: "loss" type: "SoftmaxWithLoss" top: "loss" }',
            "bad.prototxt: 'loss' reads no scores: expected bottoms",
        ),
        (
            SQUEEZENET_LIKE.replace("dim: 10 dim: 3", "dim: 10 dim: 1"),
            "the input 'data' is 10 x 1 x 32 x 32, expected N x 3 x S x S: colour images",
        ),
        (
            SQUEEZENET_LIKE.replace("dim: 32 dim: 32", "dim: 32 dim: 48"),
            "takes images of 32 x 48 pixels, expected a square: give --crop",
        ),
        (
            ALEXNET_LIKE.replace("crop_size: 40", ""),
            "bad.prototxt does not say how large its images are: give --crop",
        ),
        (
            GOOGLENET_LIKE.replace('top: "label"', 'top: "label" include { stage: "train" }', 1),
            "on 0 blobs of data (none), expected one, of images; 'data' stand only in a stage: exp",
        ),
        (
            ALEXNET_LIKE.replace("SoftmaxWithLoss", "HingeLoss"),
            "'loss' is a HingeLoss, for which the joint loss cannot stand: expected Softmax",
        ),
        (
            SQUEEZENET_LIKE.replace("global_pooling: true", "kernel_size: 3"),
            "gives 1 x 4 x 13 x 13 scores for an image of 32 x 32: expected one for each class",
        ),
        (
            ALEXNET_LIKE.replace('type: "LRN"', 'type: "Lrm"'),
            "Caffe cannot build the net grafted from bad.prototxt, for images of 40 x 40: ",
        ),
        (
            ALEXNET_LIKE.replace('"conv1"', '"target_label"'),
            "bad.prototxt has a blob 'target_label' before its classifier, and in the grafted net",
        ),
        (
            ALEXNET_LIKE.replace('name: "relu1"', 'name: "target_loss"'),
            "bad.prototxt has a layer 'target_loss' before its classifier, and in the grafted net",
        ),
    ],
)
def test_nets_that_cannot_be_grafted(data_folder, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        graft("bad", text)
    assert not (data_folder / "nets/bad").exists()


def test_fields_of_another_fork(data_folder):
    text = ALEXNET_LIKE.replace('name: "norm1"', 'name: "norm1" merged_param { a: 1 }')
    with pytest.raises(InputError, match=r'"merged_param".*take the field out if it is another'):
        graft("bad", text)
    assert not (data_folder / "nets/bad").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"\xef\xbb\xbfname: 'x'",
            "b.prototxt begins with a byte order mark, which Caffe does not",
        ),
        (b"# \xb2\xe2\nname: '\xb2\xe2'", "b.prototxt, line 2 is not UTF-8: save it in that"),
        ("name: 'x'".encode("utf-16"), "b.prototxt is not text: name a .prototxt file"),
    ],
)
def test_other_encodings(data_folder, content, message):
    Path("b.prototxt").write_bytes(content)
    assert message in run_sjft("graft", "b.prototxt", "--out-dir", "nets/b", *SIZES, status=2)
    assert not (data_folder / "nets/b").exists()


def test_auxiliary_heads_are_built_too_before_anything_is_written(data_folder):
    text = GOOGLENET_LIKE.replace('"loss1/pool" type: "Pooling"', '"loss1/pool" type: "Pulling"')
    message = r"Caffe cannot build the joint net grafted from bad\.prototxt: .*Pulling"
    with pytest.raises(InputError, match=message):
        graft("bad", text)
    assert not (data_folder / "nets/bad").exists()


def test_the_net_itself_is_not_written_over(data_folder):
    folder = data_folder / "own ö"
    folder.mkdir()
    (folder / "deploy.prototxt").write_text(SQUEEZENET_LIKE)
    said = run_sjft(
        *("graft", "deploy.prototxt", "--out-dir", ".", *SIZES, "--test-images", 8, "--force"),
        status=2,
        cwd=folder,
    )
    assert (
        "--out-dir is the folder of deploy.prototxt, over which it would write: expected another"
        in said
    )
    assert [path.name for path in folder.iterdir()] == ["deploy.prototxt"]
    assert (folder / "deploy.prototxt").read_text() == SQUEEZENET_LIKE


def test_a_mean_that_is_no_number(data_folder):
    with pytest.raises(InputError, match=r"--mean is \[nan, 1\.0, 2\.0\], expected three finite"):
        graft("bad", NETS["squeezenet"], "--mean", "nan", 1, 2)


def test_a_joint_net_is_not_grafted_again(data_folder):
    text = (REPO / "prototxt/demo/joint_train_val.prototxt").read_text()
    with pytest.raises(InputError, match="has two heads and the joint loss already"):
        graft("bad", text)


def test_several_classifiers_need_losses(data_folder):
    text = (REPO / "prototxt/nets/squeezenet/sjft_deploy_both.prototxt").read_text()
    message = r"has 2 classifiers \(fc_target, fc_source\) and no losses"
    with pytest.raises(InputError, match=message):
        graft("bad", text)


def test_old_nets_without_caffes_upgrade(data_folder, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(InputError, match="run 'upgrade_net_proto_text bad"):
        graft("bad", V1)
