"""The command `sjft models`: its list, the readmes, and its verdicts beside what Caffe does."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe
from conftest import REPO, run_sjft
from processes import run
from sjft_tools.caffemodel import read_caffemodel
from sjft_tools.models.published import MODELS, identified

NET = """name: "n"
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  param { name: "w" } param { name: "b" }
  inner_product_param { num_output: CLASSES weight_filler { type: "xavier" } } }
"""
MORE = """layer { name: "new" type: "InnerProduct" bottom: "conv" top: "new"
  inner_product_param { num_output: 3 weight_filler { type: "constant" value: 7 } } }
layer { name: "again" type: "InnerProduct" bottom: "conv" top: "again"
  param { name: "w" } param { name: "b" } inner_product_param { num_output: CLASSES } }
"""


@pytest.fixture
def weights(tmp_path) -> Path:
    (tmp_path / "old.prototxt").write_text(NET.replace("CLASSES", "5"))
    net = caffe.Net(str(tmp_path / "old.prototxt"), caffe.TEST)
    net.save(str(tmp_path / "old.caffemodel"))
    return tmp_path / "old.caffemodel"


def test_what_it_says_is_what_caffe_does(tmp_path, weights):
    file = tmp_path / "new.prototxt"
    file.write_text((NET + MORE).replace("CLASSES", "5"))
    said = run_sjft("models", file, weights)
    assert "loads   2 of the net's 3 layers with weights" in said
    assert "random  'new': not in the file" in said and "unused" not in said
    old = caffe.Net(str(tmp_path / "old.prototxt"), str(weights), caffe.TEST)
    new = caffe.Net(str(file), str(weights), caffe.TEST)
    for name in ("conv", "fc"):
        np.testing.assert_array_equal(new.params[name][0].data, old.params[name][0].data)
    np.testing.assert_array_equal(new.params["again"][0].data, old.params["fc"][0].data)
    assert (new.params["new"][0].data == 7).all()


def test_caffe_ends_where_it_says(tmp_path, weights):
    file = tmp_path / "new.prototxt"
    file.write_text(NET.replace("CLASSES", "6").replace('"conv" type', '"other" type'))
    said = run_sjft("models", file, weights, status=1)
    assert "'fc': 5 x 144 in the file, 6 x 144 in the net; Caffe would end here" in said
    assert "random  'other'" in said and "unused  'conv'" in said
    script = f"import caffe; caffe.Net({str(file)!r}, {str(weights)!r}, caffe.TEST)"
    said = run(sys.executable, "-c", script, status=None)
    assert "Cannot copy param 0 weights from layer 'fc'" in said


@pytest.mark.parametrize("old_format", [False, True])
def test_a_file_without_what_differs(tmp_path, weights, old_format):
    if old_format:
        model = read_caffemodel(str(weights))
        for layer in model.layer:
            model.layers.add(name=layer.name, blobs=layer.blobs)
        model.ClearField("layer")
        weights.write_bytes(model.SerializeToString())
    file, fitted = tmp_path / "new.prototxt", tmp_path / "fitted ö.caffemodel"
    file.write_text(NET.replace("CLASSES", "6"))
    said = run_sjft("models", file, weights, "--fitted", fitted)
    assert "differs 'fc'" in said and f"fitted  {fitted} written" in said
    said = run_sjft("models", file, fitted)
    assert "loads   1 of the net's 2" in said and "random  'fc'" in said and "differs" not in said
    if not old_format:
        old = caffe.Net(str(tmp_path / "old.prototxt"), str(weights), caffe.TEST)
        new = caffe.Net(str(file), str(fitted), caffe.TEST)
        np.testing.assert_array_equal(new.params["conv"][0].data, old.params["conv"][0].data)
    before = fitted.read_bytes()
    assert "exists: give --force" in run_sjft("models", file, weights, "--fitted", fitted, status=2)
    assert fitted.read_bytes() == before
    other = REPO / "prototxt/demo/deploy.prototxt"
    run_sjft("models", other, weights, "--fitted", tmp_path / "none.caffemodel", status=1)
    assert not (tmp_path / "none.caffemodel").exists()


def test_blobs_that_are_too_few(tmp_path, weights):
    file = tmp_path / "new.prototxt"
    file.write_text(
        NET.replace("CLASSES", "5").replace("kernel_size", "bias_term: false kernel_size")
    )
    assert "'conv': 2 blobs in the file, 1 in the net" in run_sjft(
        "models", file, weights, status=1
    )


def test_a_net_for_other_weights(tmp_path, weights):
    said = run_sjft("models", REPO / "prototxt/demo/deploy.prototxt", weights, status=1)
    assert "loads   0 of the net's" in said


def test_published_squeezenet(shared_data):
    said = run_sjft(
        *("models", REPO / "prototxt/nets/squeezenet/sjft_deploy_dense.prototxt"),
        shared_data / "models/squeezenet_v1.0_dc.caffemodel",
    )
    # the dense classifier's convolution borrows fc_target's weights
    assert "fc_target_map" not in said
    assert "random  'scale9', 'fc_target':" in said
    assert "none of the published ones" in said


def test_bad_arguments(tmp_path, weights):
    assert "expected a weights file beside" in run_sjft("models", "n.prototxt", status=2)
    page = tmp_path / "page.caffemodel"
    page.write_text("<html>Sign in</html>")
    said = run_sjft("models", tmp_path / "old.prototxt", page, status=2)
    assert "is not a .caffemodel file" in said and "begins as a web page does" in said
    page.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90))
    said = run_sjft("models", tmp_path / "old.prototxt", page, status=2)
    assert "it is an HDF5 file, as Caffe writes with snapshot_format: HDF5, not BINARYPROTO" in said
    page.write_bytes(weights.read_bytes()[:-100])
    said = run_sjft("models", tmp_path / "old.prototxt", page, status=2)
    assert "or a download cut short" in said
    said = run_sjft("models", tmp_path / "old.prototxt", tmp_path / "none", status=2)
    assert "cannot be read: No such file" in said


def test_list():
    said = run_sjft("models")
    for model in MODELS:
        assert f"{model.name}\n  file          {model.caffemodel}\n" in said
        assert model.caffemodel_url.startswith("http") and model.stated_in.startswith("http")
        assert re.fullmatch("[0-9a-f]{40}|", model.sha1)
        assert model.net == "sjft graft" or (REPO / model.net).is_dir()


def test_files_are_known_by_their_sum():
    alexnet = next(model for model in MODELS if model.name == "BVLC AlexNet")
    assert identified("x.caffemodel", alexnet.sha1) == "BVLC AlexNet, as published"
    assert "not BVLC AlexNet as published" in identified("bvlc_alexnet.caffemodel", "0" * 40)
    assert "by its name ResNet-50" in identified("ResNet-50-model.caffemodel", "0" * 40)


def test_readmes_say_what_the_list_says():
    files = sorted((REPO / "prototxt/nets").glob("*/readme.md"))
    nets = {path.parent.name for path in files}
    assert nets == {path.name for path in (REPO / "prototxt/nets").iterdir()} and len(nets) == 6
    models = {model.name: model for model in MODELS}
    for path in files:
        head = path.read_text(encoding="utf-8").split("---\n")[1]
        facts = dict(line.split(": ", 1) for line in head.splitlines())
        model = models[facts["name"]]
        assert facts == {
            "name": model.name,
            "caffemodel": model.caffemodel,
            "caffemodel_url": model.caffemodel_url,
            "license": model.license or "not stated",
            "sha1": model.sha1 or "not published",
            "caffe_commit": model.caffe_commit or "not stated",
        }
        command = re.search(r"sjft models (\S+)", path.read_text(encoding="utf-8"))
        assert command is not None and (REPO / command.group(1)).is_file()
