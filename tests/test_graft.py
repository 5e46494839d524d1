"""`sjft graft`: two heads on nets of several kinds, in the real Caffe, down to a training step."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

import caffe
from conftest import REPO, SHARED, draw_image, run_sjft
from graft_nets import (
    ALEXNET_LIKE,
    CLASSIFIERS,
    GOOGLENET_LIKE,
    INPUT,
    NETS,
    SIZES,
    SQUEEZENET_LIKE,
    graft,
    write_data_bases,
)
from processes import run
from sjft.errors import InputError
from sjft_tools.net_files import read_net
from sjft_tools.netscope.rules import netscope_problems

FILES = ("joint_train_val", "target_only_train_val", "deploy", "deploy_both")
SOLVERS = ("joint_solver", "target_only_solver")


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory) -> Path:
    """Small data bases under their default names."""
    folder = tmp_path_factory.mktemp("graft")
    write_data_bases(folder)
    return folder


@pytest.fixture(autouse=True)
def in_data_folder(data_folder, monkeypatch):
    monkeypatch.chdir(data_folder)


TRAIN_STEP = """
import sys, caffe, numpy as np
folder, *layers = sys.argv[1:]
for kind in ("joint", "target_only"):
    solver = caffe.SGDSolver(f"{folder}/{kind}_solver.prototxt")
    heads = [name for name in layers if kind == "joint" or not name.endswith("_source")]
    before = {name: solver.net.params[name][0].data.copy() for name in heads}
    solver.step(1)
    for name, weights in before.items():
        change = solver.net.params[name][0].data - weights
        assert np.isfinite(change).all() and abs(change).max() > 0, (kind, name)
    test = solver.test_nets[0]
    test.forward()
    assert not [name for name in test.params if name.endswith("_source")]
    assert np.isfinite(test.blobs["target_loss"].data), kind
    assert 0 <= test.blobs["accuracy"].data <= 1, kind
