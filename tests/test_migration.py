"""`sjft import-original` and `sjft upgrade-prototxt`: files and nets of the authors' fork."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

import caffe
import original_fork as fork
from conftest import REPO, SHARED, draw_image, run_sjft, write_image_lmdb
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.bins import load_bins
from sjft_tools.cli import main
from sjft_tools.net_files import read_net
from sjft_tools.netscope.rules import netscope_problems
from sjft_tools.netscope.view import view

SOLVER = """net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 3 display: 1
momentum: 0.9 snapshot_prefix: "x" random_seed: 1 solver_mode: CPU snapshot_after_train: false
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    """A folder with the fork's files and what `sjft import-original` made of them."""
    folder = tmp_path_factory.mktemp("fork")
    fork.write_files(folder)
    for arguments in (
        ("source-images", "source.txt", "source_lmdb", "--root", "images"),
        ("target-images", "target.txt", "target_lmdb", "--root", "images"),
        ("neighbours", "neighbours.txt", "target_lmdb", "source_lmdb", "neighbours_lmdb"),
        ("levels", "levels.txt", "target_lmdb", "levels.json"),
    ):
        run_sjft("import-original", *arguments, cwd=folder)
    return folder


def test_images(imported):
    source = ImageLmdb(str(imported / "source_lmdb"))
    assert source.labels.tolist() == [i * i % fork.SOURCE_CLASSES for i in range(fork.SOURCES)]
    np.testing.assert_array_equal(source.image(7), draw_image(7, fork.SIZE, fork.SIZE + 4))
    for version, name in enumerate(("target_lmdb", "target_lmdb_v2")):
        target = ImageLmdb(str(imported / name))
        assert target.labels.tolist() == [i % fork.CLASSES for i in range(fork.TARGETS)]
        drawn = draw_image(100 + 10 * 4 + version, fork.SIZE, fork.SIZE + 4)
        np.testing.assert_array_equal(target.image(4), drawn)


def test_neighbours_and_levels(imported):
    neighbours = NeighbourLmdb(str(imported / "neighbours_lmdb"))
    assert neighbours.k == fork.K
    for i in range(fork.TARGETS):
        assert neighbours.indices(i).tolist() == fork.neighbours(i)
        assert neighbours.distances(i).tolist() == list(range(fork.K))
    levels = json.loads((imported / "levels.json").read_text())
    assert levels["levels"] == [1, 2, 1, 2, 1, 2]


def upgrade(folder: Path, text: str, *options: object, status: int = 0) -> str:
    (folder / "original.prototxt").write_text(text)
    return run_sjft(
        *("upgrade-prototxt", "original.prototxt", "net.prototxt", "--force", *options),
        cwd=folder,
        status=status,
    )


def test_a_joint_net_upgrades_and_trains(imported):
    said = upgrade(
        imported,
        fork.joint_net(),
        *("--target", "target_lmdb", "--target", "target_lmdb_v2", "--source", "source_lmdb"),
        *("--neighbours", "neighbours_lmdb", "--levels", "levels.json"),
    )
    for line in (
        "RefinedBoostedJointTrainingData 'data' became JointDataLayer",
        "  target.txt: 'sjft import-original target-images' reads it",
        "SplitData 'split_label' is gone: the data layer parts the labels",
        "5 Residual became Eltwise SUM, their two tops one blob",
        "SplitData 'split_data' became Slice",
        "MergeData 'merge_data' became Concat",
    ):
        assert f"{line}\n" in said
    net = read_net(str(imported / "net.prototxt"))
    assert net.name == "ResNet_joint_training"
    assert fork.param_str(net) == {
        "target": ["target_lmdb", "target_lmdb_v2"],
        "source": "source_lmdb",
        "neighbours": "neighbours_lmdb",
        "batch_size": 4,
        "k0": 2,
        "levels": "levels.json",
        "min_source_per_class": 0,
        "resize": 36,
        "crop": 32,
        "mirror": True,
        "mean": [104, 117, 123],
        "seed": 1,
    }
    assert list(net.layer[0].top) == ["data", "target_label", "source_label"]
    assert netscope_problems((imported / "net.prototxt").read_text()) == []
    assert view(net, "net", "TRAIN", {}).unlike_caffe() == []
    (imported / "solver.prototxt").write_text(SOLVER)
    assert "FAIL" not in run_sjft("check", "solver.prototxt", cwd=imported)
    process = subprocess.run(
        ["caffe", "train", "-solver", "solver.prototxt"],
        cwd=imported,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-3000:]
    losses = [float(x) for x in re.findall(r"Iteration \d+.*, loss = (\S+)", process.stdout)]
    assert len(losses) >= 3 and np.isfinite(losses).all()


