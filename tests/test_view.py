"""The command `sjft view`: the view has the net's blobs, weights and results; its picture."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

import caffe
from caffe_nets import close_layers, write_solver
from conftest import REPO, run_sjft
from joint_world import World, make_world
from sjft_tools.cli import main
from sjft_tools.net_files import read_net
from sjft_tools.netscope.grammar import read_fields
from sjft_tools.netscope.inputs import top_shapes
from sjft_tools.netscope.rules import netscope_problems
from sjft_tools.netscope.shapes import inferred_shapes
from sjft_tools.netscope.view import View, view

LABELS = ("target_label", "source_label", "label")
LOSSES = ("loss", "target_loss", "source_loss")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def joint(world, tmp_path) -> Path:
    write_solver(tmp_path, world)
    return tmp_path / "net.prototxt"


def assert_same_shapes(made: View, real: caffe.Net, phase: str) -> None:
    for name, blob in real.blobs.items():
        if "_split_" in name or name == "accuracy" or name == "loss":
            continue
        shape = tuple(blob.data.shape)
        expected = (*shape, 1) if name in LABELS else shape
        if name in LOSSES:
            expected = ()  # a MultiTaskLossLayer's tops hold one number as well
        assert made.built.shapes[name] == expected, name
    params = {name: [p.data.shape for p in blobs] for name, blobs in real.params.items()}
    assert {name: list(map(tuple, shapes)) for name, shapes in made.built.params.items()} == params


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_view_of_a_joint_net_has_its_shapes(joint, phase):
    made = view(read_net(str(joint)), "net", phase, {})
    real = caffe.Net(str(joint), getattr(caffe, phase))
    assert_same_shapes(made, real, phase)
    close_layers(real)
    assert made.unlike_caffe() == [] and netscope_problems(made.text) == []
    inferred = inferred_shapes(read_fields(made.text))
    assert inferred.stopped is None
    assert inferred.shapes["target_score"] == ((4, 5) if phase == "TRAIN" else (7, 5))


@pytest.mark.parametrize(
    ("param_str", "loss_weights"),
    [
        ("{}", (1, 0, 0)),
        ('{"weights": [0.3, 0.7]}', (2, 0, 0.5)),
        ('{"ignore_label": 1}', (0.5, 1, 0)),
    ],
)
def test_view_of_a_joint_net_computes_the_same(joint, tmp_path, param_str, loss_weights):
    text = joint.read_text()
    for old, new in (
        ("param_str: '{}'", f"param_str: '{param_str}'"),
        (
            "loss_weight: 1 loss_weight: 0 loss_weight: 0",
            " ".join(f"loss_weight: {weight}" for weight in loss_weights),
        ),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    joint.write_text(text)
    made = view(read_net(str(joint)), "net", "TRAIN", {})
    (tmp_path / "view.prototxt").write_text(made.text)
    real, shown = (
        caffe.Net(str(joint), caffe.TRAIN),
        caffe.Net(str(tmp_path / "view.prototxt"), caffe.TRAIN),
    )
    real.forward()
    for name, blobs in real.params.items():
        for ours, theirs in zip(shown.params[name], blobs):
            ours.data[...] = theirs.data
    for name in ("data", "target_label", "source_label"):
        shown.blobs[name].data[...] = real.blobs[name].data.reshape(shown.blobs[name].data.shape)
    shown.forward()
    for name in ("target", "source", "target_score", "source_score"):
        np.testing.assert_array_equal(shown.blobs[name].data, real.blobs[name].data)
    for name in ("target_loss", "source_loss"):
        assert shown.blobs[name].data == pytest.approx(real.blobs[name].data.item(), rel=1e-5)
    for each in (real, shown):
        each.backward()
    gradient, expected = (each.params["conv"][0].diff for each in (shown, real))
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-6 * np.abs(expected).max())
    close_layers(real)


def test_resnet152_and_its_picture(tmp_path):
    net = REPO / "prototxt/sjft_train_val.prototxt"
    output, picture = tmp_path / "v.prototxt", tmp_path / "v.svg"
    said = run_sjft("view", net, "--output", output, "--draw", picture)
    assert "JointDataLayer 'data' became Input: data, target_label, source_label" in said
    assert "Slice 'slice' became a Crop for each part" in said
    assert "\nnetscope: " not in said
    text = output.read_text()
    assert "Python" not in text and "Slice" not in text
    shapes = inferred_shapes(read_fields(text)).shapes
    assert shapes["data"] == (18, 3, 224, 224) and shapes["pool5_source"] == (9, 2048, 1, 1)
    assert shapes["fc_target"] == (9, 67) and shapes["fc_source"] == (9, 1000)
    drawn = picture.read_text()
    assert drawn.lstrip().startswith("<?xml") and drawn.count("<!-- ") > 500
    for words in ("res4b17_branch2b", "18 × 1024 × 14 × 14", "fc_source"):
        assert words in drawn


def test_a_png_of_a_small_net(joint, tmp_path):
    run_sjft("view", joint, "--draw", tmp_path / "v.png")
    text = joint.read_text().replace('"conv"', '"$_{$"')
    (tmp_path / "n$_{$.prototxt").write_text(text)  # no formula
    run_sjft("view", tmp_path / "n$_{$.prototxt", "--draw", tmp_path / "formula.svg")
    assert (tmp_path / "formula.svg").read_text().count("<!-- $_{$ -->") == 1
    drawn = cv2.imread(str(tmp_path / "v.png"))
    assert drawn.shape[0] > 300 and drawn.shape[1] > 200
    assert 0.02 < (drawn < 250).any(axis=2).mean() < 0.9
    assert "exists: give --force" in refused(["view", str(joint)])


def refused(arguments: list[str]) -> str:
    """What `sjft` says to `arguments` before it leaves with status 2."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    return said.getvalue()


