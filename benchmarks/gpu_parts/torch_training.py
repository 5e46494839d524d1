"""Step: PyTorch trains the same net, as a yardstick: ResNet-152 with identity mappings, two heads.

Written as one would in PyTorch, in its usual memory layout: no compilation, cuDNN's algorithms
chosen by trial. In float32 and with TensorFloat-32 in convolutions, PyTorch's default and Caffe's.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from step import Findings, Settings, run, seconds_left
from tables import table
from torch import nn

#: net -> stem's channels and kernel; units; bottleneck widths; side of images; classes of each task
NETS: dict[str, Any] = {
    "resnet152": ((64, 7), (3, 8, 36, 3), (64, 128, 256, 512), 224, (102, 1000)),
    "demo": ((32, 5), (2, 2, 2), (16, 32, 64), 32, (10, 64)),
}
_WARM_UP, _FEWEST = 4, 3


class Unit(nn.Module):
    """1x1, 3x3, 1x1, added to the input; its first of a stage projects the activated input."""

    def __init__(self, inputs: int, width: int, stride: int, projected: bool, active: bool) -> None:
        super().__init__()
        outputs = 4 * width
        # the input of a stage's first unit comes activated
        self.before = nn.Identity() if active else activation(inputs)
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, width, 1, stride, bias=False),
            activation(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            activation(width),
            nn.Conv2d(width, outputs, 1, bias=False),
        )
        self.projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if projected else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = self.before(x)
        identity = x if self.projection is None else self.projection(active)
        return identity + self.residual(active)


class Joint(nn.Module):
    """The trunk, and a classifier for each half of the batch."""

    def __init__(self, name: str) -> None:
        super().__init__()
        (channels, kernel), units, widths, _, classes = NETS[name]
        stem = nn.Conv2d(3, channels, kernel, 2, kernel // 2, bias=False)
        layers = [stem, activation(channels), nn.MaxPool2d(3, 2, ceil_mode=True)]
        for stage, (count, width) in enumerate(zip(units, widths)):
            for unit in range(count):
                first = unit == 0
                layers.append(Unit(channels, width, 1 + (first and stage > 0), first, first))
                channels = 4 * width
            layers.append(activation(channels))
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = nn.ModuleList(nn.Linear(channels, number) for number in classes)

    def forward(self, images: torch.Tensor, labels: list[torch.Tensor]) -> torch.Tensor:
        halves = self.trunk(images).chunk(2)
        losses = [
            nn.functional.cross_entropy(head(half), label)
            for head, half, label in zip(self.heads, halves, labels)
        ]
        return 0.5 * losses[0] + 0.5 * losses[1]


def activation(channels: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def main(settings: Settings, findings: Findings) -> None:
    device = "cpu" if settings["gpu"] is None else f"cuda:{settings['gpu']}"
    batch = settings["batch"]
    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    rows, rates = [], {}
    for name, convolutions in (("float32", False), ("TensorFloat-32 in convolutions", True)):
        torch.backends.cudnn.allow_tf32 = convolutions
        seconds = iterations(settings, device)
        rates[name] = batch / sorted(seconds)[len(seconds) // 2]
        rows.append([f"PyTorch {torch.__version__}, {name}", batch, rates[name]])
    earlier = settings["earlier"][0] or {}
    caffe = {
        "TensorFloat-32 in convolutions": earlier.get("rates", {}).get("DummyData"),
        "float32": caffe_float32(earlier, batch),
    }
    ratios = {name: rates[name] / own for name, own in caffe.items() if own}
    rows += [[f"Caffe, {name}, DummyData", batch, own] for name, own in caffe.items() if own]
    rows += [[f"PyTorch / Caffe, {name}", "", ratio] for name, ratio in ratios.items()]
    findings.add(
        table("The same net in PyTorch", ["", "batch", "images/s"], rows),
        rates=rates,
        ratios=ratios,
        version=torch.__version__,
    )


def iterations(settings: Settings, device: str) -> list[float]:
    """Return the seconds of each training iteration, as train_probe.py counts them."""
    batch, half = settings["batch"], settings["batch"] // 2
    net = Joint(settings["net"]).to(device)
    side, classes = NETS[settings["net"]][3:]
    images = 60 * torch.randn((batch, 3, side, side), device=device)
    labels = [torch.randint(number, (half,), device=device) for number in classes]
    solver = torch.optim.SGD(net.parameters(), 0.0, momentum=0.9, weight_decay=1e-4)
    seconds: list[float] = []
    until = None
    while until is None or time.monotonic() < until or len(seconds) < _WARM_UP + _FEWEST:
        begin = time.perf_counter()
        solver.zero_grad()
        loss = net(images, labels)
        loss.backward()
        solver.step()
        loss.item()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
        if len(seconds) == _WARM_UP:
            until = time.monotonic() + min(settings["seconds"], seconds_left(settings) / 3)
    return seconds[_WARM_UP:]


def caffe_float32(earlier: dict[str, Any], batch: int) -> float | None:
    """Return Caffe's images per second without TensorFloat-32, if it was measured."""
    made = earlier.get("choices", {}).get("TensorFloat-32 ruled out", {}).get("seconds")
    return batch / sorted(made)[len(made) // 2] if made else None


if __name__ == "__main__":
    run(main)