def literal(net: caffe.Net, image: np.ndarray, units: tuple[str, ...]) -> np.ndarray:
    """pool5 of the fork's wiring, in NumPy: what its Residual layers compute, by their source."""

    def convolve(x: np.ndarray, name: str) -> np.ndarray:
        weights = net.params[name][0].data
        kernel = weights.shape[2]
        pad, stride = kernel // 2, STRIDES.get(name, 1)
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))
        return np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride], weights)

    def activate(x: np.ndarray, name: str) -> np.ndarray:
        mean, variance, factor = (blob.data for blob in net.params[f"bn{name}"])
        gamma, beta = (blob.data[:, None, None] for blob in net.params[f"scale{name}"])
        x = (x - (mean / factor)[:, None, None]) / np.sqrt(
            (variance / factor)[:, None, None] + 1e-5
        )
        return np.maximum(x * gamma + beta, 0)

    x = activate(convolve(image, "conv1"), "_conv1")
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2].max((4, 5))
    total = x
    for name in units:
        res = f"res{name}"
        identity = convolve(x, f"{res}_branch1") if name.endswith("a") else total
        inner = x
        for branch in ("2a", "2b"):
            inner = convolve(inner, f"{res}_branch{branch}")
            inner = activate(inner, f"{name}_branch{branch}")
        total = identity + convolve(inner, f"{res}_branch2c")
        x = activate(total, name)
    return x.mean((2, 3), keepdims=True)


STRIDES = {"conv1": 2, "res3a_branch1": 2, "res3a_branch2a": 2}