"""


@pytest.mark.parametrize("name", NETS)
def test_grafted_nets_train_a_step(data_folder, name):
    output = graft(name, NETS[name])
    folder = data_folder / "nets" / name
    assert sorted(path.stem for path in folder.iterdir()) == sorted(FILES + SOLVERS)
    assert f"replaced {', '.join(CLASSIFIERS[name])};" in output
    for file in FILES:
        assert netscope_problems((folder / f"{file}.prototxt").read_text()) == []
    heads = [f"{old}_{task}" for old in CLASSIFIERS[name] for task in ("target", "source")]
    first = "a/3x3" if name == "googlenet" else "conv1"
    run(sys.executable, "-c", TRAIN_STEP, f"nets/{name}", first, *heads, cwd=data_folder)


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "squeezenet"])
def test_weights_of_the_original_load_and_compute_the_same(data_folder, name):
    """The trunk's features, from a caffemodel of the original, equal the original's own."""
    graft(name, NETS[name], "--force")
    net = text_format.Parse(NETS[name], caffe_pb2.NetParameter())
    layers = [layer for layer in net.layer if layer.type not in ("Data", "Accuracy", "Power")]
    layers = [layer for layer in layers if "Loss" not in layer.type]
    side = {"alexnet": 40}.get(name, 32)
    stripped = caffe_pb2.NetParameter(layer=layers)
    stripped.input.append("data")
    stripped.input_shape.add().dim.extend([1, 3, side, side])
    (data_folder / "original.prototxt").write_text(text_format.MessageToString(stripped))
    original = caffe.Net(str(data_folder / "original.prototxt"), caffe.TEST)
    if "bn" in original.params:
        original.params["bn"][1].data[...] = original.params["bn"][2].data[...] = 1
    original.save(str(data_folder / "original.caffemodel"))
    deploy = caffe.Net(
        str(data_folder / "nets" / name / "deploy_both.prototxt"),
        caffe.TEST,
        weights=str(data_folder / "original.caffemodel"),
    )
    new = {f"{CLASSIFIERS[name][-1]}_{task}" for task in ("target", "source")}
    scale = {"data_scale"} if name == "googlenet" else set()
    assert set(deploy.params) - set(original.params) == new | scale
    image = draw_image(1, side, side).transpose(2, 0, 1).astype(np.float32) - 110
    original.blobs["data"].data[0] = image * (0.02 if scale else 1)
    deploy.blobs["data"].data[0] = image
    original.forward()
    out = deploy.forward()
    features = {"alexnet": "fc7", "googlenet": "pool", "squeezenet": "conv1"}[name]
    found, expected = deploy.blobs[features].data, original.blobs[features].data
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    shapes = {blob: values.reshape(1, -1).shape for blob, values in out.items()}
    assert shapes == {"prob_target": (1, 4), "prob_source": (1, 6)}


def test_what_the_net_says_of_its_images_is_kept(data_folder):
    output = graft("alexnet", ALEXNET_LIKE, "--force")
    assert (
        "NET subtracts the image in mean.binaryproto, which is not there: the mean 104, 117, 123 "
        "(B, G, R) stands for it; --mean gives another" in output
    )
    assert "images of 40 x 40" in output
    net = read_net(str(data_folder / "nets/alexnet/joint_train_val.prototxt"))
    data = json.loads(net.layer[0].python_param.param_str)
    assert (data["crop"], data["resize"], data["mirror"]) == (40, 46, True)
    [fc8] = [layer for layer in net.layer if layer.name == "fc8_target"]
    assert [(param.lr_mult, param.decay_mult) for param in fc8.param] == [(10, 1), (20, 0)]
    assert fc8.inner_product_param.weight_filler.std == pytest.approx(0.03)

    output = graft("googlenet", GOOGLENET_LIKE, "--force", "--mean", 1, 2, 3)
    assert "NET's BatchNorm has use_global_stats: its statistics stay as they are" in output
    net = read_net(str(data_folder / "nets/googlenet/joint_train_val.prototxt"))
    data = json.loads(net.layer[0].python_param.param_str)
    assert (data["mean"], data["mirror"]) == ([1, 2, 3], False)
    assert "debug" not in [layer.name for layer in net.layer]


def test_a_net_that_subtracts_nothing_and_ignores_a_label(data_folder):
    text = ALEXNET_LIKE.replace('mean_file: "mean.binaryproto"', "")
    text = text.replace('top: "loss" }', 'top: "loss" loss_param { ignore_label: 255 } }')
    output = graft("no_mean", text)
    assert "the loss_param of 'loss' is left out: losses are means over all images" in output
    assert "NET subtracts no mean, nor do the grafted nets; --mean gives another" in output
    net = read_net(str(data_folder / "nets/no_mean/joint_train_val.prototxt"))
    assert json.loads(net.layer[0].python_param.param_str)["mean"] == [0, 0, 0]


def test_a_mean_image_becomes_the_mean_of_its_colours(data_folder):
    text = ALEXNET_LIKE.replace("mean.binaryproto", "there.binaryproto")
    image = np.stack([np.full((4, 5), value) for value in (99.0, 111.5, 120)])
    image[:, 0] += 1
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=4, width=5, data=image.ravel())
    Path("there.binaryproto").write_bytes(blob.SerializeToString())
    output = graft("mean", text)
    assert "its mean, 99.25, 111.75, 120.25 (B, G, R), stands for it" in output
    net = read_net(str(data_folder / "nets/mean/target_only_train_val.prototxt"))
    assert json.loads(net.layer[0].python_param.param_str)["mean"] == [99.25, 111.75, 120.25]
    Path("there.binaryproto").write_bytes(b"no mean")
    with pytest.raises(InputError, match="is not a mean image of three colours: give --mean"):
        graft("mean", text, "--force")


def test_auxiliary_heads_serve_training_with_their_weight(data_folder):
    output = graft("googlenet", GOOGLENET_LIKE, "--force")
    assert "the last of them is the main classifier, the others serve training alone" in output
    net = read_net(str(data_folder / "nets/googlenet/joint_train_val.prototxt"))
    losses = {
        layer.name: list(layer.loss_weight)
        for layer in net.layer
        if layer.python_param.layer == "MultiTaskLossLayer"
    }
    assert losses == {
        "loss1/loss": [pytest.approx(0.3), 0, 0],
        "loss": [1, 0, 0],
    }
    for layer in net.layer:
        if layer.name.startswith("loss1/") or layer.name == "slice_loss1/pool":
            assert [rule.phase for rule in layer.include] == [caffe.TRAIN]
    deploy = (data_folder / "nets/googlenet/deploy.prototxt").read_text()
    assert "loss1" not in deploy


def test_frozen_statistics(data_folder):
    text = GOOGLENET_LIKE.replace("use_global_stats: true", "")
    graft("frozen", text, "--frozen-statistics")
    net = (data_folder / "nets/frozen/joint_train_val.prototxt").read_text()
    assert net.count("use_global_stats: true") == 1
    graft("frozen", text, "--force")
    assert "use_global_stats" not in (data_folder / "nets/frozen/deploy.prototxt").read_text()


def test_tests_use_the_stored_statistics(data_folder):
    """Also of a net that would test by those of the images which are tested together."""
    text = GOOGLENET_LIKE.replace("use_global_stats: true", "use_global_stats: false")
    output = graft("own_statistics", text)
    assert "use_global_stats: false of NET's BatchNorm is left out: tests use stored" in output
    for name in ("joint_train_val", "deploy"):
        text = (data_folder / f"nets/own_statistics/{name}.prototxt").read_text()
        assert 'type: "BatchNorm"' in text
        assert "use_global_stats" not in text


def test_a_deploy_net_with_other_pixels_says_how_it_is_tested(data_folder):
    """What its train_val net would tell is told by options, and noted for `sjft evaluate`."""
    output = graft("pixels", SQUEEZENET_LIKE, "--mean", 128, 127.5, 126, "--scale", 0.0078125)
    options = "--resize-shorter 37 --mean 128 127.5 126"
    assert f"'sjft evaluate' and 'sjft harden' need {options}\n" in output
    assert f"need {options}\n" in (data_folder / "nets/pixels/deploy.prototxt").read_text()
    net = read_net(str(data_folder / "nets/pixels/joint_train_val.prototxt"))
    test = json.loads(net.layer[1].python_param.param_str)
    assert (test["resize_shorter"], test["mean"]) == (37, [128, 127.5, 126])
    for name in ("joint_train_val", "target_only_train_val", "deploy", "deploy_both"):
        net = read_net(str(data_folder / f"nets/pixels/{name}.prototxt"))
        [scale] = [layer for layer in net.layer if layer.name == "data_scale"]
        assert scale.scale_param.filler.value == 0.0078125

    output = graft("usual", SQUEEZENET_LIKE.replace("dim: 32 dim: 32", "dim: 227 dim: 227"))
    assert "sjft evaluate" not in output + (data_folder / "nets/usual/deploy.prototxt").read_text()


def test_generated_deploy_nets_can_be_grafted(data_folder):
    """He's ResNet-50 from its deploy net alone: the published weights' names stay."""
    path = REPO / "prototxt/nets/resnet50/sjft_deploy.prototxt"
    output = graft("resnet50", path.read_text())
    assert "NET has no weight fillers: train from its published weights, not from zero" in output
    old = caffe.Net(str(path), caffe.TEST)
    new = caffe.Net(str(data_folder / "nets/resnet50/deploy.prototxt"), caffe.TEST)
    assert list(new.params)[:-1] == list(old.params)[:-1]
    assert list(new.params)[-1] == "fc_target_target"


def test_published_squeezenet_can_be_grafted(data_folder):
    path = SHARED / "data/models/squeezenet_v1.0_dc_train_val.prototxt"
    if not path.exists():
        pytest.skip("needs ../shared/data/models")
    graft("published", path.read_text())
    net = caffe.Net(
        str(data_folder / "nets/published/deploy.prototxt"),
        caffe.TEST,
        weights=str(path.parent / "squeezenet_v1.0_dc.caffemodel"),
    )
    assert net.blobs["data"].data.shape == (1, 3, 227, 227)
    assert net.blobs["prob"].data.shape == (1, 4, 1, 1)
    assert np.abs(net.params["conv1"][0].data).max() > 0.1


def test_comments_in_another_encoding_are_passed_over_as_in_caffe(data_folder):
    content = b"# \xb2\xe2\xca\xd4\n" + SQUEEZENET_LIKE.encode()
    Path("gbk.prototxt").write_bytes(content)
    caffe.Net("gbk.prototxt", caffe.TEST)
    run_sjft("graft", "gbk.prototxt", "--out-dir", "nets/gbk", *SIZES)
    assert (data_folder / "nets/gbk/joint_train_val.prototxt").is_file()


def test_the_number_of_test_images(data_folder):
    text = NETS["squeezenet"]
    graft("counted", text)
    solver = (data_folder / "nets/counted/joint_solver.prototxt").read_text()
    assert "test_iter: 2\n" in solver  # 8 images in batches of 4
    with pytest.raises(InputError, match="data/none_lmdb is not there to count the test images"):
        graft("uncounted", text, "--target-test", "data/none_lmdb")


def test_a_schedule_of_ones_own(data_folder):
    text = NETS["squeezenet"]
    for name, options, expected in (
        ("start", (), (10, 12000, 4000, 500)),
        ("own", ("--iter-size", 3, "--max-iter", 300), (3, 300, 100, 300)),
    ):
        graft(name, text, *options)
        for solver in SOLVERS:
            file = data_folder / f"nets/{name}/{solver}.prototxt"
            found = text_format.Parse(file.read_text(), caffe_pb2.SolverParameter())
            numbers = (found.iter_size, found.max_iter, found.stepsize, found.test_interval)
            assert numbers == expected


def test_a_net_without_a_name_bears_its_files(data_folder):
    file = os.fsdecode(b"net_\xff.prototxt")
    Path(file).write_text(
        INPUT + 'layer { name: "f" type: "InnerProduct" bottom: "data" top: "f"'
        " inner_product_param { num_output: 2 } }"
    )
    run_sjft("graft", file, "--out-dir", "nets/bytes", *SIZES)
    text = (data_folder / "nets/bytes/deploy.prototxt").read_text(encoding="utf-8")
    assert 'name: "net_\ufffd_deploy"' in text


def test_on_the_command_line(data_folder):
    Path("net.prototxt").write_text(NETS["squeezenet"])
    output = run_sjft("graft", "net.prototxt", "--out-dir", "nets/cli", *SIZES)
    assert "nets/cli/joint_solver.prototxt written" in output
    assert "replaced conv10; images of 32 x 32" in output
    output = run_sjft("graft", "net.prototxt", "--out-dir", "net.prototxt", *SIZES, status=2)
    assert "--out-dir net.prototxt is a file: expected a folder" in output
