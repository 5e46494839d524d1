"""The published nets: selective joint fine-tuning of the pre-activation ResNet-152."""

from __future__ import annotations

from dataclasses import dataclass

from sjft_tools.nets.deploy import target_deploy
from sjft_tools.nets.joint import Task, joint_train_val
from sjft_tools.nets.preact_resnet import RESNET_152, trunk
from sjft_tools.nets.solver import Run, solver_text

# Transforms of the authors' net in TRAIN (warp to 256 x 256); in TEST the shorter side becomes 256,
# so that the log's accuracy is the one of `sjft evaluate`.
TASK = Task(
    target_classes=67,
    source_classes=1000,
    batch_size=18,
    test_batch_size=4,
    k0=300,
    crop=224,
    train_resize={"resize": 256},
    test_resize={"resize_shorter": 256},
    mirror=True,
)


@dataclass(frozen=True)
class Experiment:
    """A target set's nets: by default the reference, MIT Indoor 67 with ImageNet as the source."""

    task: Task = TASK
    test_images: int = 1340
    folder: str = "prototxt"  # of the files, as seen from where Caffe is started
    snapshot_prefix: str = "data/sjft"


def experiment_files(experiment: Experiment) -> dict[str, str]:
    """The files of an experiment: name below its folder -> text."""
    task = experiment.task
    shared = trunk(RESNET_152)
    train_val, deploy, solver = (
        f"sjft_{kind}.prototxt" for kind in ("train_val", "deploy", "solver")
    )
    return {
        train_val: joint_train_val(
            "sjft_resnet152",
            "Selective joint fine-tuning of the pre-activation ResNet-152:\n"
            f"{task.target_classes} target and {task.source_classes} source classes.",
            shared,
            task,
        ),
        deploy: target_deploy(
            "sjft_resnet152_deploy",
            "The pre-activation ResNet-152 with the target's classifier.",
            shared,
            task,
        ),
        solver: solver_text(
            "Selective joint fine-tuning of the pre-activation ResNet-152. Start it with\n"
            f"  caffe train -solver {experiment.folder}/{solver} -weights INITIAL.caffemodel",
            solver_run(experiment, f"{experiment.folder}/{train_val}"),
        ),
    }


def solver_run(experiment: Experiment, net: str) -> Run:
    """The authors' schedule for MIT Indoor 67."""
    return Run(
        net=net,
        snapshot_prefix=experiment.snapshot_prefix,
        batch_size=experiment.task.batch_size,
        iter_size=10,
        origin="The authors' schedule for MIT Indoor 67; the paper's sets take 9,000 to 20,000\n"
        "iterations, with the rate divided by 10 every 2,400 to 5,000.",
        base_lr=0.01,
        weight_decay=0.0001,
        step=4000,
        max_iter=20000,
        test_batch_size=experiment.task.test_batch_size,
        test_images=experiment.test_images,
        test_interval=500,
        snapshot=500,
        display=10,
    )