def test_an_upgraded_net_computes_what_the_fork_does(tmp_path):
    """The fork's Residual runs on GPUs alone: a literal reading of it stands for it."""
    upgrade(tmp_path, fork.joint_net())
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    rng = np.random.default_rng(1)
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            blob.data[...] = rng.normal(0, 0.5, blob.data.shape)
            if name.startswith("bn") and i:
                blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)
    image = rng.normal(0, 1, (3, 3, 32, 32)).astype(np.float32)
    # DummyData fills its tops anew: begin behind it.
    net.blobs["data"].data[...] = image
    net.forward(start="conv1")
    expected = literal(net, image, ("2a", "2b", "2c", "3a", "3b"))
    np.testing.assert_allclose(net.blobs["pool5"].data, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(net.blobs["pool5_target"].data, net.blobs["pool5"].data[:2])
    np.testing.assert_array_equal(net.blobs["pool5_source"].data, net.blobs["pool5"].data[2:])


def test_the_152_layer_net_keeps_the_published_names(tmp_path):
    reference = SHARED / "reference/param_shapes.json"
    if not reference.exists():
        pytest.skip("needs ../shared/reference")
    text = (
        'name: "r"\n'
        + fork.data(batch_size=18, crop=224, resize=256)
        + fork.trunk((3, 8, 36, 3), 64, 7, (7, 64))
        + fork.tail(9, 67, 1000)
    )
    upgrade(tmp_path, text)
    made = view(read_net(str(tmp_path / "net.prototxt")), "net", "TRAIN", {})
    assert made.unlike_caffe() == []
    published = {
        layer["name"]: [tuple(shape) for shape in layer["param_shapes"]]
        for layer in json.loads(reference.read_text())["sjft_resnet152"]["layers"]
    }
    ours = dict(made.built.params)
    ours["fc67"] = ours.pop("fc_mine")
    trunk = {name: shapes for name, shapes in published.items() if not name.startswith("fc")}
    assert {name: ours[name] for name in trunk} == trunk
    assert made.built.shapes["pool5_source"] == (9, 2048, 1, 1)


def test_random_crops(tmp_path):
    bounds = "random_crop_param { lower_bound: 36 upper_bound: 61 }"
    said = upgrade(tmp_path, fork.joint_net(kind="RandomCropBoostedData", more=bounds))
    keys = fork.param_str(read_net(str(tmp_path / "net.prototxt")))
    assert keys["resize_shorter"] == [36, 60] and keys["crop"] == 32 and "resize" not in keys
    assert "two random crops, of 36 and of 32 in it, became one of 32" in said
    assert keys["target"] == "data/target_train_lmdb" and "levels" not in keys


@pytest.mark.parametrize(
    ("low", "high", "sides"), [("36.0", "61.0", [36, 60]), ("36.5", "61.25", [36, 59])]
)
def test_random_crops_between_fractions(tmp_path, low, high, sides):
    """Sides of int(a random integer below int(high - low) + low), by the fork's source."""
    bounds = f"random_crop_param {{ lower_bound: {low} upper_bound: {high} }}"
    upgrade(tmp_path, fork.joint_net(kind="RandomCropBoostedData", more=bounds))
    keys = fork.param_str(read_net(str(tmp_path / "net.prototxt")))
    assert keys["resize_shorter"] == sides
    text = fork.joint_net(kind="RandomCropBoostedData", more=bounds.replace(high, low))
    said = upgrade(tmp_path, text, status=2)
    assert (
        f"has the lower_bound {float(low):g} and the upper_bound {float(low):g}: expected" in said
    )


def test_labels_that_are_read_whole(tmp_path):
    more = 'layer { name: "all" type: "Power" bottom: "label" top: "all" include { phase: TRAIN } }'
    said = upgrade(tmp_path, fork.joint_net() + more)
    assert "Concat 'label' joins the labels again" in said
    made = view(read_net(str(tmp_path / "net.prototxt")), "net", "TRAIN", {})
    assert made.built.shapes["all"] == (4, 1)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        # both tops written over: the sum gets a blob of its own
        (
            'layer { name: "r" type: "Residual" bottom: "a" bottom: "b" top: "x" top: "y" }'
            'layer { name: "p" type: "ReLU" bottom: "x" top: "x" }'
            'layer { name: "q" type: "TanH" bottom: "y" top: "y" }',
            [(["a", "b"], ["r_sum"]), (["r_sum"], ["x"]), (["r_sum"], ["y"])],
        ),
        # one bottom: nothing but two names for it
        (
            'layer { name: "r" type: "Residual" bottom: "b" top: "x" top: "y" }'
            'layer { name: "p" type: "ReLU" bottom: "x" top: "x" }'
            'layer { name: "q" type: "TanH" bottom: "x" bottom: "y" top: "z" }',
            [(["b"], ["x"]), (["x", "b"], ["z"])],
        ),
        (
            'layer { name: "r" type: "Residual" bottom: "a" bottom: "b" top: "x" }'
            'layer { name: "p" type: "ReLU" bottom: "x" top: "x" }',
            [(["a", "b"], ["x"]), (["x"], ["x"])],
        ),
        # over its own bottoms, which an Eltwise cannot
        (
            'layer { name: "r" type: "Residual" bottom: "a" bottom: "b" top: "a" top: "b" }'
            'layer { name: "p" type: "ReLU" bottom: "a" top: "a" }'
            'layer { name: "q" type: "TanH" bottom: "b" top: "z" }',
            [(["a", "b"], ["r_sum"]), (["r_sum"], ["a"]), (["r_sum"], ["z"])],
        ),
    ],
)
def test_residuals_of_all_kinds(tmp_path, layers, expected):
    inputs = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ dim: 1 dim: 2'
        f" }} }} }}\n"
        for name in "ab"
    )
    upgrade(tmp_path, inputs + layers)
    net = read_net(str(tmp_path / "net.prototxt"))
    assert [(list(x.bottom), list(x.top)) for x in net.layer[2:]] == expected


