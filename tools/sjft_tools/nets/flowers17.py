"""Oxford flowers 17 with Tiny ImageNet as the source, on SqueezeNet: docs/flowers17.md."""

from __future__ import annotations

from sjft_tools.nets import squeezenet
from sjft_tools.nets.comparison import Comparison, comparison_files
from sjft_tools.nets.joint import DataPaths, Task

# Small images, so that a CPU trains on them in minutes.
TASK = Task(
    target_classes=17,
    source_classes=200,
    batch_size=32,
    test_batch_size=16,
    k0=100,
    crop=88,
    train_resize={"resize": 96},
    test_resize={"resize": 96},
    mirror=True,
    paths=DataPaths(
        target="data/flowers17/target_train_lmdb",
        target_test="data/flowers17/target_test_lmdb",
        source="data/flowers17/source_lmdb",
        neighbours="data/flowers17/neighbors_lmdb",
    ),
)

FLOWERS17 = Comparison(
    task=TASK,
    name="sjft_flowers17",
    title="Oxford flowers 17",
    test_images=272,
    max_iter=300,
    base_lr=0.001,
    weight_decay=0.0002,
    origin="A few hundred iterations from published ImageNet weights.",
    folder="prototxt/flowers17",
    snapshot_folder="data/flowers17",
    seed=1,
)


def flowers17_files(flowers17: Comparison) -> dict[str, str]:
    """The experiment's files: name below its folder -> text."""
    return comparison_files(flowers17, squeezenet.trunk())
