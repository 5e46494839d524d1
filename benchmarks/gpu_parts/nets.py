"""Joint nets to be measured, with whatever gives them their data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sjft_tools.nets import layers as L
from sjft_tools.nets.demo import NET
from sjft_tools.nets.joint import joint_loss
from sjft_tools.nets.preact_resnet import RESNET_152, PreactResNet, trunk
from sjft_tools.nets.text import Message, Word, net_text, settings_text

TOPS = ["data", "target_label", "source_label"]
_SEED = 1


class JointNet(NamedTuple):
    """A net, the side of its images, and the numbers of its classes."""

    net: PreactResNet
    crop: int
    target_classes: int
    source_classes: int

    def shapes(self, batch: int) -> list[tuple[int, ...]]:
        """Return the shapes of TOPS."""
        return [(batch, 3, self.crop, self.crop), (batch // 2,), (batch // 2,)]


NETS = {
    "resnet152": JointNet(RESNET_152, 224, 102, 1000),
    "demo": JointNet(NET, 32, 10, 64),
}


def text(joint: JointNet, data: list[Message], engine: str | None = None) -> str:
    """Return the joint net for training; `engine`: CAFFE or CUDNN in all convolutions."""
    shared = trunk(joint.net)
    items = [
        *data,
        *shared.items,
        L.slice_batch("slice", shared.top, ["target", "source"]),
        L.classifier("fc_target", "target", joint.target_classes),
        L.classifier("fc_source", "source", joint.source_classes),
        joint_loss(),
    ]
    if engine is not None:
        for item in items:
            if isinstance(item, dict) and item["type"] == "Convolution":
                item["convolution_param"]["engine"] = Word(engine)
    return net_text("joint", "A net to be measured.", items)


def input_data(joint: JointNet, batch: int) -> list[Message]:
    """Return layers whose blobs the caller fills."""
    return [L.input_layer(top, shape) for top, shape in zip(TOPS, joint.shapes(batch))]


def dummy_data(joint: JointNet, batch: int) -> list[Message]:
    """Return a layer that gives the same always, at no cost: ones, or what is written over them.

    Not zeros, which take a GPU less power, so that it may run faster.
    """
    shapes = [{"dim": list(shape)} for shape in joint.shapes(batch)]
    param = {"shape": shapes, "data_filler": {"type": "constant", "value": 1.0}}
    return [{"name": "data", "type": "DummyData", "top": TOPS, "dummy_data_param": param}]


def joint_data(params: dict[str, Any]) -> list[Message]:
    """Return JointDataLayer."""
    return [L.python_layer("data", "JointDataLayer", params, TOPS)]


def solver_text(net: str, iterations: int, gpu: int | None, **settings: Any) -> str:
    """Return a solver of the file `net`."""
    fields: Message = {
        "net": net,
        "base_lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 0.0001,
        "lr_policy": "fixed",
        "max_iter": iterations,
        "display": 0,
        "random_seed": _SEED,
        **settings,
        "solver_mode": Word("CPU" if gpu is None else "GPU"),
    }
    return settings_text("A solver to be measured.", [("", fields)])


def use(caffe: Any, gpu: int | None) -> None:
    """Have Caffe compute on GPU number `gpu`, on the CPU with None."""
    if gpu is None:
        caffe.set_mode_cpu()
    else:
        caffe.set_device(gpu)
        caffe.set_mode_gpu()


def fill_weights(net: Any) -> None:
    """Give all layers weights that any machine draws alike, as He et al. initialise them."""
    for index, layer in enumerate(net.layers):
        rng = np.random.default_rng([_SEED, index])
        for number, blob in enumerate(layer.blobs):
            values = rng.standard_normal(blob.data.shape, np.float32)
            if layer.type == "BatchNorm":
                values *= 0
            elif layer.type == "Scale":
                values = np.float32(0.1) * values + np.float32(number == 0)
            elif values.ndim > 1:
                values *= np.float32(np.sqrt(2 * len(values) / values.size))
            else:
                values *= np.float32(0.01)
            blob.data[...] = values


def fill_inputs(net: Any, joint: JointNet, batch: int) -> None:
    """Give the input blobs noise of images' strength and labels, the same on any machine."""
    rng = np.random.default_rng([_SEED, batch])
    shape = net.blobs["data"].data.shape
    net.blobs["data"].data[...] = 60 * rng.standard_normal(shape, np.float32)
    for top, classes in zip(TOPS[1:], (joint.target_classes, joint.source_classes)):
        net.blobs[top].data[...] = rng.integers(classes, size=batch // 2)