def test_a_net_without_the_forks_layers_stays_as_it_is(tmp_path):
    text = (REPO / "prototxt/demo/joint_train_val.prototxt").read_text()
    assert "nothing of the fork was in it" in upgrade(tmp_path, text)
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    assert read_net(str(tmp_path / "net.prototxt")) == net


RETRIEVAL = """name: "AlexNet"
layer { name: "data" type: "ImageData" top: "data" top: "label"
  image_data_param { source: "l.txt" batch_size: 100 } }
layer { name: "stats" type: "FeatureStatistics" bottom: "data" top: "s"
  feature_stats_param{ total_channels: CHANNELS saving_signal: 10 scales: 5 bin: 100 } }
layer { name: "hist" type: "RefinedHistFeature" bottom: "data" bottom: "label" top: "f"
  hist_feature_param{ feature_statistics_path: "stats.txt" total_channels: 352 bin: 100
    channel_weight: 0.5 channel_weight: 0.5 } propagate_down: 0 propagate_down: 0 }
layer { name: "knn" type: "NormalKnnMatch" bottom: "f" bottom: "label" top: "k"
  knn_match_param { sample_num: 5360 feature_num: 5360 dim: 35200 nodes_num: 5000 bin: 100 } }
"""


def test_retrieval_nets_become_commands(tmp_path):
    said = upgrade(tmp_path, RETRIEVAL.replace("CHANNELS", "1376"))
    for line in (
        "# conv3, conv4 and conv5 are left out: the distance is of conv1 and conv2",
        "sjft fit-bins TARGET_LMDB BINS.npz --bank alexnet --weights bvlc_alexnet.caffemodel "
        "--bins 100",
        "sjft import-original bins stats.txt TARGET_LMDB BINS.npz --weights "
        "bvlc_alexnet.caffemodel",
        "sjft retrieve TARGET_LMDB SOURCE_LMDB NEIGHBORS_LMDB --bins-file BINS.npz --weights "
        "bvlc_alexnet.caffemodel --k 5000",
    ):
        assert f"{line}\n" in said
    assert not (tmp_path / "net.prototxt").exists()
    said = upgrade(tmp_path, RETRIEVAL.replace("CHANNELS", "77"), status=2)
    assert "histograms are of 77 channels, expected AlexNet's conv1 and conv2 (352)" in said


def test_what_a_retrieval_net_does_not_say(tmp_path):
    """The defaults of the fork's caffe.proto."""
    text = (
        RETRIEVAL.replace("CHANNELS", "352").replace(" bin: 100", "").replace("nodes_num: 5000", "")
    )
    text = text.replace(
        "saving_signal", "num: 3 num: 4 channels: 5 height: 6 width: 7 saving_signal"
    )
    said = upgrade(tmp_path, text)
    assert " --bins 100\n" in said and "# histograms: 32 bins" in said and " --k 100\n" in said
    said = upgrade(tmp_path, text.replace("352", "48"))
    assert "sjft fit-bins TARGET_LMDB BINS.npz --bank gabor --bins 100\n" in said
    assert "--bins-file BINS.npz --k 100\n" in said and "--weights" not in said


