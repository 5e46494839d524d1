"""The demo's nets: a small one of the ResNet-152's family for 32 x 32 images, from scratch."""

from __future__ import annotations

from sjft_tools.nets.comparison import Comparison, comparison_files
from sjft_tools.nets.joint import DataPaths, Task
from sjft_tools.nets.preact_resnet import PreactResNet, Stem, trunk

# A run of 2,000 iterations is too short for BatchNorm's usual average over 1,000: half-trained
# iterations would weigh on the statistics that TEST uses.
NET = PreactResNet(
    stem=Stem(channels=32, kernel=5, pad=2),
    units=(2, 2, 2),
    widths=(16, 32, 64),
    last_map=2,  # for 32 x 32 images
    moving_average=0.95,
)

# Digits fill their images: a crop of 32 from 36 x 36 moves them and cuts little off. They are never
# mirrored. With at most two images of a class in a batch, ten classes allow a target half of 20.
TASK = Task(
    target_classes=10,
    source_classes=64,
    batch_size=32,
    test_batch_size=50,
    k0=300,
    crop=32,
    train_resize={"resize": 36},
    test_resize={"resize": 36},
    mirror=False,
    paths=DataPaths(
        target="build/demo/run/target_train_lmdb",
        target_test="build/demo/run/target_test_lmdb",
        source="build/demo/run/source_lmdb",
        neighbours="build/demo/run/neighbors_lmdb",
    ),
)

DEMO = Comparison(
    task=TASK,
    name="sjft_demo",
    title="The demo",
    test_images=1767,
    max_iter=2000,
    base_lr=0.05,
    weight_decay=0.001,
    origin="Long enough to converge on 32 x 32 images, short enough for a demo.",
    folder="prototxt/demo",
    snapshot_folder="build/demo",
    seed=1,
)


def demo_files(demo: Comparison) -> dict[str, str]:
    """The demo's files: name below its folder -> text."""
    return comparison_files(demo, trunk(NET))
