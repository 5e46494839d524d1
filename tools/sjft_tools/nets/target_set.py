"""All nets and solvers for one target set: joint training, its baseline, and the deploy nets."""

from __future__ import annotations

from dataclasses import dataclass

from sjft_tools.nets.backbones import BACKBONES, DEFAULT, make_trunk
from sjft_tools.nets.deploy import both_deploy, dense_deploy, target_deploy
from sjft_tools.nets.joint import Task, joint_train_val, target_only_train_val
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
class Schedule:
    """How long a run is; times in iterations, `origin` says where those numbers come from.

    `iter_size`: batches to an iteration.
    """

    step: int
    max_iter: int
    origin: str
    test_interval: int = 500
    iter_size: int = 10


AUTHORS = Schedule(
    step=4000,
    max_iter=20000,
    origin="The authors' schedule for MIT Indoor 67; the paper's sets take 9,000 to 20,000\n"
    "iterations, with the rate divided by 10 every 2,400 to 5,000.",
)


@dataclass(frozen=True)
class TargetSet:
    """A target set's nets: by default the reference, MIT Indoor 67 with ImageNet as the source."""

    task: Task = TASK
    test_images: int = 1340
    folder: str = "prototxt"  # of the files, as seen from where Caffe is started
    snapshot_folder: str = "data"
    title: str = ""  # of the data, as the files' comments say it
    schedule: Schedule = AUTHORS
    net: str = DEFAULT  # of BACKBONES
    frozen: bool = False  # whether BatchNorm keeps its stored statistics in TRAIN


#: kind of file -> its name where one target set's files stand alone in a folder
OWN_NAMES = {
    "joint_train_val": "sjft_train_val.prototxt",
    "target_only_train_val": "sjft_target_only_train_val.prototxt",
    "deploy": "sjft_deploy.prototxt",
    "deploy_both": "sjft_deploy_both.prototxt",
    "deploy_dense": "sjft_deploy_dense.prototxt",
    "joint_solver": "sjft_solver.prototxt",
    "target_only_solver": "sjft_target_only_solver.prototxt",
}


def own_files(target_set: TargetSet) -> dict[str, str]:
    """All seven files of a target set: name below its folder -> text."""
    return target_set_files(target_set, OWN_NAMES, ("sjft", "sjft_target_only"))


def target_set_files(
    target_set: TargetSet,
    names: dict[str, str],
    snapshots: tuple[str, str] = ("joint", "target_only"),
) -> dict[str, str]:
    """The files whose kind is in `names` (kind, one of OWN_NAMES -> file name): name -> text.

    `snapshots` are the names that the snapshots of joint and of target-only training begin with.
    """
    task, trunk = target_set.task, make_trunk(target_set.net, target_set.frozen)
    backbone = BACKBONES[target_set.net].title
    counts = f"{task.target_classes} target and {task.source_classes} source classes"
    where = f"{target_set.title}.\n" if target_set.title else ""
    name = f"sjft_{target_set.net.replace('preact_', '')}"
    nets = {
        "joint_train_val": lambda: joint_train_val(
            name, f"{where}Selective joint fine-tuning of {backbone}:\n{counts}.", trunk, task
        ),
        "target_only_train_val": lambda: target_only_train_val(
            f"{name}_target_only",
            f"{where}The baseline, {backbone} on the target alone:\n{task.target_classes} classes.",
            trunk,
            task,
        ),
        "deploy": lambda: target_deploy(
            f"{name}_deploy",
            f"{where}{_capitalised(backbone)} with the target's classifier.",
            trunk,
            task,
        ),
        "deploy_both": lambda: both_deploy(
            f"{name}_deploy_both",
            f"{where}{_capitalised(backbone)} with both classifiers.",
            trunk,
            task,
        ),
        "deploy_dense": lambda: dense_deploy(
            f"{name}_deploy_dense",
            f"{where}{_capitalised(backbone)}, fully convolutional, with the target's classifier:\n"
            f"for images of any size; takes the weights that {names['deploy']} takes.",
            trunk,
            task,
        ),
    }
    texts = {kind: nets[kind]() for kind in nets if kind in names}
    for kind, snapshot in zip(("joint", "target_only"), snapshots):
        solver = f"{kind}_solver"
        if solver in names:
            what = "selective joint fine-tuning" if kind == "joint" else "the baseline, training"
            header = (
                f"{where}{_capitalised(what)} of {backbone}. Start it with\n"
                f"  caffe train -solver {target_set.folder}/{names[solver]} \\\n"
                "      -weights INITIAL.caffemodel"
            )
            net = f"{target_set.folder}/{names[f'{kind}_train_val']}"
            run = solver_run(target_set, kind, net, f"{target_set.snapshot_folder}/{snapshot}")
            texts[solver] = solver_text(header, run)
    return {names[kind]: text for kind, text in texts.items()}


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def solver_run(target_set: TargetSet, kind: str, net: str, snapshot_prefix: str) -> Run:
    """The run of `kind` (joint or target_only): the same but for the net and its batches."""
    backbone, task = BACKBONES[target_set.net], target_set.task
    return Run(
        net=net,
        snapshot_prefix=snapshot_prefix,
        batch_size=task.batch_size if kind == "joint" else task.half,
        iter_size=target_set.schedule.iter_size,
        origin=target_set.schedule.origin,
        base_lr=backbone.base_lr,
        weight_decay=backbone.weight_decay,
        step=target_set.schedule.step,
        max_iter=target_set.schedule.max_iter,
        test_batch_size=task.test_batch_size,
        test_images=target_set.test_images,
        test_interval=target_set.schedule.test_interval,
        snapshot=500,
        display=10,
        batch_statistics=backbone.frozen is not None and not target_set.frozen,
    )