def test_what_a_joint_net_does_not_say(tmp_path):
    """The defaults of the fork's caffe.proto."""
    text = fork.joint_net(kind="RandomCropBoostedData", more="random_crop_param { }", crop=224)
    for field in (
        "base_selected_nn_num: 2",
        "highest_sample_level: 10",
        "least_sample_per_class: 0",
        "target_domain_val_num: 0",
    ):
        assert field in text
        text = text.replace(field, "")
    said = upgrade(tmp_path, text)
    keys = fork.param_str(read_net(str(tmp_path / "net.prototxt")))
    assert (keys["k0"], keys["min_source_per_class"]) == (1000, 50)
    assert keys["resize_shorter"] == [256, 479]
    for line in (
        "base_selected_nn_num is not set: 1000, as in the fork",
        "least_sample_per_class is not set: 50, as in the fork",
        "highest_sample_level is not set: 5, as in the fork",
        "levels.txt: 'sjft import-original levels --highest 5 --leave-out-validation' reads it",
        "neighbours.txt: 'sjft import-original neighbours --leave-out-validation' reads it",
    ):
        assert f"  {line}\n" in said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("is_color: true", "is_color: false"), "reads grey images"),
        (("mirror: true", "mirror: true scale: 0.5"), "scales pixels by 0.5"),
        (("new_width: 36", "new_width: 40"), "new_height 36 and new_width 40: expected the same"),
        (("mean_value: 104 mean_value: 117 mean_value: 123", 'mean_file: "m"'), "a mean per pixel"),
        (("batch_size: 4", "batch_size: 5"), "'batch_size' must be even"),
        (('top: "label"', ""), "has 1 tops, expected data and labels"),
        (("crop_size: 32", "crop_size: 40"), "'crop' must be at most 'resize'"),
        (('type: "MergeData"', 'type: "MergeData" random_crop_param { }'), "another of the fork's"),
        (("least_sample_per_class: 0", "no_such: 0"), 'has no field named "no_such"'),
        (('bottom: "res2c_branch2c"\n', ""), "1 bottoms and 1 tops, expected two"),
        (('top: "source_label"\n', ""), "'split_label' splits the labels into 1, expected two"),
        (
            (
                'type: "MergeData"',
                'type: "Data" } layer { type: "Residual" top: "a" } layer { type: "Concat"',
            ),
            "0 bottoms and 1 tops, expected two",
        ),
    ],
)
def test_what_cannot_be_carried_over(tmp_path, capsys, change, why):
    text = fork.joint_net().replace(*change)
    assert text != fork.joint_net()
    (tmp_path / "original.prototxt").write_text(text)
    with pytest.raises(SystemExit) as left:
        main(["upgrade-prototxt", str(tmp_path / "original.prototxt"), str(tmp_path / "net")])
    assert left.value.code == 2
    assert why in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["original.prototxt"]


def test_mean_can_be_given(tmp_path):
    upgrade(tmp_path, fork.joint_net(transform='mean_file: "m"'), "--mean", 104, 117, 122.5)
    assert fork.param_str(read_net(str(tmp_path / "net.prototxt")))["mean"] == [104, 117, 122.5]


@pytest.mark.parametrize("channels", [48, 352])
def test_bins(imported, tmp_path, channels, request):
    weights = []
    if channels == 352:
        folder = request.getfixturevalue("shared_data")
        weights = ["--weights", folder / "alexnet_conv12.npz"]
    (tmp_path / "bins.txt").write_text(fork.bins_text(channels, 100))
    target = imported / "target_lmdb"
    output = tmp_path / "bins.npz"
    run_sjft("import-original", "bins", tmp_path / "bins.txt", target, output, *weights)
    bins = load_bins(str(output))
    assert bins.edges.shape == (channels, 100)
    assert bins.minimum[3] == np.float32(-2) and bins.edges[0, 49] == pytest.approx(0, abs=1e-6)
    source = imported / "source_lmdb"
    run_sjft(
        *("retrieve", target, source, tmp_path / "n", "--bins-file", output, "--k", 3, *weights)
    )
    assert NeighbourLmdb(str(tmp_path / "n")).k == 3


