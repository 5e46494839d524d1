"""The demo's nets: a small one of the ResNet-152's family for 32 x 32 images, from scratch.

Joint training and its baseline have the same trunk, the same schedule and as many target images an
iteration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sjft_tools.nets.joint import Task, joint_train_val, target_deploy, target_only_train_val
from sjft_tools.nets.preact_resnet import PreactResNet, Stem, trunk
from sjft_tools.nets.solver import Run, solver_text

# A run of a few hundred iterations is too short for BatchNorm's usual average over 1,000:
# half-trained iterations would weigh on the statistics that TEST uses.
NET = PreactResNet(
    stem=Stem(channels=16, kernel=3, stride=2, pad=1, pool=False),
    units=(2, 2, 2),
    widths=(8, 16, 32),
    last_map=4,  # for 32 x 32 images
    moving_average=0.95,
)

# Digits fill their images: a crop of 32 from 36 x 36 moves them and cuts little off. They are never
# mirrored. With at most two images of a class in a batch, ten classes allow a target half of 20.
TASK = Task(
    target_classes=10,
    source_classes=64,
    batch_size=32,
    test_batch_size=50,
    k0=100,
    crop=32,
    train_resize={"resize": 36},
    test_resize={"resize": 36},
    mirror=False,
)


@dataclass(frozen=True)
class Demo:
    """The demo's choices; seed draws the first weights and the batches."""

    task: Task = TASK
    test_images: int = 1697
    max_iter: int = 600
    base_lr: float = 0.05
    seed: int = 1
    folder: str = "prototxt/demo"  # of the files, as seen from where Caffe is started
    snapshot_folder: str = "build/demo"


def demo_files(demo: Demo) -> dict[str, str]:
    """The demo's files: name below its folder -> text."""
    task = replace(demo.task, seed=demo.seed)
    shared = trunk(NET)
    texts = {
        "joint_train_val.prototxt": joint_train_val(
            "sjft_demo_joint", "The demo: selective joint training.", shared, task
        ),
        "target_only_train_val.prototxt": target_only_train_val(
            "sjft_demo_target_only",
            "The demo's baseline: the same net trained on the target alone.",
            shared,
            task,
        ),
        "deploy.prototxt": target_deploy(
            "sjft_demo_deploy", "The demo's net with the target's classifier.", shared, task
        ),
    }
    batches = {"joint": task.batch_size, "target_only": task.half}
    for kind, batch_size in batches.items():
        run = solver_run(demo, kind, batch_size)
        header = f"The demo's {kind.replace('_', '-')} training."
        texts[f"{kind}_solver.prototxt"] = solver_text(header, run)
    return texts


def solver_run(demo: Demo, kind: str, batch_size: int) -> Run:
    """The run of `kind` (joint or target_only): the same but for the net and its batches."""
    return Run(
        net=f"{demo.folder}/{kind}_train_val.prototxt",
        snapshot_prefix=f"{demo.snapshot_folder}/{kind}",
        batch_size=batch_size,
        origin="Long enough to converge on 32 x 32 images, short enough for a demo.",
        base_lr=demo.base_lr,
        weight_decay=0.0005,
        step=demo.max_iter * 2 // 3,
        max_iter=demo.max_iter,
        test_batch_size=demo.task.test_batch_size,
        test_images=demo.test_images,
        test_interval=demo.max_iter,
        snapshot=0,
        display=50,
        random_seed=demo.seed,
    )
