"""The generated joint and target-only nets trained in the real Caffe, on small data bases."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2

import caffe
from conftest import draw_image, write_image_lmdb
from processes import caffe_train, run
from sjft.image_lmdb import ImageLmdb
from sjft_tools.neighbour_lmdb_writer import write_neighbours
from sjft_tools.nets.backbones import BACKBONES
from sjft_tools.nets.demo import DEMO, TASK, demo_files
from sjft_tools.nets.joint import DataPaths
from sjft_tools.nets.target_set import TASK as PHOTO_TASK
from sjft_tools.nets.target_set import TargetSet, target_set_files


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory) -> Path:
    """Small data bases and the demo's nets for them, with paths as seen from the folder."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "data").mkdir()
    (folder / "nets").mkdir()
    paths = DataPaths()
    sizes = {paths.target: (60, 10), paths.target_test: (30, 10), paths.source: (90, 8)}
    for seed, (path, (count, classes)) in enumerate(sizes.items()):
        labels = [i % classes for i in range(count)]
        # One drawing per class and data base, brighter or darker.
        images = [draw_image(label, 32, 32) // (1 + i % 2) for i, label in enumerate(labels)]
        write_image_lmdb(folder / path, images, labels, [f"{seed} {c}" for c in range(classes)])
    target, source = (ImageLmdb(str(folder / path)) for path in (paths.target, paths.source))
    indices = np.stack([(np.arange(20) * 7 + i) % source.count for i in range(target.count)])
    distances = np.tile(np.arange(20, dtype=np.float32), (target.count, 1))
    info = {"bank": "gabor", "bins": 100}
    write_neighbours(str(folder / paths.neighbours), target, source, indices, distances, info)
    task = replace(TASK, source_classes=8, k0=20, test_batch_size=10, paths=paths)
    choices = replace(
        DEMO, task=task, test_images=30, max_iter=20, folder="nets", snapshot_folder="nets"
    )
    for name, text in demo_files(choices).items():
        (folder / "nets" / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory) -> Path:
    """Small data bases of 256 x 256 images, for nets that take 224 x 224."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "data").mkdir()
    paths = DataPaths()
    for seed, path in enumerate((paths.target, paths.target_test, paths.source)):
        images = [draw_image(10 * seed + i, 256, 256) for i in range(4)]
        write_image_lmdb(folder / path, images, [0, 1, 2, 1], ["a", "b", "c"])
    target, source = (ImageLmdb(str(folder / path)) for path in (paths.target, paths.source))
    indices = np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
    distances = np.zeros((4, 2), np.float32)
    write_neighbours(str(folder / paths.neighbours), target, source, indices, distances, {})
    return folder


STEP = """
import sys, caffe, numpy as np
net = caffe.Net(sys.argv[1], caffe.TRAIN)
for name, blobs in net.params.items():
    if name.startswith("bn"):
        blobs[1].data[...], blobs[2].data[...] = 9, 1
frozen = {n: [b.data.copy() for b in p] for n, p in net.params.items() if n.startswith("bn")}
net.forward()
net.backward()
for name in sys.argv[3:]:
    gradient = net.params[name][0].diff
    assert np.isfinite(gradient).all() and abs(gradient).max() > 0, name
same = all((b.data == a).all() for n in frozen for a, b in zip(frozen[n], net.params[n]))
assert same == (sys.argv[2] == "frozen"), same
"""


@pytest.mark.parametrize(
    ("net", "frozen"),
    [("preact_resnet152", False), ("resnet50", True), ("squeezenet", False), ("vgg16", False)],
)
def test_backbones_train_jointly(photo_folder, net, frozen):
    """Forward and backward of the joint net on two images, and of the baseline on one."""
    task = replace(PHOTO_TASK, target_classes=3, source_classes=3, batch_size=2, k0=2)
    names = {
        kind: f"{net}_{kind}.prototxt" for kind in ("joint_train_val", "target_only_train_val")
    }
    for name, text in target_set_files(TargetSet(task, net=net, frozen=frozen), names).items():
        (photo_folder / name).write_text(text)
    normalised = BACKBONES[net].frozen is not None
    state = "frozen" if frozen or not normalised else "learned"
    first = "conv1_1" if net == "vgg16" else "conv1"
    nets = [(names["joint_train_val"], [first, "fc_target", "fc_source"])]
    if net == "squeezenet":
        nets.append((names["target_only_train_val"], [first, "fc_target"]))
    for file, layers in nets:
        run(sys.executable, "-c", STEP, file, state, *layers, cwd=photo_folder)


@pytest.mark.parametrize("kind", ["joint", "target_only"])
def test_demo_nets_train_on_the_command_line(demo_folder, kind):
    log = caffe_train(demo_folder, solver=f"nets/{kind}_solver.prototxt")
    assert "Use CPU" in log and "Optimization Done" in log
    assert re.search(r"Iteration 20, Testing net", log)
    losses = [float(x) for x in re.findall(r"Test net output.*target_loss = (\S+)", log)]
    accuracies = [float(x) for x in re.findall(r"Test net output.*accuracy_top5 = (\S+)", log)]
    assert len(losses) == len(accuracies) == 1
    assert np.isfinite(losses[0])
    # Five of ten classes would be right by chance; the drawings are easy.
    assert accuracies[0] > 0.6
    weights = demo_folder / f"nets/{kind}_iter_20.caffemodel"
    trained = caffe_pb2.NetParameter.FromString(weights.read_bytes())
    names = [layer.name for layer in trained.layer if layer.blobs]
    assert ("fc_source" in names) == (kind == "joint")
    deploy = caffe.Net(str(demo_folder / "nets/deploy.prototxt"), str(weights), caffe.TEST)
    assert set(deploy.params) <= set(names)
    assert np.abs(deploy.params["res4b_branch2c"][0].data).max() > 0
    assert deploy.params["bn4b"][2].data[0] > 1


def test_joint_batch_reaches_both_classifiers(demo_folder):
    """TRAIN and TEST of the joint net as it is, in a process that stands in the folder."""
    script = """
import caffe
net = caffe.Net("nets/joint_train_val.prototxt", caffe.TRAIN)
net.forward()
net.backward()
shapes = [net.blobs[b].data.shape for b in ("data", "target_label", "fc_target", "fc_source")]
assert shapes == [(32, 3, 32, 32), (16,), (16, 10), (16, 8)], shapes
total, target, source = (net.blobs[b].data.item() for b in ("loss", "target_loss", "source_loss"))
assert abs(total - (target + source) / 2) < 1e-5
for name in ("fc_target", "fc_source", "conv1"):
    assert abs(net.params[name][0].diff).max() > 0, name
# Each half of the batch feeds its own classifier alone.
assert (net.blobs["pool5_source"].data == net.blobs["pool5"].data[16:]).all()
net.save("nets/one_step.caffemodel")
test = caffe.Net("nets/joint_train_val.prototxt", "nets/one_step.caffemodel", caffe.TEST)
test.forward()
assert "fc_source" not in test.params
assert (test.blobs["pool5_target"].data == test.blobs["pool5"].data).all()
assert test.blobs["fc_target"].data.shape == (10, 10)
"""
    run(sys.executable, "-c", script, cwd=demo_folder)