@pytest.mark.parametrize(
    ("kind", "lines", "why"),
    [
        ("source-images", ["a b 0 1"], "line 1 of f.txt has 4 fields"),
        ("source-images", ["s0.png 0 1", "s1.png 2 1"], "has the number 2, expected 1"),
        ("source-images", ["s0.png 0 -1"], "line 1 of f.txt has the class '-1'"),
        ("source-images", [""], "f.txt is empty"),
        ("source-images", ["none.png 0 1"], "none.png"),
        ("target-images", ["t0_0.png 0 1"], "has 3 fields: expected a path without spaces"),
        ("target-images", ["t0_0.png 0 1 0", "t1_0.png 1 2 0"], "the class 2 for the image 0"),
        ("target-images", ["t0_0.png 0 1 0", "t1_0.png 1 2 2"], "no line for the image 1"),
        ("neighbours", ["0 1 2 9", "1 1 9"], "line 2 of f.txt has 3 fields, expected 4"),
        ("neighbours", ["0 1 2 9", "0 1 2 9"], "is a second one for the target 0"),
        ("neighbours", ["0 1 20 9"], "has the neighbour '20': expected an integer from 0 to 19"),
        ("neighbours", ["9 1 2 9"], "has the target '9': expected an integer from 0 to 5"),
        ("neighbours", ["0 1 2 9"], "no line for the target 1: expected all of 6"),
        ("levels", ["0 1", "1 0"], "line 2 of f.txt has the level 0"),
        ("levels", ["0 1"], "no line for the target 1"),
        ("levels", ["0"], "line 1 of f.txt has 1 fields"),
        ("bins", ["0 1 x 1"], "does not hold numbers alone"),
        ("bins", ["0 1 0.5 0.5 1 0.5"] * 7, "bins of 7 channels, expected AlexNet's"),
        ("bins", ["0 1 0.7 0.5 0.2 0.5"], "bins that do not ascend"),
        ("bins", ["0 1 0.5 0.5 1 0.5", "0 1 0.5 0.5 0.7 0.2 1 0.5"], "has 3 bins, others 2"),
        ("bins", ["0 1 0.5"], "has 3 numbers"),
    ],
)
def test_bad_files(imported, tmp_path, monkeypatch, capsys, kind, lines, why):
    (tmp_path / "f.txt").write_text("\n".join(lines))
    places = {
        "source-images": ["out", "--root", imported / "images"],
        "target-images": ["out", "--root", imported / "images"],
        "neighbours": [imported / "target_lmdb", imported / "source_lmdb", "out"],
        "levels": [imported / "target_lmdb", "out"],
        "bins": [imported / "target_lmdb", "out"],
    }
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["import-original", kind, "f.txt", *map(str, places[kind])])
    assert left.value.code == 2
    assert why in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"]


def test_levels_above_ten_are_cut(imported, tmp_path):
    (tmp_path / "f.txt").write_text("".join(f"{i} {i + 6}\n" for i in range(fork.TARGETS)))
    target = imported / "target_lmdb"
    said = run_sjft("import-original", "levels", tmp_path / "f.txt", target, tmp_path / "l.json")
    assert "1 above 10 were cut to it" in said
    assert json.loads((tmp_path / "l.json").read_text())["levels"] == [6, 7, 8, 9, 10, 10]


def test_force_replaces_nothing_but_an_lmdb_of_its_kind(imported, tmp_path):
    shutil.copytree(imported / "images", tmp_path / "images")
    shutil.copytree(imported / "neighbours_lmdb", tmp_path / "neighbours")
    before = sorted(path.name for path in (tmp_path / "images").iterdir())
    arguments = ("--root", imported / "images", "--force")
    for output, why in (
        ("images", "--force replaces only an LMDB"),
        ("neighbours", "--force replaces only 'sjft image lmdb 1'"),
    ):
        for kind, name in (("source-images", "source.txt"), ("target-images", "target.txt")):
            said = run_sjft(
                *("import-original", kind, imported / name, tmp_path / output, *arguments), status=2
            )
            assert why in said
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == before
    assert (tmp_path / "neighbours" / "sjft.json").exists()


