"""`sjft upgrade-prototxt`: what becomes of each layer of the authors' fork, and what is refused."""

from __future__ import annotations

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

import original_fork as fork
from conftest import REPO
from sjft_tools.cli import main
from sjft_tools.net_files import read_net
from sjft_tools.netscope.view import view


def test_random_crops(tmp_path):
    bounds = "random_crop_param { lower_bound: 36 upper_bound: 61 }"
    said = fork.upgrade(tmp_path, fork.joint_net(kind="RandomCropBoostedData", more=bounds))
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
    fork.upgrade(tmp_path, fork.joint_net(kind="RandomCropBoostedData", more=bounds))
    keys = fork.param_str(read_net(str(tmp_path / "net.prototxt")))
    assert keys["resize_shorter"] == sides
    text = fork.joint_net(kind="RandomCropBoostedData", more=bounds.replace(high, low))
    said = fork.upgrade(tmp_path, text, status=2)
    assert (
        f"has the lower_bound {float(low):g} and the upper_bound {float(low):g}: expected" in said
    )


def test_labels_that_are_read_whole(tmp_path):
    more = 'layer { name: "all" type: "Power" bottom: "label" top: "all" include { phase: TRAIN } }'
    said = fork.upgrade(tmp_path, fork.joint_net() + more)
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
    fork.upgrade(tmp_path, inputs + layers)
    net = read_net(str(tmp_path / "net.prototxt"))
    assert [(list(x.bottom), list(x.top)) for x in net.layer[2:]] == expected


def test_a_net_without_the_forks_layers_stays_as_it_is(tmp_path):
    text = (REPO / "prototxt/demo/joint_train_val.prototxt").read_text()
    assert "nothing of the fork was in it" in fork.upgrade(tmp_path, text)
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
    said = fork.upgrade(tmp_path, RETRIEVAL.replace("CHANNELS", "1376"))
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
    said = fork.upgrade(tmp_path, RETRIEVAL.replace("CHANNELS", "77"), status=2)
    assert "histograms are of 77 channels, expected AlexNet's conv1 and conv2 (352)" in said


def test_what_a_retrieval_net_does_not_say(tmp_path):
    """The defaults of the fork's caffe.proto."""
    text = (
        RETRIEVAL.replace("CHANNELS", "352").replace(" bin: 100", "").replace("nodes_num: 5000", "")
    )
    text = text.replace(
        "saving_signal", "num: 3 num: 4 channels: 5 height: 6 width: 7 saving_signal"
    )
    said = fork.upgrade(tmp_path, text)
    assert " --bins 100\n" in said and "# histograms: 32 bins" in said and " --k 100\n" in said
    said = fork.upgrade(tmp_path, text.replace("352", "48"))
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
    said = fork.upgrade(tmp_path, text)
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
    fork.upgrade(tmp_path, fork.joint_net(transform='mean_file: "m"'), "--mean", 104, 117, 122.5)
    assert fork.param_str(read_net(str(tmp_path / "net.prototxt")))["mean"] == [104, 117, 122.5]


def test_a_mean_that_is_no_number(tmp_path, capsys):
    (tmp_path / "original.prototxt").write_text(fork.joint_net())
    paths = [str(tmp_path / name) for name in ("original.prototxt", "net.prototxt")]
    with pytest.raises(SystemExit) as left:
        main(["upgrade-prototxt", *paths, "--mean", "1", "2", "nan"])
    assert left.value.code == 2
    assert "--mean is [1.0, 2.0, nan], expected three finite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["original.prototxt"]