def test_data_layers_of_all_kinds(tmp_path):
    def top(name: str, kind: str, params: str, tops: str) -> str:
        return f'layer {{ name: "{name}" type: "{kind}" {tops} {params} }}\n'

    two = 'top: "a" top: "label"'
    cases = {
        top("d", "Data", "data_param { batch_size: 4 } transform_param { crop_size: 8 }", two): (
            (4, 3, 8, 8),
            (4,),
        ),
        top(
            "d",
            "ImageData",
            "image_data_param { batch_size: 4 is_color: false } transform_param { crop_size: 8 }",
            two,
        ): ((4, 1, 8, 8), (4,)),
        top(
            "d",
            "MemoryData",
            "memory_data_param { batch_size: 4 channels: 2 height: 5 width: 6 }",
            two,
        ): ((4, 2, 5, 6), (4,)),
        top("d", "DummyData", "dummy_data_param { shape { dim: 4 dim: 2 } }", two): (
            (4, 2),
            (4, 2),
        ),
        top("d", "Input", "input_param { shape { dim: 4 dim: 2 } }", 'top: "a"'): ((4, 2),),
    }
    for text, expected in cases.items():
        net = text_format.Parse(text, caffe_pb2.NetParameter())
        assert tuple(top_shapes(net.layer[0], True, {})) == expected
    given = top_shapes(net.layer[0], True, {"a": (1, 2)})
    assert given == [(1, 2)]


def test_old_input_fields(tmp_path):
    (tmp_path / "n.prototxt").write_text(
        'name: "n" input: "x" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
        'layer { name: "s" type: "Slice" bottom: "x" top: "a" top: "b"'
        " slice_param { slice_point: 1 } }"
    )
    made = view(read_net(str(tmp_path / "n.prototxt")), "n", "TRAIN", {})
    assert made.built.shapes["a"] == (1, 1, 8, 8) and made.built.shapes["b"] == (1, 2, 8, 8)
    assert made.unlike_caffe() == []


def test_what_netscope_shows_otherwise_is_said(tmp_path):
    (tmp_path / "n.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 } } }'
        'layer { name: "f" type: "Flatten" bottom: "x" top: "f" }'
    )
    said = run_sjft("view", tmp_path / "n.prototxt")
    assert "netscope: 'f' is 2 x 12 in Caffe, netscope shows 2 x 3 x 4" in said