def test_stopped_between_versions(imported, tmp_path):
    shutil.copytree(imported / "target_lmdb_v2", tmp_path / "t_v2")
    before = (tmp_path / "t_v2/data.mdb").stat().st_mtime_ns
    arguments = ("target-images", imported / "target.txt", tmp_path / "t")
    said = run_sjft("import-original", *arguments, "--root", imported / "images")
    assert "t_v2 is there already" in said
    assert (tmp_path / "t_v2/data.mdb").stat().st_mtime_ns == before
    expected = ImageLmdb(str(imported / "target_lmdb")).fingerprint
    assert ImageLmdb(str(tmp_path / "t")).fingerprint == expected
    shutil.rmtree(tmp_path / "t")
    shutil.rmtree(tmp_path / "t_v2")
    write_image_lmdb(tmp_path / "t_v2", [draw_image(1)], [0])
    said = run_sjft("import-original", *arguments, "--root", imported / "images", status=2)
    assert "t_v2 holds other images" in said
    shutil.rmtree(tmp_path / "t_v2")
    shutil.copytree(imported / "target_lmdb", tmp_path / "t_v2")  # of the same labels
    said = run_sjft("import-original", *arguments, "--root", imported / "images", status=2)
    assert "t_v2 holds other images" in said and not (tmp_path / "t").exists()


def test_levels_are_cut_to_the_nets_highest(imported, tmp_path):
    (tmp_path / "f.txt").write_text("".join(f"{i} {i + 1}\n" for i in range(fork.TARGETS)))
    arguments = ("levels", tmp_path / "f.txt", imported / "target_lmdb", tmp_path / "l.json")
    said = run_sjft("import-original", *arguments, "--highest", 5)
    assert "1 above 5 were cut to it" in said
    assert json.loads((tmp_path / "l.json").read_text())["levels"] == [1, 2, 3, 4, 5, 5]


def test_lines_of_validation_images(imported, tmp_path):
    """The fork numbers them behind the training images, and its target list does not hold them."""
    target, source = imported / "target_lmdb", imported / "source_lmdb"
    val = fork.TARGETS + 1
    near = f"{val}\t" + "1\t" * (fork.K + 1) + "\n" + (imported / "neighbours.txt").read_text()
    (tmp_path / "n.txt").write_text(near)
    (tmp_path / "l.txt").write_text(f"{val} 0\n" + (imported / "levels.txt").read_text())
    for kind, *places in (
        ("neighbours", tmp_path / "n.txt", target, source, tmp_path / "n"),
        ("levels", tmp_path / "l.txt", target, tmp_path / "l.json"),
    ):
        said = run_sjft("import-original", kind, *places, status=2)
        assert f"line 1 of {places[0]} has the target '{val}': expected an integer from 0" in said
        said = run_sjft("import-original", kind, *places, "--leave-out-validation")
        assert "; left out the lines of 1 other targets" in said
    expected = NeighbourLmdb(str(imported / "neighbours_lmdb"))
    assert NeighbourLmdb(str(tmp_path / "n")).indices(3).tolist() == expected.indices(3).tolist()
    assert (tmp_path / "l.json").read_text() == (imported / "levels.json").read_text()


def test_bins_of_all_of_alexnet(imported, tmp_path, shared_data):
    """The fork's statistics net writes those of conv1 to conv5, in this order."""
    arguments = (imported / "target_lmdb", "--weights", shared_data / "alexnet_conv12.npz")
    for name, channels in (("two", 352), ("all", 1376)):
        (tmp_path / f"{name}.txt").write_text(fork.bins_text(channels, 10))
        places = (tmp_path / f"{name}.txt", arguments[0], tmp_path / f"{name}.npz")
        said = run_sjft("import-original", "bins", *places, *arguments[1:])
    assert "of 1376 channels the first 352 are taken, AlexNet's conv1 and conv2" in said
    two, both = (load_bins(str(tmp_path / f"{name}.npz")) for name in ("two", "all"))
    np.testing.assert_array_equal(two.edges, both.edges)
    np.testing.assert_array_equal(two.minimum, both.minimum)
