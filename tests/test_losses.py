"""The multi-task loss: numerically, and against Caffe's own SoftmaxWithLoss."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

import caffe
from sjft.errors import InputError
from sjft.layer_params import parse_multi_task_loss
from sjft.losses import as_labels, as_scores, softmax_loss, task_weights

N, CLASSES = 9, (5, 12)


def net_of(layers: str, ones: str = "") -> object:
    """A net with inputs scores1, labels1, scores2, labels2 in front of `layers`."""
    inputs = ""
    for task, classes in enumerate(CLASSES, 1):
        for blob, shape in ((f"scores{task}", (N, classes)), (f"labels{task}", (N,))):
            dims = " ".join(f"dim: {d}" for d in shape)
            inputs += (
                f'layer {{ name: "{blob}" type: "Input" top: "{blob}" '
                f"input_param {{ shape {{ {dims} {ones if 'scores' in blob else ''} }} }} }}\n"
            )
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write("force_backward: true\n" + inputs + layers)
        file.flush()
        return caffe.Net(file.name, caffe.TRAIN)


def ours(weights: str, tops: int = 3, ignore: str = "null", factors: tuple = (1, 0, 0)) -> str:
    names = "".join(f'top: "{top}" ' for top in ("total", "loss1", "loss2")[:tops])
    loss_weights = "".join(f"loss_weight: {f} " for f in factors[:tops])
    return (
        'layer { name: "loss" type: "Python" bottom: "scores1" bottom: "labels1" '
        f'bottom: "scores2" bottom: "labels2" {names} {loss_weights} '
        'python_param { module: "sjft.layers" layer: "MultiTaskLossLayer" '
        f'param_str: \'{{"weights": {weights}, "ignore_label": {ignore}}}\' }} }}'
    )


def stock(weights: tuple, ignore: str = "") -> str:
    return "".join(
        f'layer {{ name: "loss{t}" type: "SoftmaxWithLoss" bottom: "scores{t}" bottom: "labels{t}" '
        f'top: "loss{t}" loss_weight: {w} propagate_down: true propagate_down: false '
        f"loss_param {{ {ignore} }} }}"
        for t, w in enumerate(weights, 1)
    )


def run(net: object, data: dict) -> dict:
    """Forward and backward; returns losses and gradients of the scores."""
    for name, values in data.items():
        net.blobs[name].data[...] = values.reshape(net.blobs[name].data.shape)
    net.forward()
    net.backward()
    result = {name: float(net.blobs[name].data.flat[0]) for name in net.blobs if "los" in name}
    for name in ("scores1", "scores2"):
        result[name] = net.blobs[name].diff.reshape(N, -1).copy()
    result["total"] = float(net.blobs["total"].data.flat[0]) if "total" in net.blobs else None
    return result


def random_data(seed: int, scale: float = 3, ignored: int | None = None) -> dict:
    rng = np.random.default_rng(seed)
    data = {}
    for task, classes in enumerate(CLASSES, 1):
        data[f"scores{task}"] = (scale * rng.standard_normal((N, classes))).astype(np.float32)
        labels = rng.integers(0, classes, N)
        if ignored is not None:
            labels[rng.random(N) < 0.4] = ignored
        data[f"labels{task}"] = labels.astype(np.float32)
    return data


def assert_close(one: dict, other: dict) -> None:
    for name in ("loss1", "loss2"):
        assert one[name] == pytest.approx(other[name], rel=1e-6)
    for name in ("scores1", "scores2"):
        largest = np.abs(other[name]).max()
        assert np.abs(one[name] - other[name]).max() <= 1e-6 * largest


@pytest.mark.parametrize("weights", [(0.5, 0.5), (1, 0.25), (0, 2)])
@pytest.mark.parametrize("seed, scale", [(0, 1), (1, 3), (2, 10)])
def test_equals_stock_softmax_with_loss(weights: tuple, seed: int, scale: float) -> None:
    data = random_data(seed, scale)
    one, other = run(net_of(ours(str(list(weights)))), data), run(net_of(stock(weights)), data)
    assert_close(one, other)
    total = weights[0] * other["loss1"] + weights[1] * other["loss2"]
    assert one["total"] == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("ignored", [-1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_ignore_label_equals_stock(ignored: int, seed: int) -> None:
    data = random_data(seed, ignored=ignored)
    one = run(net_of(ours("[0.5, 0.5]", ignore=str(ignored))), data)
    assert_close(one, run(net_of(stock((0.5, 0.5), f"ignore_label: {ignored}")), data))


def test_all_labels_ignored_gives_zero() -> None:
    data = random_data(0)
    data["labels1"][:] = -1
    result = run(net_of(ours("null", ignore="-1")), data)
    assert result["loss1"] == 0
    assert not result["scores1"].any()
    assert result["scores2"].any()


def test_scores_of_four_axes_and_a_single_top() -> None:
    data = random_data(4)
    flat = run(net_of(ours("[0.5, 0.5]")), data)
    deep = run(net_of(ours("[0.5, 0.5]", tops=1), ones="dim: 1 dim: 1"), data)
    assert deep["total"] == flat["total"]
    assert np.array_equal(deep["scores2"], flat["scores2"])


def test_loss_weights_of_every_top_reach_the_gradient() -> None:
    data = random_data(5)
    one = run(net_of(ours("[0.5, 0.25]", factors=(2, 3, 0.5))), data)
    assert_close(one, run(net_of(stock((2 * 0.5 + 3, 2 * 0.25 + 0.5))), data))


@pytest.mark.parametrize("ignore_label", [None, 2])
def test_gradient_numerically(ignore_label: int | None) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    _, gradient = softmax_loss(scores, labels, ignore_label)
    step = 1e-5
    for place in np.ndindex(*scores.shape):
        up, down = scores.copy(), scores.copy()
        up[place] += step
        down[place] -= step
        slope = softmax_loss(up, labels, ignore_label)[0]
        slope = (slope - softmax_loss(down, labels, ignore_label)[0]) / (2 * step)
        assert gradient[place] == pytest.approx(slope, abs=1e-9)


def test_a_missing_loss_weight_is_pointed_out_once(capfd: pytest.CaptureFixture) -> None:
    net = net_of(ours("[0.5, 0.5]", factors=()))
    net.forward()
    net.forward()
    assert capfd.readouterr().err.count("add loss_weight: 1 for the first top") == 1
    net_of(ours("[0.5, 0.5]")).forward()
    assert "loss_weight" not in capfd.readouterr().err


def test_extreme_scores_stay_finite_and_equal_stock() -> None:
    data = random_data(0)
    data["scores1"][0] = [1e4, -1e4, 0, 0, 0]
    data["labels1"][0] = 1
    one, other = run(net_of(ours("[1, 1]")), data), run(net_of(stock((1, 1))), data)
    assert np.isfinite(one["total"])
    assert_close(one, other)


@pytest.mark.parametrize("value, shown", [(5, "5"), (-1, "-1"), (1.5, "1.5"), (np.nan, "nan")])
def test_labels_out_of_range_are_named(value: float, shown: str) -> None:
    labels = np.array([0, value, 4], np.float32)
    with pytest.raises(InputError) as error:
        as_labels(labels, (3, 5), None, "the label blob of task 2")
    assert str(error.value) == (
        f"the label blob of task 2 holds the label {shown}, expected an integer from 0 to 4, as "
        f"the scores have 5 classes"
    )
    with pytest.raises(InputError, match="or the ignore_label 7"):
        as_labels(labels, (3, 5), 7, "x")


def test_labels_to_ignore_that_no_blob_can_hold() -> None:
    assert parse_multi_task_loss('{"ignore_label": -1}').ignore_label == -1
    for label in (2**24 + 1, -(10**400)):
        with pytest.raises(InputError, match="'ignore_label' must be an integer from -16777216 to"):
            parse_multi_task_loss(f'{{"ignore_label": {label}}}')


def test_shapes_and_weights_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="must be N x C or N x C x 1 x 1, got 2 x 3 x 4 x 4"):
        as_scores(np.zeros((2, 3, 4, 4)), "the scores of task 1")
    with pytest.raises(InputError, match="must hold 3 labels, one per row of scores, got 2"):
        as_labels(np.zeros(2), (3, 5), None, "x")
    with pytest.raises(InputError, match="has 3 numbers, expected 2"):
        task_weights([1, 2, 3], 2)
    assert task_weights(None, 2) == [0.5, 0.5]