def test_shapes_that_must_be_given(tmp_path):
    file = tmp_path / "n.prototxt"
    file.write_text(
        'layer { name: "d" type: "Data" top: "d" data_param { batch_size: 2 } }'
        'layer { name: "p" type: "Python" bottom: "d" top: "p" python_param { module: "mine" } }'
        'layer { name: "r" type: "ReLU" bottom: "p" top: "p" }'
    )
    said = refused(["view", str(file)])
    assert "the shape of 'd' cannot be told from the layer 'd' of type Data: give it, as in" in said
    said = refused(["view", str(file), "--input", "d=2,3,8,8"])
    assert "the layer 'p' runs Python code of the module 'mine'" in said
    run_sjft("view", file, "--input", "d=2,3,8,8", "--input", "p=2,4")
    assert "dim: 4" in (tmp_path / "n_view.prototxt").read_text()
    said = refused(["view", str(file), "--force", "--input", "e=2,3,8,8"])
    assert "no layer of" in said and "writes 'e', whose shape --input gives" in said
    assert "expected BLOB=N,C,H,W, got 'd=2,0'" in refused(["view", str(file), "--input", "d=2,0"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no layers: expected a net's prototxt"),
        ('layer { name: "a" typ: "X" }', 'has no field named "typ"'),
        ('layers { name: "a" type: RELU }', "is in Caffe's old format"),
        (
            'layer { name: "a" type: "Nonsense" bottom: "b" top: "c" }',
            "Caffe cannot build",
        ),
    ],
)
def test_bad_nets(tmp_path, text, why):
    (tmp_path / "n.prototxt").write_text(text)
    assert why in refused(["view", str(tmp_path / "n.prototxt")])
    assert [path.name for path in tmp_path.iterdir()] == ["n.prototxt"]


def test_bad_arguments(joint, tmp_path):
    net = str(joint)
    assert "expected one: several go with --check" in refused(["view", net, net])
    assert "cannot be read: No such file" in refused(["view", str(tmp_path / "no")])
    assert "cannot be drawn: expected a name that" in refused(
        ["view", net, "--draw", str(tmp_path / "v.gif2")]
    )
    assert not (tmp_path / "net_view.prototxt").exists()


def test_check(joint, tmp_path):
    said = run_sjft("view", "--check", joint, status=1)
    assert f"{joint}, line 1: the first layer is taken for the net's heading" in said
    said = run_sjft(
        "view",
        "--check",
        REPO / "prototxt/demo/joint_train_val.prototxt",
        REPO / "prototxt/demo/deploy.prototxt",
    )
    assert "netscope reads it; shapes end at 'data' (Python)" in said
    assert "netscope reads it; 36 blobs with shapes, the last 'prob' 1 x 10" in said
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    assert "is not text" in run_sjft("view", "--check", tmp_path / "b", status=2)


def test_check_reads_comments_that_are_not_utf_8(tmp_path: Path) -> None:
    """As Caffe does, and 'sjft view' without --check."""
    net = tmp_path / "n.prototxt"
    text = (REPO / "prototxt/demo/deploy.prototxt").read_bytes()
    net.write_bytes(text + "# déjà vu, by Jürgen\n".encode("latin-1"))
    assert "netscope reads it; 36 blobs with shapes" in run_sjft("view", "--check", net)
    net.write_bytes(text + b'name: "J\xfcrgen"  # or J\xfcrgen\n')
    line = text.count(b"\n") + 1
    said = run_sjft("view", "--check", net, status=2)
    assert f"{net}, line {line} is not text in UTF-8: expected a .prototxt file" in said


def test_neither_the_net_nor_one_output_is_written_over(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text((REPO / "prototxt" / "demo" / "deploy.prototxt").read_text())
    before = net.read_bytes()
    output = run_sjft("view", net, "--output", net, "--force", status=2)
    assert "is also an output: expected another name" in output
    assert net.read_bytes() == before
    both = ("--output", tmp_path / "x.svg", "--draw", tmp_path / "x.svg")
    assert "two outputs have one name" in run_sjft("view", net, *both, status=2)
    assert list(tmp_path.iterdir()) == [net]
