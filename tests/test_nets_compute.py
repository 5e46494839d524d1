"""What the generated nets compute: a literal reading of the method, and dense nets by window."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from conftest import REPO, draw_image
from sjft_tools.nets.preact_resnet import unit_names

PROTOTXT = REPO / "prototxt"


def randomise(net: caffe.Net) -> None:
    """Draw weights of a size that keeps the signal's; BatchNorm's statistics, too."""
    rng = np.random.default_rng(1)
    for name, blobs in net.params.items():
        if name.startswith("bn"):
            blobs[0].data[...] = rng.normal(0, 0.1, blobs[0].data.shape)
            blobs[1].data[...] = rng.uniform(0.5, 2, blobs[1].data.shape)
            blobs[2].data[...] = 1
        elif blobs[0].data.ndim > 1:
            fan_in = blobs[0].data[0].size
            blobs[0].data[...] = rng.random(blobs[0].data.shape, np.float32)
            blobs[0].data[...] -= 0.5
            blobs[0].data[...] *= (24 / fan_in) ** 0.5


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "squeezenet"])
def test_dense_net_takes_the_weights_and_scores_every_window(tmp_path, name):
    folder = PROTOTXT / "nets" / name
    deploy = caffe.Net(str(folder / "sjft_deploy.prototxt"), caffe.TEST)
    randomise(deploy)
    dense = caffe.Net(str(folder / "sjft_deploy_dense.prototxt"), caffe.TEST)
    if name == "vgg16":  # half a gigabyte, which need not pass through a file
        for layer, blobs in deploy.params.items():
            for blob, taken in zip(blobs, dense.params[layer]):
                taken.data[...] = blob.data
    else:
        deploy.save(str(tmp_path / "trained.caffemodel"))
        dense.copy_from(str(tmp_path / "trained.caffemodel"))
    assert dense.inputs == ["data"] and dense.outputs == ["prob"]
    image = draw_image(3, 288, 256).transpose(2, 0, 1) - np.float32(110)
    deploy.blobs["data"].data[0] = image[:, :224, :224]
    dense.blobs["data"].reshape(1, 3, 224, 224)
    dense.blobs["data"].data[0] = image[:, :224, :224]
    expected, prob = deploy.forward()["prob"], dense.forward()["prob"]
    assert prob.shape == (1, 67, 1, 1)
    np.testing.assert_allclose(prob.reshape(1, 67), expected, rtol=1e-4, atol=1e-7)

    dense.blobs["data"].reshape(1, 3, 288, 256)
    dense.blobs["data"].data[0] = image
    prob = dense.forward()["prob"]
    scores = dense.blobs["fc_target_map"].data[0].astype(np.float64)
    top = {"resnet50": "pool5", "vgg16": "fc7_map", "squeezenet": "pool9"}[name]
    features = dense.blobs[top].data[0]
    assert scores.shape[1:] == features.shape[1:] != (1, 1)
    weights, bias = (blob.data.astype(np.float64) for blob in deploy.params["fc_target"])
    windows = np.einsum("cf,fij->cij", weights, features) + bias[:, None, None]
    np.testing.assert_allclose(scores, windows, rtol=1e-3, atol=1e-3)
    powers = np.exp(scores - scores.max(axis=0))
    mean = (powers / powers.sum(axis=0)).mean(axis=(1, 2))
    np.testing.assert_allclose(prob.ravel(), mean, rtol=1e-3, atol=1e-6)


def test_resnet152_deploy_runs():
    net = caffe.Net(str(PROTOTXT / "sjft_deploy.prototxt"), caffe.TEST)
    assert len(net.params) == 458
    image = draw_image(0, 224, 224).astype(np.float32) - (104, 117, 123)
    net.blobs["data"].data[0] = image.transpose(2, 0, 1)
    prob = net.forward()["prob"]
    assert prob.shape == (1, 67)
    assert prob.sum() == pytest.approx(1, abs=1e-5)


# A literal reading of the method's section 5 in numpy, for a stem of 5x5, stride 2, and a pooling.
def convolve(x: np.ndarray, weights: np.ndarray, stride: int, pad: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    kernel = weights.shape[2]
    side = (x.shape[1] - kernel) // stride + 1
    out = np.zeros((weights.shape[0], side, side))
    for row in range(side):
        for column in range(side):
            top, left = row * stride, column * stride
            patch = x[:, top : top + kernel, left : left + kernel]
            out[:, row, column] = np.tensordot(weights, patch, 3)
    return out


def max_pool(x: np.ndarray) -> np.ndarray:
    """3 x 3, stride 2; the size is rounded up and the last windows are cut off, as Caffe does."""
    side = -(-(x.shape[1] - 3) // 2) + 1
    out = np.zeros((x.shape[0], side, side))
    for row in range(side):
        for column in range(side):
            top, left = 2 * row, 2 * column
            out[:, row, column] = x[:, top : top + 3, left : left + 3].max(axis=(1, 2))
    return out


def literal_forward(net: caffe.Net, image: np.ndarray, units: tuple[int, ...]) -> np.ndarray:
    def weights(name: str, index: int = 0) -> np.ndarray:
        return net.params[name][index].data.astype(np.float64)

    def conv(name: str, x: np.ndarray, stride: int = 1, pad: int = 0) -> np.ndarray:
        return convolve(x, weights(name), stride, pad)

    def activate(name: str, x: np.ndarray) -> np.ndarray:
        count = weights(f"bn{name}", 2)[0]
        mean, variance = weights(f"bn{name}") / count, weights(f"bn{name}", 1) / count
        gain = weights(f"scale{name}") / np.sqrt(variance + 1e-5)
        shifted = gain[:, None, None] * (x - mean[:, None, None])
        return np.maximum(shifted + weights(f"scale{name}", 1)[:, None, None], 0)

    x = max_pool(activate("_conv1", conv("conv1", image, stride=2, pad=2)))
    for stage, count in enumerate(units, start=2):
        for number, unit in enumerate(unit_names(count)):
            name, stride = f"{stage}{unit}", 2 if stage > 2 and number == 0 else 1
            if number == 0:
                identity = conv(f"res{name}_branch1", x, stride)
            x = activate(f"{name}_branch2a", conv(f"res{name}_branch2a", x, stride))
            x = activate(f"{name}_branch2b", conv(f"res{name}_branch2b", x, pad=1))
            identity = identity + conv(f"res{name}_branch2c", x)
            x = activate(name, identity)
    pooled = x.mean(axis=(1, 2))
    return weights("fc_target") @ pooled + weights("fc_target", 1)


def test_net_computes_what_the_method_says():
    net = caffe.Net(str(PROTOTXT / "demo/deploy.prototxt"), caffe.TEST)
    rng = np.random.default_rng(0)
    for name, blobs in net.params.items():
        for blob in blobs:
            positive = name.startswith(("bn", "scale")) and blob is not blobs[0]
            low = 0.5 if positive else -0.5
            blob.data[...] = rng.uniform(low, 1, blob.data.shape)
        if name.startswith("bn"):
            blobs[2].data[...] = 2.5
    image = rng.uniform(-1, 1, net.blobs["data"].data.shape[1:])
    net.blobs["data"].data[0] = image
    net.forward()
    scores = literal_forward(net, image, (2, 2, 2))
    np.testing.assert_allclose(net.blobs["fc_target"].data[0], scores, rtol=1e-4)
